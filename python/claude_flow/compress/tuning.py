"""What pruning and distillation share: the parent as a torch module, its training configuration, the teacher's part."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from claude_flow import modelfile, nets, networks, registry
from claude_flow.compress.evidence import Trial
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.model import assemble
from claude_flow.modelfile import ModelFile
from claude_flow.train import config as training
from claude_flow.train.config import TrainingConfig

require("torch", "train")
import torch
from torch import Tensor, nn

from claude_flow import export
from claude_flow.report.progress import Progress
from claude_flow.train import loop
from claude_flow.train.hooks import Hook

__all__ = ["Taught", "configuration", "improved", "tune", "weights"]


class Taught(Hook):
    """The loss of a student: ``alpha`` times that beside the teacher's answers, the rest the labels'."""

    def __init__(self, network: str, teacher: nn.Module, name: str, temperature: float, alpha: float) -> None:
        self._distillation = networks.get(network).learn.distillation
        self._teacher = teacher.eval().requires_grad_(False)
        self._temperature, self._alpha = temperature, alpha
        self.about = {"name": "taught", "teacher": name, "temperature": temperature, "alpha": alpha}

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The mixture."""
        place = next(module.parameters()).device
        soft: Tensor = self._distillation(module, self._teacher.to(place), batch, self._temperature)
        return self._alpha * soft + (1 - self._alpha) * compute()


def configuration(file: ModelFile, network: Any, epochs: int, *, rate: float = 1.0) -> TrainingConfig:
    """How ``file`` was trained, for ``epochs`` epochs of a network of the configuration ``network``, with ``rate``
    times the learning rate. A file that does not tell is trained by the defaults."""
    root = f"{file.network}-training"
    document = file.provenance.get("config")
    given = document.get(root) if isinstance(document, dict) else None
    own: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    fixed = networks.get(file.network).part("config").FIXED
    sizes = {name: value for name, value in nets.config_dict(network).items() if name not in fixed}
    learning = {"initial": 1e-3, **own.get("learning-rate", {})}
    if isinstance(learning["initial"], int | float):  # else a range test finds it
        learning["initial"] *= rate
    document = {root: own | {"epochs": epochs, "network": sizes, "learning-rate": learning}}
    return training.parse(document, file.network, "the parent's configuration")


def tune(
    name: str,
    config: TrainingConfig,
    network: str,
    data: Path,
    *,
    start: dict[str, Tensor] | None,
    hooks: list[Hook],
    seed: int,
    time_budget: float | None,
    progress: Progress,
) -> ModelFile:
    """Train a network by the loop, in the run folder ``name``; returns its best epoch."""

    def tell(epoch: int, epochs: int, share: float, values: dict[str, float]) -> None:
        said = "  ".join(f"{key} {values[key]:.4g}" for key in ("loss", config.monitor) if values.get(key) is not None)
        progress((epoch - 1 + share) / epochs, said)

    run = registry.runs_dir() / name
    loop.fit(
        network,
        config,
        data,
        run,
        start=start,
        hooks=hooks,
        seed=seed,
        time_budget=time_budget,
        progress=tell,
        checkpoint_interval=10,
    )
    return modelfile.read(run / "model.safetensors")


def improved(
    parent: Path,
    made: ModelFile,
    config: TrainingConfig,
    folder: Path,
    choice: Trial,
    *,
    name: str,
    hooks: list[Hook],
    finish: Callable[[ModelFile], ModelFile] = lambda file: file,
    seed: int,
    end: float | None,
    progress: Progress,
    say: Callable[[str], None],
) -> ModelFile:
    """``finish(made)``, or that of what training ``made`` further gives, whichever keeps more by ``choice``.

    ``end`` is the moment of :func:`time.monotonic` at which training ends with its best so far.
    """
    before = finish(made)
    try:
        tuned = tune(
            name,
            config,
            made.network,
            folder,
            start=weights(export.from_file(made)),
            hooks=hooks,
            seed=seed,
            time_budget=None if end is None else max(0.1, end - time.monotonic()),
            progress=progress,
        )
    except InputError:
        raise
    except ClaudeFlowError as error:
        if end is None or time.monotonic() < end:
            raise
        say(f"not fine-tuned: {error}")
        return before
    after = finish(tuned)
    return max((after, before), key=lambda one: choice.kept(assemble(parent, one)))


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's tensors by name."""
    return {name: torch.clone(tensor) for name, tensor in module.state_dict().items()}
