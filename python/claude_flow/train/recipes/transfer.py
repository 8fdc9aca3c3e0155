"""Transfer: go on from a trained model on another domain's data, with some layers frozen.

Yosinski et al. 2014 (arXiv 1411.1792): early layers transfer, late ones are the task's own. Gradual unfreezing, and
rates that fall from the output to the input, are Howard and Ruder's (ULMFiT, arXiv 1801.06146).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from claude_flow.files import temporary_folder
from claude_flow.train import loop, run
from claude_flow.train.config import TrainingConfig
from claude_flow.train.hooks import Hook
from claude_flow.train.loop import EpochProgress
from claude_flow.train.recipes.source import Source, chosen_layers
from claude_flow.train.run import Trained

__all__ = ["Unfreezing", "rivals", "transfer"]


class Unfreezing(Hook):
    """Trains the last of ``groups`` (parameter names by layer, input first) at the start, and one more every ``every``
    epochs."""

    def __init__(self, groups: Sequence[Sequence[str]], every: int) -> None:
        self.about = {"name": "gradual-unfreezing", "every": every, "layers": len(groups)}
        self._groups, self._every, self._epoch = groups, every, 0

    def loss(self, compute: Callable[[], torch.Tensor], module: nn.Module, batch: Any) -> torch.Tensor:
        """The loss as it is; the layers of this epoch are made ready first."""
        open_ = math.ceil((self._epoch + 1) / self._every)
        names = dict(module.named_parameters())
        for place, group in enumerate(reversed(self._groups)):
            for name in group:
                names[name].requires_grad_(place < open_)
        return compute()

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        """Count the epochs."""
        self._epoch = epoch

    def state(self) -> dict[str, Any]:
        """The epochs so far."""
        return {"epoch": self._epoch}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self._epoch = state["epoch"]


def transfer(
    source: Source,
    data: Path,
    name: str,
    *,
    freeze: Sequence[str] | None = None,
    fine_tune: Sequence[str] | None = None,
    learning_rate: float = 1e-4,
    epochs: int = 50,
    layer_decay: float = 1.0,
    unfreeze_every: int | None = None,
    **options: Any,
) -> Trained | None:
    """Fine-tune ``source`` on the preprocessed ``data`` and store it as a version of ``name``.

    ``layer_decay`` multiplies the learning rate once per layer below the output; ``unfreeze_every`` opens one more of
    the layers to fine-tune, from the output downwards, every so many epochs. ``options`` as for
    :func:`claude_flow.train.run.train`. Raises :class:`InputError` for layers that do not exist or overlap.
    """
    _, trained = chosen_layers(source.layers, freeze, fine_tune)
    trainable = {
        prefix: layer_decay ** (len(trained) - 1 - place)
        for place, layer in enumerate(trained)
        for prefix in source.layers[layer]
    }
    hooks: list[Hook] = []
    if unfreeze_every is not None:
        names = [name for name, _ in source.module.named_parameters()]
        groups = [
            [name for name in names if any(name == p or name.startswith(f"{p}.") for p in source.layers[layer])]
            for layer in trained
        ]
        hooks.append(Unfreezing(groups, unfreeze_every))
    config = _config(source, learning_rate, epochs)
    return run.train(
        source.row.name, config, data, name, start=source.weights, trainable=trainable, hooks=hooks, **options
    )


def _config(source: Source, learning_rate: float, epochs: int) -> TrainingConfig:
    return source.config(epochs=epochs, learning_rate={"initial": learning_rate})


def rivals(
    source: Source,
    data: Path,
    *,
    learning_rate: float,
    epochs: int,
    seed: int = 0,
    validation_split: float = 0.2,
    time_budget: float | None = None,
    progress: Callable[[str], EpochProgress] = lambda name: lambda *_: None,
) -> dict[str, dict[str, float]]:
    """The held-out measures of what transfer must beat, on the same data, seed and epochs: ``source`` as it is,
    ``scratch`` (at the source's own learning rate), and ``fine-tune-all``."""
    found = {"source": _as_it_is(source, data, validation_split, seed)}
    begin = time.monotonic()
    runs: dict[str, dict[str, Any]] = {"scratch": {}, "fine-tune-all": {"start": source.weights}}
    with temporary_folder() as scratch:
        for place, (rival, options) in enumerate(runs.items()):
            config = _config(source, learning_rate, epochs) if options else source.config(epochs=epochs)
            left = None if time_budget is None else time_budget - (time.monotonic() - begin)
            card = loop.fit(
                source.row.name,
                config,
                data,
                scratch / rival,
                seed=seed,
                validation_split=validation_split,
                time_budget=None if left is None else max(1.0, left / (len(runs) - place)),
                distributed="off",
                progress=progress(rival),
                **options,
            )
            found[rival] = card["held_out"]["metrics"]
    return found


def _as_it_is(source: Source, data: Path, validation_split: float, seed: int) -> dict[str, float]:
    held_out = source.row.learn.Data.load(data, validation_split, seed, vars(source.config()))
    source.module.eval()
    with torch.no_grad():
        split = "test" if "test" in held_out.splits else "validation"
        metrics: dict[str, float] = held_out.metrics(source.module, split)
    source.module.train()
    return metrics
