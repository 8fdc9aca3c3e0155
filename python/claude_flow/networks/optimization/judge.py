"""Judging what to change: models and baselines on the simulated swarms of families that no training has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.evaluate import baselines
from claude_flow.evaluate.judge import COSTS, Marks, Part, cost
from claude_flow.model import Model
from claude_flow.networks.optimization import prepare
from claude_flow.networks.optimization.learn import Data, hide, move_ranks
from claude_flow.networks.optimization.rules import rule_scores

__all__ = ["Judge", "folds"]

Array = NDArray[Any]
_UNITS = 50  # groups of test rows, for paired tests: swarms are simulated independently of one another


class Judge:
    """Rows are swarms; inputs are hidden as requests hide them, the same for every contender."""

    MEASURES: ClassVar[dict[str, str]] = {
        "accuracy": "share of swarms that the first recommendation helps",
        "hit-at-5": "share of swarms whose best move is among the first five",
        "gain-at-1": "utility of the first recommendation, in log units",
        "regret-at-1": "utility lost by the first recommendation against the best move",
        "regret-at-5": "utility lost by the best of the first five",
        "spearman": "rank correlation of scores and utilities over the 128 moves",
        **COSTS,
    }
    HIGHER = frozenset({"accuracy", "hit-at-5", "gain-at-1", "spearman"})
    BASELINES: ClassVar[dict[str, str]] = {
        "random": "the moves in a random order",
        "rule-based": "hand-written rules",
        "best-single": "one ranking for all swarms: the training swarms' mean utilities",
        "k-nn": "the mean utilities of the 20 most similar training swarms",
        "gradient-boosting": "LightGBM, one model per move (minutes: only by name)",
        "multi-output-forest": "one random forest from a swarm to the utilities of all moves",
        "per-algorithm-forest": "a random forest per move (many minutes: only by name)",
    }
    SLOW = frozenset({"gradient-boosting", "per-algorithm-forest"})

    def __init__(self, data: Path, validation_split: float, config: dict[str, Any], part: str = "test") -> None:
        self.data = Data.load(data, validation_split, 0, config)
        self.inputs, self.utilities = self.data.judged(part)
        self.units = np.array([f"swarms {i % _UNITS}" for i in range(len(self.inputs))])

    @property
    def sizes(self) -> dict[str, int]:
        """Swarms of each part."""
        return self.data.sizes()

    def model(self, model: Model) -> Marks:
        if model.network != "optimization":
            raise InputError(f"{model.path} is a {model.network} model; the data is for optimization")
        scores = model.run(self.inputs)
        marks = self._marks(scores)
        marks.choices = scores.argmax(axis=1)
        runs = [lambda i=i: model.run(self.inputs[i : i + 1]) for i in range(len(self.inputs))]
        marks.whole |= cost(model, runs)
        return marks

    def baseline(self, name: str, seed: int) -> Marks:
        if name == "random":
            return self._marks(np.random.default_rng([seed, 11]).random(self.utilities.shape))
        if name == "rule-based":
            return self._marks(rule_scores(self.data.encoder, self.inputs))
        x, y = self.data.whole("train")
        if name == "best-single":
            return self._marks(np.broadcast_to(y.mean(axis=0), self.utilities.shape))
        hidden = hide(self.data.encoder, x, np.random.default_rng([seed, 13]))
        return self._marks(baselines.fit_table(name, hidden, y.astype(np.float64), seed)(self.inputs))

    def _marks(self, scores: Array) -> Marks:
        found = move_ranks(scores, self.utilities)
        return Marks({"accuracy": found.pop("helpful-at-1"), **found})


def folds(data: Path, count: int, seed: int) -> list[Part]:
    """``count`` parts of whole families of work."""
    families = prepare.read_manifest(data)["families"]
    if not 2 <= count <= len(families) // 2:
        raise InputError(f"{data}: from 2 to {len(families) // 2} folds, for its {len(families)} families of work")
    order = np.random.default_rng([seed, 5]).permutation(len(families))
    return [(f"fold {i + 1}", {"test_families": sorted(order[i::count].tolist())}, {}) for i in range(count)]
