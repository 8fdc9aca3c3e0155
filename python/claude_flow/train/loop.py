"""The one training loop: epochs, schedule, early stopping, checkpoints, exact resume, time budget, card."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import networks
from claude_flow.errors import ClaudeFlowError, InputError, Interrupted, require
from claude_flow.files import atomic_write
from claude_flow.train.config import TrainingConfig, lower_is_better
from claude_flow.values import did_you_mean

require("torch", "train")
import torch
from torch import Tensor, nn

from claude_flow.report.progress import Progress, nothing
from claude_flow.train import attention, checkpoint, diagnose, process, rate
from claude_flow.train.card import finish
from claude_flow.train.hooks import Hook
from claude_flow.train.learnable import Data, Learnable
from claude_flow.train.runlog import RunLog
from claude_flow.train.start import begin_with, data_hash, fingerprint, shares, weights_hash

__all__ = ["Data", "EpochProgress", "Learnable", "data_hash", "find_learning_rate", "fit", "lower_is_better"]

#: (epoch, epochs, share of the epoch done, latest values by name)
EpochProgress = Callable[[int, int, float, dict[str, float]], None]


def fit(
    network: str,
    config: TrainingConfig,
    data: Path | Learnable,
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
    progress: EpochProgress | None = None,
    start: Mapping[str, Tensor] | None = None,
    trainable: Mapping[str, float] | None = None,
    hooks: Sequence[Hook] = (),
    store: bool = True,
) -> dict[str, Any]:
    """Train a network and write ``run_dir/model.safetensors`` and ``run_dir/card.json``; returns the card.

    ``data`` is a preprocessed data set, or what a recipe made of some (``fingerprint`` then says what). What happens
    goes to ``run_dir/metrics.jsonl`` as it happens (see
    :mod:`claude_flow.train.runlog`). Every ``checkpoint_interval`` epochs, at the end and when interrupted, the
    state goes to ``run_dir/checkpoint.pt``; ``resume`` continues there and ends with the same weights as a run that
    was never interrupted. ``time_budget`` (seconds) ends the run at its best epoch so far; the first one counts as far
    as it came, one step at least. ``distributed``: ``"auto"`` joins the process group when started by ``torchrun``
    and otherwise trains in this process; ``"off"`` never joins. W processes take W batches at a time, and learn as one
    does from batches W times as large. The same seed gives the same weights on the same CPU.

    ``start``: weights by parameter name to begin with; a parameter that it lacks begins at random. ``trainable``:
    beginnings of parameter names -> multiple of the learning rate; what no entry fits, or one of 0 (the longest that
    fits counts), stays as it is; None trains everything. ``hooks`` vary the steps, see
    :class:`claude_flow.train.hooks.Hook`; what they keep travels with the checkpoint. ``store`` False writes no
    model and no card, for a recipe whose hooks take what they want.

    Raises :class:`InputError` for unusable data or options, :class:`ClaudeFlowError` when the loss or a gradient is
    not finite: the message names the cause, ``run_dir/bad_batch.safetensors`` holds the batch.
    """
    if time_budget is not None and time_budget <= 0:
        raise ClaudeFlowError("the time budget ended before the first epoch: give it more time")
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    run_dir.mkdir(parents=True, exist_ok=True)
    setup = _prepare(network, config, data, validation_split, seed, device)
    rank, world = process.join(distributed)
    if start is not None:
        begin_with(setup.module, start)
    rates = shares(setup.module, trainable)
    run = checkpoint.Run(setup.module, rate.optimizer(setup.module, config, rates), config.ema_decay, hooks)
    identity = {"network": network, "config": config.source, "data": fingerprint(data), "seed": seed}
    identity |= {"validation_split": validation_split}
    if start is not None:
        identity["start"] = weights_hash(start)
    if trainable is not None:
        identity["trainable"] = dict(trainable)
    if hooks:
        identity["hooks"] = [hook.about for hook in hooks]
    if resume:
        run.restore(checkpoint.load(run_dir / "checkpoint.pt", identity))
    elif config.learning_rate is None:
        suggested = _find(setup, config, seconds=time_budget and time_budget / 4).suggested
        (run.learning_rate,) = process.summed(world, suggested if rank == 0 else 0.0)  # one for all
    else:
        run.learning_rate = config.learning_rate
    steps = sum(1 for _ in setup.epoch(0)) // world
    if steps == 0:
        raise InputError(
            f"{data}: nothing in its training part can be learned from (a success among runs whose agents were seen "
            "before, for coordination); collect more data or lower --validation-split"
        )
    if next(setup.source.batches("validation", 1, np.random.default_rng(0)), None) is None:
        raise InputError(
            f"{data}: nothing in its validation part can be judged; collect more or raise --validation-split"
        )
    if config.monitor != "validation-loss" and run.epoch == 0:
        with torch.no_grad():  # before any work: whether there is such a measure in these data, and it can be taken
            _monitored(config, setup.source.metrics(setup.module.eval(), "validation"))
    log = None
    if rank == 0 and not resume:
        _clear(run_dir)
    if rank == 0:
        parameters = sum(p.numel() for p in setup.module.parameters())
        about = {"network": network, "epochs": config.epochs, "monitor": config.monitor, "patience": config.patience}
        log = RunLog(run_dir, run.epoch, **about, parameters=parameters, seed=seed, device=str(setup.place))
    loop = _Loop(setup, run, config, steps, rank, world, deadline, run_dir, log, progress)
    try:
        with process.interrupts(loop.interrupt):
            stopped = loop.epochs(identity, checkpoint_interval, _tensorboard(run_dir) if tensorboard and log else None)
        card = finish(setup.source, run, config, identity, run_dir, stopped, store and rank == 0)
    except BaseException as error:
        if log:
            with contextlib.suppress(OSError):  # the disk may be what failed
                log.end(error="interrupted" if isinstance(error, KeyboardInterrupt) else str(error))
        raise
    if log:
        log.end(stopped=stopped)
    return card


def find_learning_rate(
    network: str,
    config: TrainingConfig,
    data: Path,
    *,
    validation_split: float = 0.2,
    seed: int = 0,
    device: str = "auto",
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> rate.Found:
    """The range test of :func:`claude_flow.train.rate.find` on a data set, with the weights that ``fit`` would start
    from; ``progress`` is told the share done. ``"learning-rate": {"initial": "auto"}`` makes ``fit`` run the same, in
    at most a quarter of its time budget."""
    return _find(_prepare(network, config, data, validation_split, seed, device), config, progress, time_budget)


@dataclass
class _Setup:
    """Data, network and place of a run."""

    source: Learnable
    module: nn.Module
    place: torch.device
    batch_size: int
    seed: int

    def epoch(self, number: int) -> Iterator[dict[str, Tensor]]:
        """The training batches of epoch ``number`` (from 0), on the CPU: they follow from seed and number alone."""
        return self.source.batches("train", self.batch_size, np.random.default_rng([self.seed, number]))

    def moved(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: t.to(self.place) for name, t in batch.items()}


def _prepare(
    network: str, config: TrainingConfig, data: Path | Learnable, validation_split: float, seed: int, device: str
) -> _Setup:
    if not 0 < validation_split < 1:
        raise InputError(f"--validation-split must lie between 0 and 1, not {validation_split:g}")
    place = process.device(device)
    source: Learnable
    if isinstance(data, Path):
        source = networks.get(network).learn.Data.load(data, validation_split, seed, asdict(config))
    else:
        source = data
    torch.manual_seed(seed)
    return _Setup(source, source.module(config.network).to(place), place, config.batch_size, seed)


def _find(
    setup: _Setup,
    config: TrainingConfig,
    progress: Progress = nothing,
    seconds: float | None = None,
) -> rate.Found:
    torch.manual_seed(setup.seed)

    def epochs(number: int) -> Iterator[dict[str, Tensor]]:
        return map(setup.moved, setup.epoch(number))

    return rate.find(setup.module, config, epochs, setup.source.loss, progress, seconds)


def _monitored(config: TrainingConfig, measured: Mapping[str, float]) -> dict[str, float]:
    """What was measured on the validation split, by its names there; :class:`InputError` without the monitor."""
    metrics = {f"validation-{name}": value for name, value in measured.items()}
    if config.monitor not in metrics:
        near = did_you_mean(config.monitor, metrics) or f": it is one of {', '.join(metrics)}"
        raise InputError(f"early-stopping.monitor {config.monitor!r} is not measured on these data{near}")
    if not math.isfinite(metrics[config.monitor]):
        raise InputError(
            f"early-stopping.monitor {config.monitor!r} cannot be measured: the validation part holds too little, "
            "or one class only; collect more or raise --validation-split"
        )
    return metrics


def _clear(run_dir: Path) -> None:
    """Remove what an earlier run of the same name left: nobody shall resume it, or read it as this one's."""
    shutil.rmtree(run_dir / "tensorboard", ignore_errors=True)
    for name in ("checkpoint.pt", "bad_batch.safetensors", "model.safetensors", "card.json"):
        (run_dir / name).unlink(missing_ok=True)


def _tensorboard(run_dir: Path) -> Any:
    SummaryWriter = require("torch.utils.tensorboard", "train").SummaryWriter
    return SummaryWriter(str(run_dir / "tensorboard"))


@dataclass
class _Loop:
    """The epochs of one run, in this process."""

    setup: _Setup
    run: checkpoint.Run
    config: TrainingConfig
    steps: int  # per epoch
    rank: int
    world: int
    deadline: float
    run_dir: Path
    log: RunLog | None  # of the first process alone
    progress: EpochProgress | None
    interrupted: int = 0  # the signal's number

    def epochs(self, identity: dict[str, Any], checkpoint_interval: int, writer: Any) -> str:
        """Train until something ends it, and say what."""
        run, config = self.run, self.config
        snapshot = run.state()
        stopped = "all epochs done"
        try:
            while run.epoch < config.epochs:
                started = time.monotonic()
                whole = self.epoch()
                run.seconds += time.monotonic() - started
                if not whole and run.epoch > 1:
                    run.restore(snapshot)
                    stopped = "time budget used up"
                    break
                improved = self.judge()
                if writer:
                    for name, value in run.history[-1].items():
                        writer.add_scalar(name, value, run.epoch)
                if not whole:  # any budget leaves a model; to resume means to begin anew
                    stopped = "time budget used up in the first epoch"
                    break
                snapshot = run.state()
                is_late, is_interrupted = self.agreed()
                if is_interrupted:
                    raise self.ended()
                if self.rank == 0 and run.epoch % checkpoint_interval == 0:
                    checkpoint.save(self.run_dir / "checkpoint.pt", snapshot, identity)
                if config.patience is not None and not improved and run.stale >= config.patience:
                    stopped = f"no better {config.monitor} for {config.patience} epochs"
                    break
                if is_late:
                    stopped = "time budget used up"
                    break
        except KeyboardInterrupt:
            if self.rank == 0:
                checkpoint.save(self.run_dir / "checkpoint.pt", snapshot, identity)
            raise
        finally:
            if writer:
                writer.close()
        if self.rank == 0:
            checkpoint.save(self.run_dir / "checkpoint.pt", snapshot, identity)
        return stopped

    def epoch(self) -> bool:
        """One pass over the training split, of one step or more; False when the deadline cut it short."""
        run, config = self.run, self.config
        # Everything random in an epoch follows from (seed, epoch), so a resumed run repeats an uninterrupted one.
        torch.manual_seed(self.setup.seed * 1_000_003 + run.epoch)
        batches = self.setup.epoch(run.epoch)
        run.module.train()
        total_loss, batch_count = 0.0, 0
        # Each process takes its own of every `world` batches; an incomplete last group is left out, so all stay in
        # step.
        whole, is_late = True, False
        for together in zip(*[batches] * self.world, strict=False):
            if is_late:
                whole = False
                break
            batch = self.setup.moved(together[self.rank])
            for group in run.optimizer.param_groups:
                base = rate.scheduled(config, run.learning_rate, run.step, self.steps * config.epochs)
                group["lr"] = base * group["share"]
            loss = self.loss(batch)
            if not torch.isfinite(loss):
                cause = diagnose.loss_cause(run.module, batch, lambda: self.loss(batch))  # noqa: B023
                raise self.failure(f"the loss became {loss.item()}", batch, cause)
            run.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.world > 1:
                process.average_gradients(run.module, self.world)
            for hook in run.hooks:
                hook.after_backward(run.module, run.step + 1)
            norm = nn.utils.clip_grad_norm_(run.module.parameters(), config.gradient_clipping)
            if not torch.isfinite(norm):
                raise self.failure("the gradient is not finite", batch, diagnose.gradient_cause(run.module))
            run.optimizer.step()
            run.step += 1
            for hook in run.hooks:
                hook.after_step(run.module, run.step)
            if run.average:
                run.average.update(run.module, run.step)
            batch_count += 1
            (total,) = process.summed(self.world, loss.item())
            total_loss += total / self.world
            self.tell(batch_count / self.steps, total_loss / batch_count)
            is_late, is_interrupted = self.agreed()
            if is_interrupted:
                raise self.ended()
        run.history.append(
            {"loss": total_loss / max(1, batch_count), "learning-rate": run.optimizer.param_groups[0]["lr"]}
        )
        run.epoch += 1
        return whole

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a training batch, as the hooks have it: the last one wraps all before it."""
        module = self.run.module

        def compute() -> Tensor:
            return self.setup.source.loss(module, batch)

        for hook in self.run.hooks:
            compute = functools.partial(hook.loss, compute, module, batch)
        return compute()

    def agreed(self) -> tuple[bool, bool]:
        """Whether the time is up, and whether a signal came, for any of the processes: they end after the same step."""
        late, interrupted = process.summed(self.world, time.monotonic() > self.deadline, self.interrupted)
        self.interrupted = self.interrupted or min(int(interrupted), signal.SIGTERM)
        return late > 0, interrupted > 0

    def interrupt(self, number: int) -> None:
        """End after the step at hand, as the signal asks."""
        self.interrupted = number

    def ended(self) -> Interrupted:
        """What is raised then."""
        return Interrupted(self.interrupted, "interrupted; its checkpoint is kept: go on with --resume")

    def tell(self, share: float, loss: float) -> None:
        """Report how far the epoch is."""
        if self.log:
            self.log.progress(self.run.epoch + 1, share, loss)
        if self.progress:
            self.progress(self.run.epoch + 1, self.config.epochs, share, {"loss": loss})

    def failure(self, what: str, batch: dict[str, Tensor], cause: str) -> ClaudeFlowError:
        """The error of a step that went wrong; its batch is saved."""
        from safetensors.torch import save

        path = self.run_dir / "bad_batch.safetensors"
        atomic_write(path, save({name: t.detach().cpu().contiguous() for name, t in batch.items()}))
        where = f"at epoch {self.run.epoch + 1}, step {self.run.step + 1}"
        return ClaudeFlowError(f"{what} {where}: {cause}; the batch is in {path}")

    def judge(self) -> bool:
        """Measure on the validation split and keep the best weights; True when this epoch is the best so far."""
        run, config, source = self.run, self.config, self.setup.source
        run.judged.eval()
        with torch.no_grad():
            metrics = _monitored(config, source.metrics(run.judged, "validation"))
        spread = attention.entropies(run.judged, lambda: source.loss(run.judged, self.sample))
        for hook in run.hooks:
            hook.epoch_end(run.module, run.epoch, metrics)
        run.history[-1] |= {"epoch": run.epoch, **metrics, **spread}
        if self.log:
            self.log.epoch(run.history[-1], run.seconds)
        if self.progress:
            self.progress(run.epoch, config.epochs, 1.0, run.history[-1])
        value = metrics[config.monitor] * (1 if lower_is_better(config.monitor) else -1)
        improved = run.best_value is None or value < run.best_value
        if improved:
            run.best_value, run.best_epoch, run.stale = value, run.epoch, 0
            run.best = copy.deepcopy(run.judged.state_dict())
        else:
            run.stale += 1
        return improved

    @functools.cached_property
    def sample(self) -> dict[str, Tensor]:
        """A batch of 64 of the validation split, the same in every epoch."""
        return self.setup.moved(next(self.setup.source.batches("validation", 64, np.random.default_rng(0))))
