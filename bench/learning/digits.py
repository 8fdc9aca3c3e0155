"""Tasks one after another on scikit-learn's digits: the hooks against forgetting on benchmarks of the literature.

*Permuted*: five tasks, each with its own permutation of the 64 pixels. *Split*: five tasks of two digits each, of which
the net says which of the two it is. One output layer serves all tasks, and no task is named at test: the protocol
of the published permuted-MNIST numbers, on small images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from claude_flow import files
from claude_flow.errors import require
from claude_flow.train import loop
from claude_flow.train.config import TrainingConfig
from claude_flow.train.hooks import Hook
from claude_flow.train.recipes.memory import Distillation, ElasticWeights, EpisodicMemory, Replay, importance

__all__ = ["KINDS", "METHODS", "run"]

KINDS = ("permuted", "split")
METHODS = ("plain", "EWC", "GEM", "EWC and GEM", "distillation", "replay", "joint")
TASKS, EPOCHS, BATCH, RATE, HIDDEN = 5, 6, 32, 2e-3, 128
STRENGTH = {"EWC": 3e4, "EWC and GEM": 3e4, "distillation": 1.0}
_MEMORY = 8  # batches of each task that are remembered
Batch = dict[str, Tensor]


class _Task:
    """One task, or several as one, in the form that the loop trains."""

    splits = ("train", "validation")

    def __init__(self, x: Any, y: Any, classes: int, fingerprint: str) -> None:
        self.x, self.y, self._classes = torch.from_numpy(x), torch.from_numpy(y), classes
        self.fingerprint = fingerprint

    def module(self, config: dict[str, Any]) -> nn.Module:
        return nn.Sequential(
            nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, self._classes)
        )

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[Batch]:
        order = generator.permutation(len(self.x))
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            yield {"x": self.x[rows], "y": self.y[rows]}

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        return functional.cross_entropy(module(batch["x"]), batch["y"])

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        return {"loss": 0.0}  # the last epoch is kept

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        return {}

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        return {}


class _Last(Hook):
    """Keeps the module that the loop trains."""

    about = {"name": "last"}  # noqa: RUF012

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        self.weights = {name: t.detach().clone() for name, t in module.state_dict().items()}


def _tasks(kind: str, seed: int) -> tuple[list[_Task], list[_Task]]:
    """The tasks' training and test parts: a fifth of the images, the same ones in every task, is the test."""
    images, labels = require("sklearn.datasets", "baselines").load_digits(return_X_y=True)
    x, y = (images / 16).astype(np.float32), labels.astype(np.int64)
    generator = np.random.default_rng(seed)
    test = generator.permutation(len(x)) < len(x) // 5
    found: tuple[list[_Task], list[_Task]] = ([], [])
    for number in range(TASKS):
        if kind == "permuted":
            pixels = generator.permutation(64) if number else np.arange(64)
            rows, tx, ty, classes = np.ones(len(x), bool), x[:, pixels], y, 10
        else:
            rows, tx, ty, classes = y // 2 == number, x, y % 2, 2
        for part, side in zip(found, (~test, test), strict=True):
            own = rows & side
            part.append(_Task(np.ascontiguousarray(tx[own]), ty[own], classes, f"{kind} {seed} {number}"))
    return found


def _distance(new: nn.Module, old: nn.Module, batch: Batch) -> Tensor:
    return 4.0 * functional.kl_div(
        torch.log_softmax(new(batch["x"]) / 2, 1),
        torch.log_softmax(old(batch["x"]) / 2, 1),
        reduction="batchmean",
        log_target=True,
    )


def _accuracy(module: nn.Module, task: _Task) -> float:
    with torch.no_grad():
        return float((module.eval()(task.x).argmax(1) == task.y).float().mean())


def run(kind: str, method: str, seed: int) -> dict[str, float]:
    """``final``: mean accuracy over all tasks in the end; ``forgetting``; ``learned``: that of each task right after it
    was learned."""
    train, test = _tasks(kind, seed)
    config = TrainingConfig(
        learning_rate=RATE, schedule="constant", warmup_steps=0, batch_size=BATCH, epochs=EPOCHS, patience=None
    )
    if method == "joint":
        whole = [torch.cat([getattr(task, name) for task in train]).numpy() for name in ("x", "y")]
        train = [_Task(whole[0], whole[1], 10 if kind == "permuted" else 2, f"{kind} {seed} joint")]
    weights: dict[str, Tensor] | None = None
    loss = train[0].loss
    memories: list[list[Batch]] = []
    fisher: list[tuple[Batch, Batch]] = []
    matrix = []
    module = train[0].module({})
    for number, task in enumerate(train):
        last = _Last()
        hooks: list[Hook] = [last]
        if memories:
            if "EWC" in method:
                hooks += [ElasticWeights(old, mattered, STRENGTH[method]) for old, mattered in fisher]
            if "GEM" in method:
                hooks.append(EpisodicMemory(memories, loss))
            if method == "distillation":
                teacher = task.module({})
                teacher.load_state_dict(weights or {})
                hooks.append(Distillation(teacher, _distance, STRENGTH[method]))
            if method == "replay":
                hooks.append(Replay(memories, loss))
        with files.temporary_folder() as scratch:
            start = {} if weights is None else {"start": weights}
            loop.fit(
                "optimization", config, task, scratch, seed=seed, hooks=hooks, distributed="off", store=False,
                checkpoint_interval=10**6, device="cpu", **start,
            )  # fmt: skip
        weights = last.weights
        module.load_state_dict(weights)
        batches = list(task.batches("train", BATCH, np.random.default_rng([seed, number])))
        memories.append(batches[:_MEMORY])
        if "EWC" in method and number + 1 < len(train):
            singles = [{name: t[i : i + 1] for name, t in batch.items()} for batch in batches[:8] for i in range(BATCH)]
            fisher.append(
                ({n: p.detach().clone() for n, p in module.named_parameters()}, importance(module, loss, singles))
            )
        matrix.append([_accuracy(module, part) for part in test])
    r = np.array(matrix)
    if method == "joint":
        return {"final": float(r[-1].mean()), "forgetting": 0.0, "learned": float(r[-1].mean())}
    forgot = np.mean([r[:-1, j].max() - r[-1, j] for j in range(TASKS - 1)])
    return {"final": float(r[-1].mean()), "forgetting": float(forgot), "learned": float(np.diag(r).mean())}
