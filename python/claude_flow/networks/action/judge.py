"""How decision engines are judged: held-out episodes, each a unit, beside rules and chance on the same episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from claude_flow import networks
from claude_flow.environments import REWARDS
from claude_flow.environments.rules import RULES, Policy, at_random, measures, play, tuned
from claude_flow.environments.swarm import DEFER, Swarm
from claude_flow.evaluate.judge import COSTS, Marks, Part, cost
from claude_flow.model import Model
from claude_flow.networks.action.learn import Settings, episodes
from claude_flow.networks.action.prepare import read_manifest
from claude_flow.networks.action.streams import Streams, assembled

__all__ = ["Judge", "folds"]

#: part -> the stream that is hidden without it
_HIDES = {"fusion": "coordination"}
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
    ABLATIONS: ClassVar[dict[str, str]] = {
        "fusion": "coordination's outputs, which attention fuses, are hidden from the decision engine",
        "prediction": "prediction's outputs are hidden",
        "optimization": "optimization's outputs are hidden",
        "rl": "the tuned rule decides, which taught the engine at first",
    }

    def __init__(self, data: Path, validation_split: float, config: dict[str, Any], part: str = "test") -> None:
        self.settings = Settings(**read_manifest(data))
        self.seeds = self.settings.seeds(part)
        self.units = np.array([f"episode {seed}" for seed in self.seeds])

    @property
    def sizes(self) -> dict[str, int]:
        """Episodes of each part."""
        return {"validation": self.settings.judged, "test": self.settings.judged}

    def ablated(self, model: Model, part: str) -> Marks:
        """A decision engine without a part of :data:`ABLATIONS`."""
        return self.baseline("rule-based", 0) if part == "rl" else self.model(model, (_HIDES.get(part, part),))

    def model(self, model: Model, without: tuple[str, ...] = ()) -> Marks:
        """A decision engine behind its three networks, streams ``without`` hidden from it; or a coordination model,
        which assigns and does nothing else."""
        if networks.get(model.network) is networks.get("coordination"):
            return Marks(self._rows([self._play(_assigning(model), seed) for seed in self.seeds]))
        networks.get("action").check(model)
        streams = Streams.of(model)
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
        return Marks(self._rows([self._play(policy, s) for s in self.seeds]))

    def _play(self, policy: Policy, seed: int) -> Swarm:
        return play(policy, self.settings.world, seed)

    def _rows(self, swarms: list[Swarm]) -> dict[str, Any]:
        reward = REWARDS[self.settings.reward].of
        done = [measures(swarm) for swarm in swarms]
        rows = {name: np.array([one[name] for one in done]) for name in _MEASURED}
        return {"reward": np.array([reward(swarm.total) for swarm in swarms]), **rows}


def _assigning(model: Model) -> Policy:
    """The ``assign`` command whose pair a coordination model is surest of; none where it knows better than all."""
    answers = networks.get("coordination").answer

    def policy(swarm: Swarm) -> int:
        mask = swarm.mask()
        if not mask[0]:
            return DEFER if mask[DEFER] else mask.index(True)
        answer = answers.answer(model, swarm.request())
        sure = {
            (entry["task"], candidate["choice"]): candidate["confidence"]
            for entry in answer["assignments"]
            for candidate in entry["candidates"]
        }
        pairs = [swarm.pair(action) for action in range(DEFER)]
        scores = [sure.get((f"task-{task.id}", f"agent-{agent.id}"), 0.0) for agent, task in pairs]
        return DEFER if mask[DEFER] and not any(scores) else int(np.argmax(scores))

    return policy


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
