"""How toy models are judged."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file

from claude_flow.evaluate.judge import COSTS, Marks, Part, cost
from claude_flow.model import Model

from .learn import Data


class Judge:
    MEASURES: ClassVar[dict[str, str]] = {"mae": "mean error of log seconds", **COSTS}
    HIGHER: ClassVar[frozenset[str]] = frozenset()
    BASELINES: ClassVar[dict[str, str]] = {"median": "the median of the training part"}
    SLOW: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, data: Path, validation_split: float, config: dict[str, Any], part: str = "test") -> None:
        self.data = Data.load(data, validation_split, 0, config)
        self.rows = self.data.rows[part]
        self.units = np.array([f"run {row}" for row in self.rows])

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(rows) for name, rows in self.data.rows.items()}

    def model(self, model: Model) -> Marks:
        x = np.ascontiguousarray(self.data.x[self.rows])
        error = np.abs(model.run(x) - self.data.y[self.rows])[:, 0].astype(np.float64)
        return Marks({"mae": error}, cost(model, [lambda: model.run(x[:1])]))

    def baseline(self, name: str, seed: int) -> Marks:
        median = np.median(self.data.y[self.data.rows["train"]])
        return Marks({"mae": np.abs(self.data.y[self.rows] - median)[:, 0].astype(np.float64)})


def folds(data: Path, count: int, seed: int) -> list[Part]:
    split = load_file(data / "pools.safetensors")["split"]
    fold = np.random.default_rng(seed).permutation(len(split)) % count
    return [(f"fold {i + 1}", {}, {"split": (fold == i).astype(np.int32)}) for i in range(count)]
