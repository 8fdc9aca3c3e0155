"""How decision engines are judged: held-out episodes, each a unit, beside rules and chance on the same episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from claude_flow.environments import REWARDS
from claude_flow.environments.rules import RULES, Policy, at_random, measures, play, tuned
from claude_flow.environments.swarm import Swarm
from claude_flow.evaluate.judge import COSTS, Marks, Part, cost
from claude_flow.model import Model
from claude_flow.networks.action.learn import Settings, episodes
from claude_flow.networks.action.prepare import read_manifest
from claude_flow.networks.action.streams import Streams, assembled

__all__ = ["Judge", "folds"]

_MEASURED = ("resolve-rate", "completion-time", "cost")


class Judge:
    """Episodes of the test part (or the validation part); see :class:`claude_flow.evaluate.judge.Judge`."""

    MEASURES: ClassVar[dict[str, str]] = {
        "reward": "reward of an episode",
        "resolve-rate": "share of the tasks that were resolved",
        "completion-time": "mean minutes from a task's arrival to its end",
        "cost": "what an episode cost",
        **COSTS,
    }
    HIGHER: ClassVar[frozenset[str]] = frozenset({"reward", "resolve-rate"})
    BASELINES: ClassVar[dict[str, str]] = {
        "random": "any legal command",
        "rule-based": "the best rule of a search over rules and their thresholds (120 candidates, 30 episodes)",
        "least-loaded": "the most urgent task to the capable agent that had fewest",
        "shortest-first": "the shortest task first",
        "earliest-deadline": "what is due first, first",
        "matching": "Hungarian assignment",
    }
    SLOW: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, data: Path, validation_split: float, config: dict[str, Any], part: str = "test") -> None:
        self.settings = Settings(**read_manifest(data))
        self.seeds = self.settings.seeds(part)
        self.units = np.array([f"episode {seed}" for seed in self.seeds])

    @property
    def sizes(self) -> dict[str, int]:
        """Episodes of each part."""
        return {"validation": self.settings.judged, "test": self.settings.judged}

    def model(self, model: Model, without: tuple[str, ...] = ()) -> Marks:
        """A decision engine behind its three networks; streams ``without`` are hidden from it."""
        streams = Streams(model.features["networks"])
        settings = replace(self.settings, hidden=tuple(model.features.get("hidden", ())))
        swarms = episodes(streams, model.run, settings, self.seeds, without)
        whole = assembled(model, streams)
        inputs = _inputs(streams, _request())
        found = cost(whole, [lambda: whole.run(inputs)])
        found["memory-usage"] += sum(m.path.stat().st_size for m in streams.models.values()) / (1 << 20)
        return Marks(self._rows(swarms), found)

    def baseline(self, name: str, seed: int) -> Marks:
        """A rule, or chance."""
        policy: Policy = RULES.get(name) or at_random(seed)
        if name == "rule-based":
            first = Settings.TRAIN
            _, policy, _ = tuned(self.settings.reward, range(first, first + 30), 120)
        return Marks(self._rows([play(policy, self.settings.world, s) for s in self.seeds]))

    def _rows(self, swarms: list[Swarm]) -> dict[str, Any]:
        reward = REWARDS[self.settings.reward].of
        done = [measures(swarm) for swarm in swarms]
        rows = {name: np.array([one[name] for one in done]) for name in _MEASURED}
        return {"reward": np.array([reward(swarm.total) for swarm in swarms]), **rows}


def _request() -> dict[str, Any]:
    """A request of the suite."""
    from claude_flow.networks.action.prepare import requests

    return next(iter(requests(1, 7)))


def _inputs(streams: Streams, request: dict[str, Any]) -> list[Any]:
    """The four inputs of a joined program, as batches of one."""
    return [part[None] for part in streams.encode(request)]


def folds(data: Path, count: int, seed: int) -> list[Part]:
    """Parts to train anew on: other worlds are not trained on, so the folds are the same world under other seeds."""
    return [(f"seed {i + 1}", {}, {}) for i in range(count)]
