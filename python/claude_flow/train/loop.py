"""The one training loop: epochs, schedule, early stopping, checkpoints, exact resume, time budget, card."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from claude_flow import __version__
from claude_flow.errors import ClaudeFlowError, InputError, MissingExtra
from claude_flow.registry import atomic_write
from claude_flow.train.config import TrainingConfig

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "train") from error

from torch import Tensor, nn

__all__ = ["Data", "Progress", "fit", "lower_is_better"]

#: (epoch, epochs, share of the epoch done, latest values by name)
Progress = Callable[[int, int, float, dict[str, float]], None]


class Data(Protocol):
    """What a network's training module provides: its data, its loss and how it is judged.

    ``test``, where the preprocessed data sets one apart, is never used for any choice; the card reports it.
    """

    splits: tuple[str, ...]

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> Data: ...
    def module(self, config: dict[str, Any]) -> nn.Module: ...
    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]: ...
    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor: ...
    def metrics(self, module: nn.Module, split: str) -> dict[str, float]: ...
    def baselines(self, split: str) -> dict[str, dict[str, float]]: ...
    def metadata(self, module: nn.Module) -> dict[str, Any]: ...


def data_class(network: str) -> type[Data]:
    """The data class of a network: ``train/<network>.py`` holds ``<Network>Data``."""
    module = importlib.import_module(f"claude_flow.train.{network}")
    kind: type[Data] = getattr(module, f"{network.capitalize()}Data")
    return kind


def lower_is_better(metric: str) -> bool:
    """Whether a metric's name says that smaller values are better.

    >>> lower_is_better("validation-regret"), lower_is_better("coordination-accuracy")
    (True, False)
    """
    return any(word in metric for word in ("loss", "regret", "mae", "error", "brier", "width", "pinball"))


def _optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    # Decay shrinks matrices only: biases, gains and the norms' scales keep their size (as in GPT-2 and since).
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    rest = [p for p in module.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)
    return getattr(torch.optim, config.optimizer)(groups, lr=config.learning_rate)  # type: ignore[no-any-return]


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """Learning rate at ``step`` (from 0) of ``total``: linear warm-up, then the schedule down to 0.

    A warm-up longer than half the run is cut to half of it, so that a short run still anneals.
    """
    warmup = min(config.warmup_steps, total // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    if config.schedule == "cosine-annealing":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return config.learning_rate * (1 - min(done, 1.0) if config.schedule == "linear" else 1.0)


def _commit() -> str:
    """The commit of the source tree that this package runs from, or its version when it is installed."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"release {__version__}"


def data_hash(path: Path) -> str:
    """SHA-256 over the names and contents of a preprocessed data set."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.sha256(stream.read()).digest())
    return digest.hexdigest()


class _Run:
    """The state of a run, which a checkpoint stores and a resume restores; it changes at the end of an epoch only."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer = module, optimizer
        self.epoch = self.step = self.stale = 0
        self.seconds = 0.0
        self.best_value: float | None = None
        self.best_epoch = 0
        self.best = copy.deepcopy(module.state_dict())
        self.history: list[dict[str, float]] = []

    _PLAIN = ("epoch", "step", "stale", "seconds", "best_value", "best_epoch", "best", "history")

    def state(self) -> dict[str, Any]:
        state = {name: copy.deepcopy(getattr(self, name)) for name in self._PLAIN}
        state["module"] = copy.deepcopy(self.module.state_dict())
        state["optimizer"] = copy.deepcopy(self.optimizer.state_dict())
        return state

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._PLAIN:
            setattr(self, name, state[name])
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])


def _save_checkpoint(path: Path, state: dict[str, Any], identity: dict[str, Any]) -> None:
    import io

    buffer = io.BytesIO()
    torch.save({"identity": identity, **state}, buffer)
    atomic_write(path, buffer.getvalue())


def _load_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path.parent}: nothing to resume, it has no checkpoint; leave out --resume to start")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"{path}: the checkpoint cannot be read ({error}); start again without --resume") from None
    changed = [key for key, value in identity.items() if state["identity"].get(key) != value]
    if changed:
        raise InputError(f"{path}: cannot resume, {changed[0]} differs from the interrupted run's; start a new run")
    return state


def fit(
    network: str,
    config: TrainingConfig,
    data: Path,
    run_dir: Path,
    *,
    validation_split: float = 0.2,
    checkpoint_interval: int = 10,
    tensorboard: bool = False,
    distributed: str = "auto",
    seed: int = 0,
    time_budget: float | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a network and write ``run_dir/model.safetensors`` and ``run_dir/card.json``; returns the card.

    ``data`` is a preprocessed data set. Every ``checkpoint_interval`` epochs, at the end and when interrupted, the
    state goes to ``run_dir/checkpoint.pt``; ``resume`` continues there and ends with the same weights as a run that
    was never interrupted. ``time_budget`` (seconds) ends the run at its best epoch so far. ``distributed``:
    ``"auto"`` joins the process group when started by ``torchrun`` and otherwise trains in this process;
    ``"off"`` never joins. The same seed gives the same weights on the same machine.

    Raises :class:`InputError` for unusable data or options, :class:`ClaudeFlowError` when the loss is not finite.
    """
    if not 0 < validation_split < 1:
        raise InputError(f"--validation-split must lie between 0 and 1, not {validation_split:g}")
    run_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    place = _device(device)
    source = data_class(network).load(data, validation_split, seed, asdict(config))
    module = source.module(config.network).to(place)
    rank, world = _join(distributed)
    optimizer = _optimizer(module, config)
    run = _Run(module, optimizer)
    identity = {"network": network, "config": config.source, "data": data_hash(data), "seed": seed}
    identity |= {"validation_split": validation_split}
    checkpoint = run_dir / "checkpoint.pt"
    if resume:
        run.restore(_load_checkpoint(checkpoint, identity))
    steps = sum(1 for _ in source.batches("train", config.batch_size, np.random.default_rng(0))) // world
    if steps == 0:
        raise InputError(f"{data}: too little to train on; collect more data or lower --validation-split")
    writer = _tensorboard(run_dir) if tensorboard and rank == 0 else None
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    stopped = "all epochs done"
    snapshot = run.state()
    try:
        while run.epoch < config.epochs:
            started = time.monotonic()
            finished = _epoch(source, run, config, steps, seed, place, deadline, run_dir, progress, rank, world)
            run.seconds += time.monotonic() - started
            if not finished:
                run.restore(snapshot)
                stopped = "time budget used up"
                break
            improved = _judge(source, run, config, progress)
            if writer:
                for name, value in run.history[-1].items():
                    writer.add_scalar(name, value, run.epoch)
            snapshot = run.state()
            if rank == 0 and run.epoch % checkpoint_interval == 0:
                _save_checkpoint(checkpoint, snapshot, identity)
            if config.patience is not None and not improved and run.stale >= config.patience:
                stopped = f"no better {config.monitor} for {config.patience} epochs"
                break
            if time.monotonic() > deadline:
                stopped = "time budget used up"
                break
    except KeyboardInterrupt:
        if rank == 0:
            _save_checkpoint(checkpoint, snapshot, identity)
        raise
    finally:
        if writer:
            writer.close()
    if rank == 0:
        _save_checkpoint(checkpoint, snapshot, identity)
    return _finish(source, run, config, identity, run_dir, stopped, rank)


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu or cuda, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device here; use --device auto or cpu")
    return torch.device(device)


def _join(distributed: str) -> tuple[int, int]:
    """Rank and number of processes that train together: those that ``torchrun`` started, else this one alone."""
    if distributed not in ("auto", "off"):
        raise InputError(f"--distributed-training must be auto or off, not {distributed!r}")
    if distributed == "off" or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _average_gradients(module: nn.Module, world: int) -> None:
    for parameter in module.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= world


def _tensorboard(run_dir: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", "train") from error
    return SummaryWriter(str(run_dir / "tensorboard"))


def _epoch(
    source: Data,
    run: _Run,
    config: TrainingConfig,
    steps: int,
    seed: int,
    place: torch.device,
    deadline: float,
    run_dir: Path,
    progress: Progress | None,
    rank: int,
    world: int,
) -> bool:
    """One pass over the training split; False when the deadline cut it short."""
    # Everything random in an epoch follows from (seed, epoch), so a resumed run repeats an uninterrupted one.
    torch.manual_seed(seed * 1_000_003 + run.epoch)
    batches = source.batches("train", config.batch_size, np.random.default_rng([seed, run.epoch]))
    run.module.train()
    total_loss, batch_count = 0.0, 0
    # Each process takes its own of every `world` batches; an incomplete last group is left out, so all stay in step.
    for together in zip(*[batches] * world, strict=False):
        batch = {name: t.to(place) for name, t in together[rank].items()}
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(config, run.step, steps * config.epochs)
        loss = source.loss(run.module, batch)
        if not torch.isfinite(loss):
            _save_batch(run_dir / "bad_batch.safetensors", batch)
            raise ClaudeFlowError(
                f"the loss became {loss.item()} at epoch {run.epoch + 1}, step {run.step + 1}; the batch is in "
                f"{run_dir / 'bad_batch.safetensors'}; lower learning-rate.initial or check the data"
            )
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if world > 1:
            _average_gradients(run.module, world)
        nn.utils.clip_grad_norm_(run.module.parameters(), config.gradient_clipping)
        run.optimizer.step()
        run.step += 1
        batch_count += 1
        total_loss += loss.item()
        if progress:
            progress(run.epoch + 1, config.epochs, batch_count / steps, {"loss": total_loss / batch_count})
        if time.monotonic() > deadline:
            return False
    run.history.append({"loss": total_loss / max(1, batch_count), "learning-rate": run.optimizer.param_groups[0]["lr"]})
    run.epoch += 1
    return True


def _save_batch(path: Path, batch: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    atomic_write(path, save({name: t.detach().cpu().contiguous() for name, t in batch.items()}))


def _judge(source: Data, run: _Run, config: TrainingConfig, progress: Progress | None) -> bool:
    """Measure on the validation split and keep the best weights; True when this epoch is the best so far."""
    run.module.eval()
    with torch.no_grad():
        metrics = {f"validation-{name}": v for name, v in source.metrics(run.module, "validation").items()}
    if config.monitor not in metrics:
        raise InputError(f"early-stopping.monitor {config.monitor!r}: this network has {', '.join(metrics)}")
    run.history[-1] |= {"epoch": run.epoch, **metrics}
    if progress:
        progress(run.epoch, config.epochs, 1.0, run.history[-1])
    value = metrics[config.monitor] * (1 if lower_is_better(config.monitor) else -1)
    improved = run.best_value is None or value < run.best_value
    if improved:
        run.best_value, run.best_epoch, run.stale = value, run.epoch, 0
        run.best = copy.deepcopy(run.module.state_dict())
    else:
        run.stale += 1
    return improved


def _finish(
    source: Data,
    run: _Run,
    config: TrainingConfig,
    identity: dict[str, Any],
    run_dir: Path,
    stopped: str,
    rank: int,
) -> dict[str, Any]:
    if run.best_epoch == 0:
        raise ClaudeFlowError("the time budget ended before the first epoch did; give it more time or less data")
    from claude_flow import export

    run.module.load_state_dict(run.best)
    run.module.cpu().eval()
    split = "test" if "test" in source.splits else "validation"
    with torch.no_grad():
        held_out = source.metrics(run.module, split)
        metadata = source.metadata(run.module)
    card = {
        "network": identity["network"],
        "config": config.source,
        "data": {"sha256": identity["data"], "validation_split": identity["validation_split"]},
        "seed": identity["seed"],
        "commit": _commit(),
        "versions": {"claude-flow": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "epochs": run.epoch,
        "best_epoch": run.best_epoch,
        "stopped": stopped,
        "seconds": round(run.seconds, 1),
        "parameters": sum(p.numel() for p in run.module.parameters()),
        "held_out": {"split": split, "used_for_early_stopping": split == "validation", "metrics": held_out},
        "baselines": source.baselines(split),
    }
    card |= metadata.pop("card", {})
    if rank == 0:
        export.save(run.module, run_dir / "model.safetensors", metadata={**metadata, "provenance": card})
        atomic_write(run_dir / "card.json", json.dumps(card, indent=2) + "\n")
        lines = "".join(json.dumps(entry) + "\n" for entry in run.history)
        atomic_write(run_dir / "metrics.jsonl", lines)
    return card
