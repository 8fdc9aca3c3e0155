"""Incremental learning: one period of data after another, without forgetting the ones before.

What is reported follows Lopez-Paz and Ranzato 2017: the matrix R[i][j] of the measure on period j after learning
period i, average forgetting, and forward transfer.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from claude_flow.errors import InputError
from claude_flow.files import atomic_write, temporary_folder
from claude_flow.report.progress import Progress, nothing
from claude_flow.train import loop, run
from claude_flow.train.config import TrainingConfig, lower_is_better
from claude_flow.train.hooks import Hook
from claude_flow.train.recipes.memory import Batch, Distillation, ElasticWeights, EpisodicMemory, Replay, importance
from claude_flow.train.recipes.source import Source, read, suits
from claude_flow.train.run import Trained
from claude_flow.train.start import data_hash, weights_hash
from claude_flow.values import read_json

__all__ = ["PREVENTION", "REHEARSAL", "STRENGTH", "Report", "incremental"]

PREVENTION = ("elastic-weight-consolidation", "distillation", "none")
REHEARSAL = ("gradient-episodic-memory", "experience-replay", "none")
STRENGTH = {"elastic-weight-consolidation": 100.0, "distillation": 1.0, "none": 0.0}
_MEMORY_BATCHES = 16  # per period, of the configured batch size
_TEMPERATURE = 2.0  # of the old model's answers


@dataclass(frozen=True)
class Report:
    """``matrix[i][j]``: ``measure`` on the held-out part of period j (0 = the old data) after learning period i.

    ``forgetting``: by how much the measure of earlier periods fell, on average, from its best to the end (positive =
    worse); ``learned``: the measure of the last period in the end; ``forward``: what a period gained from those before,
    over the starting model, before it was learned.
    """

    measure: str
    periods: list[str]
    matrix: list[list[float]]

    @property
    def _signed(self) -> np.ndarray[Any, Any]:
        return np.array(self.matrix) * (-1 if lower_is_better(self.measure) else 1)

    @property
    def forgetting(self) -> float:
        r = self._signed
        return float(np.mean([r[:-1, j].max() - r[-1, j] for j in range(r.shape[1] - 1)]))

    @property
    def learned(self) -> float:
        return self.matrix[-1][-1]

    def summary(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        found = {"matrix": self.matrix, "forgetting": self.forgetting, "learned": self.learned}
        return {**found, "forward_transfer": self.forward}

    @property
    def forward(self) -> float | None:
        """None for a single new period."""
        r = self._signed
        gains = [r[j - 1, j] - r[0, j] for j in range(2, r.shape[1])]
        return float(np.mean(gains)) if gains else None


def incremental(
    source: Source,
    old: Path,
    periods: Sequence[Path],
    name: str | None,
    *,
    prevention: str = PREVENTION[0],
    importance_kind: str = "fisher-information",
    rehearsal: str = REHEARSAL[0],
    strength: float | None = None,
    learning_rate: float = 3e-4,
    epochs: int = 5,
    seed: int = 0,
    validation_split: float = 0.2,
    time_budget: float | None = None,
    resume: bool = False,
    progress: Progress = nothing,
    **options: Any,
) -> tuple[Trained | None, Report]:
    """Learn ``periods`` in turn, starting from ``source`` that learned ``old``; all are preprocessed datasets.

    ``name`` stores the last period's model as a version; None stores nothing (a rival that is only measured).
    ``strength`` is that of the prevention, by default its entry in :data:`STRENGTH` (elastic weights' penalty is scaled
    to a mean importance of 1). ``resume`` goes on with an interrupted run of ``name`` at the period and the epoch where
    it stood. Raises :class:`InputError` for an unknown method, no period, a period with nothing to learn from or judge,
    or a run to resume that was another one.
    """
    for value, known, what in ((prevention, PREVENTION, "prevention"), (rehearsal, REHEARSAL, "rehearsal")):
        if value not in known:
            raise InputError(f"{what} {value!r}: it is one of {', '.join(known)}")
    if not periods:
        raise InputError("there is no new period to learn: name one with --new-data")
    for path in (old, *periods):
        suits(source, path)
    strength = STRENGTH[prevention] if strength is None else strength
    about = {
        "source": weights_hash(source.weights),
        "periods": [data_hash(path) for path in (old, *periods)],
        "settings": [prevention, importance_kind, rehearsal, strength, learning_rate, epochs, seed, validation_split],
    }
    config = source.config(epochs=epochs, learning_rate={"initial": learning_rate})
    parts = [_Period(source, path, config, validation_split, seed) for path in (old, *periods)]
    measure = config.monitor.removeprefix("validation-")
    if measure not in parts[0].metrics(source.module):
        measure = "loss"
    module, trained = source.module, None
    matrix = [[part.metrics(module)[measure] for part in parts]]
    begin = time.monotonic()
    with temporary_folder() if name is None else _kept(run.folder(name), about, resume) as folder:
        for number, path in enumerate(periods, start=1):
            hooks = _hooks(source, module, parts[:number], prevention, importance_kind, rehearsal, strength)
            left = None if time_budget is None else time_budget - (time.monotonic() - begin)

            def shown(epoch: int, of: int, share: float, values: dict[str, float]) -> None:
                progress((number - 1 + (epoch - 1 + share) / of) / len(periods), path.name)  # noqa: B023

            arguments: dict[str, Any] = {
                "validation_split": validation_split,
                "seed": seed,
                "start": dict(module.state_dict()),
                "hooks": hooks,
                "progress": shown,
                "time_budget": None if left is None else max(1.0, left / (len(periods) + 1 - number)),
                **options,
            }
            last = name is not None and number == len(periods)
            place = run.folder(name) if last and name else folder / str(number)
            # A period that was learned to its end has a model; the last one is trained again from its last epoch on.
            if last and name:
                arguments["resume"] = resume and (place / "checkpoint.pt").exists()
                trained = run.train(source.row.name, config, path, name, **arguments)
            elif not (resume and (place / "model.safetensors").exists()):
                arguments["resume"] = resume and (place / "checkpoint.pt").exists()
                loop.fit(source.row.name, config, path, place, **arguments)
            module = _loaded(place)
            matrix.append([part.metrics(module)[measure] for part in parts])
    names = ["before", *(path.name for path in periods)]
    return trained, Report(measure, names, matrix)


@contextlib.contextmanager
def _kept(run_folder: Path, about: dict[str, Any], resume: bool) -> Iterator[Path]:
    """The folder of the periods' runs but the last, which goes when all were learned."""
    folder = run_folder / "periods"
    if resume and not (folder / "about.json").exists():
        raise InputError(f"{run_folder}: nothing to resume; leave out --resume to start")
    if resume and read_json(folder / "about.json") != json.loads(json.dumps(about)):
        raise InputError(f"{run_folder}: cannot resume, its model, data or options were others; start a new one")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
        (run_folder / "checkpoint.pt").unlink(missing_ok=True)
        folder.mkdir(parents=True)
        atomic_write(folder / "about.json", json.dumps(about) + "\n")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class _Period:
    """One period's data: batches to remember, and its held-out measures."""

    def __init__(self, source: Source, path: Path, config: TrainingConfig, validation_split: float, seed: int) -> None:
        self.data = source.row.learn.Data.load(path, validation_split, seed, asdict(config))
        self.split = "test" if "test" in self.data.splits else "validation"
        batches = self.data.batches("train", config.batch_size, np.random.default_rng([seed, 1]))
        self.memory: list[Batch] = [batch for batch, _ in zip(batches, range(_MEMORY_BATCHES), strict=False)]
        if not self.memory:
            raise InputError(f"{path}: nothing in its training part can be learned from: it is an empty period")

    def metrics(self, module: nn.Module) -> dict[str, float]:
        module.eval()
        with torch.no_grad():
            found: dict[str, float] = self.data.metrics(module, self.split)
        module.train()
        return found


def _hooks(
    source: Source,
    module: nn.Module,
    before: Sequence[_Period],
    prevention: str,
    importance_kind: str,
    rehearsal: str,
    strength: float,
) -> list[Hook]:
    hooks: list[Hook] = []
    loss = before[0].data.loss
    if prevention == "elastic-weight-consolidation":
        batches = [batch for period in before for batch in period.memory]
        weights = importance(module, loss, batches, importance_kind)
        old = {name: p.detach().clone() for name, p in module.named_parameters()}
        hooks.append(ElasticWeights(old, weights, strength))
    elif prevention == "distillation":
        distance = functools.partial(source.row.learn.distillation, temperature=_TEMPERATURE)
        hooks.append(Distillation(copy.deepcopy(module), distance, strength))
    memories = [period.memory for period in before]
    if rehearsal == "gradient-episodic-memory":
        hooks.append(EpisodicMemory(memories, loss))
    elif rehearsal == "experience-replay":
        hooks.append(Replay(memories, loss))
    return hooks


def _loaded(folder: Path) -> nn.Module:
    return read(folder / "model.safetensors").module
