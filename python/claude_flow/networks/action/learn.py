"""How the decision engine learns: double Q-learning on a prioritized memory of what it did in the environment."""

from __future__ import annotations

import copy
import json
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow.environments import REWARDS, WORLDS
from claude_flow.environments.rules import RULES, Policy, at_random, measures, play, tuned
from claude_flow.environments.swarm import ACTIONS, DEFER, Swarm
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.networks.action.config import STREAMS, ActionConfig
from claude_flow.networks.action.net import ActionNet
from claude_flow.networks.action.streams import NETWORKS, Streams

__all__ = ["EXPLORATIONS", "Data", "Memory", "Settings", "distillation", "episodes"]

Floats = NDArray[np.float32]
#: exploration strategies, in words
EXPLORATIONS = {
    "epsilon-greedy": "any legal command with a chance of epsilon, else the best",
    "boltzmann": "commands by the softmax of their values over epsilon",
}
_AT_ONCE = 16  # swarms that are played side by side
_STEPS = 4  # rewards that a return counts before it asks the target network
_HALF_LIFE = 120.0  # minutes until a reward counts 1/e
_SCALE = 0.2  # of rewards, so that values are about 1
_CAPACITY = 30_000  # decisions in memory
_UPDATES = 14  # gradient steps per episode of training
_DROPPED = 0.1  # of the time a stream is hidden, so that the engine can do without
_MOST = 600  # decisions of an episode


@dataclass(frozen=True)
class Settings:
    """What is learned where: the fields of a data set's manifest."""

    reward: str = "efficiency-improvement"
    exploration: str = "epsilon-greedy"
    world: str = "simulated"
    episodes: int = 100  # per epoch
    hidden: tuple[str, ...] = ()  # streams that it never sees
    explore_updates: int = 3_000  # until epsilon is at its least
    judged: int = 20  # episodes of the validation and of the test part each
    seed: int = 0

    #: first seeds of the parts: they never overlap
    TRAIN, VALIDATION, TEST = 10_000_000, 1_000_000, 2_000_000

    def seeds(self, split: str) -> range:
        """The episodes of a part that is judged."""
        first = self.VALIDATION if split == "validation" else self.TEST
        return range(first, first + self.judged)


class Memory:
    """The latest decisions; those that surprised more are drawn more often (Schaul et al. 2016)."""

    def __init__(self, capacity: int, width: int, actions: int) -> None:
        self.x = np.zeros((capacity, width), np.float16)
        self.next = np.zeros((capacity, width), np.float16)
        self.mask = np.zeros((capacity, actions), bool)
        self.action = np.zeros(capacity, np.int64)
        self.gain, self.discount = np.zeros(capacity, np.float32), np.zeros(capacity, np.float32)
        self.priority = np.zeros(capacity)
        self.count = 0

    def add(self, x: Floats, action: int, gain: float, after: Floats, mask: Sequence[bool], discount: float) -> None:
        """Keep one; ``discount`` of what comes after, 0 at the end."""
        i = self.count % len(self.x)
        self.x[i], self.next[i], self.mask[i], self.action[i] = x, after, mask, action
        self.gain[i], self.discount[i] = gain, discount
        self.priority[i] = self.priority[: self.size].max(initial=1e-3)
        self.count += 1

    @property
    def size(self) -> int:
        """How many are kept."""
        return min(self.count, len(self.x))

    def draw(self, count: int, generator: np.random.Generator) -> tuple[NDArray[np.intp], Floats]:
        """Rows, and the weights that make up for drawing some more often."""
        share = self.priority[: self.size] / self.priority[: self.size].sum()
        rows = np.minimum(np.searchsorted(np.cumsum(share), generator.random(count)), self.size - 1)
        weights = (self.size * share[rows]) ** -0.5
        return rows, (weights / weights.max()).astype(np.float32)


@dataclass
class _Playing:
    """A swarm in training, and its latest decisions, which wait for their returns."""

    swarm: Swarm
    waiting: deque[tuple[Floats, int, float, float]] = field(default_factory=deque)
    steps: int = 0
    reward: float = 0.0
    rule: Policy | None = None  # that plays it


class Data:
    """Training, validation and test episodes of an environment; see :class:`claude_flow.train.loop.Data`.

    The training part is played as it is learned from: a step of the loop plays on, and then learns from the memory.
    What is judged are episodes of other seeds, without exploration.
    """

    splits = ("train", "validation", "test")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fingerprint = json.dumps({"environment": "swarm-coordination-env", **vars(settings)}, sort_keys=True)
        self.streams = Streams()
        self.updates = self.played = 0
        self.rewards: deque[float] = deque(maxlen=100)  # of the latest training episodes
        self._reward = REWARDS[settings.reward].of
        self._playing: list[_Playing] = []
        self._generator = np.random.default_rng([settings.seed, 0xDE])

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> Data:
        """The data set that ``prepare.preprocess`` wrote."""
        from claude_flow.networks.action.prepare import read_manifest

        return cls(Settings(**read_manifest(path), seed=seed))

    def parts(self) -> dict[str, Data]:
        """It has none."""
        return {}

    def module(self, config: dict[str, Any]) -> nn.Module:
        """A new decision engine."""
        sizes = ActionConfig(**config)
        self.memory = Memory(_CAPACITY, sizes.input_width, sizes.actions)
        module = ActionNet(sizes)
        self.target = copy.deepcopy(module).requires_grad_(False)
        return module

    def resume(self, target: dict[str, Tensor]) -> None:
        """Go on with the target network of an interrupted run, and other episodes than before."""
        self.target.load_state_dict(target)
        self._generator = np.random.default_rng([self.settings.seed, 0xDE, self.updates])
        self.memory.count, self._playing = 0, []

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """How many decisions each step draws from memory; what is drawn, :meth:`loss` finds."""
        for _ in range(self.settings.episodes * _UPDATES if split == "train" else 1):
            yield {"decisions": torch.tensor([max(batch_size, 8)])}

    @cached_property
    def _teacher(self) -> Policy:
        """A tuned rule: it plays some of the training episodes at first, half of them, then ever fewer."""
        return tuned(self.settings.reward, range(Settings.TRAIN, Settings.TRAIN + 10), 40)[1]

    @property
    def epsilon(self) -> float:
        """How much is explored now: from 1 down to 0.05."""
        return max(0.05, 1.0 - 0.95 * self.updates / self.settings.explore_updates)

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Play on, then the error of the values of remembered decisions: double Q-learning on returns of 4 steps."""
        self.updates += 1
        self._play_on(module, self.updates / _UPDATES, int(batch["decisions"][0]))
        with torch.no_grad():  # the target follows the weights slowly
            for slow, fast in zip(self.target.parameters(), module.parameters(), strict=True):
                slow.lerp_(fast.detach(), 0.005)
        memory = self.memory
        rows, weights = memory.draw(int(batch["decisions"][0]), self._generator)
        x, after = (torch.from_numpy(part[rows].astype(np.float32)) for part in (memory.x, memory.next))
        with torch.no_grad():
            best = module(after).masked_fill(~torch.from_numpy(memory.mask[rows]), -torch.inf).argmax(1, keepdim=True)
            later = self.target(after).gather(1, best)[:, 0]
            wanted = torch.from_numpy(memory.gain[rows]) + torch.from_numpy(memory.discount[rows]) * later
        value = module(x).gather(1, torch.from_numpy(memory.action[rows])[:, None])[:, 0]
        memory.priority[rows] = (np.abs((value.detach() - wanted).numpy()) + 0.01) ** 0.6
        losses = nn.functional.smooth_l1_loss(value, wanted, reduction="none")
        return (torch.from_numpy(weights) * losses).mean()

    def _play_on(self, module: nn.Module, episodes: float, least: int) -> None:
        """Play until so many episodes are done; at least until something can be learned from."""
        training = module.training
        module.eval()
        while self.memory.size < 8 * least or self.played + self._share() < episodes:
            while len(self._playing) < _AT_ONCE:
                seed = Settings.TRAIN + self.settings.seed * 1_000_003 + self.played + len(self._playing)
                rule = self._teacher if self._generator.random() < self.epsilon / 2 else None
                self._playing.append(_Playing(Swarm(WORLDS[self.settings.world], seed), rule=rule))
            requests = [playing.swarm.request() for playing in self._playing]
            hidden = [name for name in STREAMS if name != "state" and self._generator.random() < _DROPPED]
            inputs = self.streams.run(requests, (*self.settings.hidden, *hidden))
            with torch.no_grad():
                values = module(torch.from_numpy(inputs)).numpy()
            if not np.isfinite(values).all():
                raise ClaudeFlowError("the decision engine's values are not finite: lower the learning rate")
            for playing, x, q in zip(list(self._playing), inputs, values, strict=True):
                self._decide(playing, x, q)
        module.train(training)

    def _share(self) -> float:
        """How far the episodes at play are, as a number of episodes."""
        return sum(min(playing.steps / 150, 1.0) for playing in self._playing)

    def _decide(self, playing: _Playing, x: Floats, values: Floats) -> None:
        swarm, mask = playing.swarm, np.array(playing.swarm.mask())
        if not mask.any():
            raise ClaudeFlowError(f"the environment has no legal command {playing.steps} decisions into an episode")
        while len(playing.waiting) == _STEPS:
            self._remember(playing, x, mask)
        action = self._choose(values, mask) if playing.rule is None else playing.rule(swarm)
        happened = swarm.step(action)
        reward = self._reward(happened)
        if not math.isfinite(reward):
            raise ClaudeFlowError(
                f"the reward became {reward} after {list(ACTIONS)[action]}, {playing.steps} decisions into an episode"
            )
        playing.waiting.append((x, action, reward * _SCALE, math.exp(-happened.minutes / _HALF_LIFE)))
        playing.steps += 1
        playing.reward += reward
        if swarm.over or playing.steps >= _MOST:
            while playing.waiting:
                self._remember(playing, x, mask, end=True)
            if playing.rule is None:
                self.rewards.append(playing.reward)
            self.played += 1
            self._playing.remove(playing)

    def _remember(self, playing: _Playing, after: Floats, mask: NDArray[np.bool_], end: bool = False) -> None:
        """The oldest waiting decision, with what came of it."""
        gain, discount = 0.0, 1.0
        for _, _, reward, fade in playing.waiting:
            gain += discount * reward
            discount *= fade
        x, action, *_ = playing.waiting.popleft()
        self.memory.add(x, action, gain, after, mask.tolist(), 0.0 if end else discount)

    def _choose(self, values: Floats, mask: NDArray[np.bool_]) -> int:
        generator, legal = self._generator, np.flatnonzero(mask)
        if self.settings.exploration == "boltzmann":
            heat = values[legal] / self.epsilon
            chance = np.exp(heat - heat.max(), dtype=np.float64)
            return int(generator.choice(legal, p=chance / chance.sum()))
        if generator.random() < self.epsilon:
            return int(generator.choice(legal))
        return int(legal[values[legal].argmax()])

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """Means over the split's episodes; ``loss`` is the reward's negative."""
        found = self._mean(episodes(self.streams, _values(module), self.settings, self.settings.seeds(split)))
        return {"loss": -found["reward"], **found}

    def _mean(self, swarms: Sequence[Swarm]) -> dict[str, float]:
        done = [measures(swarm) for swarm in swarms]
        found = {name: float(np.mean([one[name] for one in done])) for name in done[0]}
        reward = float(np.mean([self._reward(swarm.total) for swarm in swarms]))
        return {"reward": reward, **{name: found[name] for name in ("resolve-rate", "completion-time", "cost")}}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Random legal commands, the rules, and the best of a search over tuned ones."""
        seeds = self.settings.seeds(split)
        episodes = range(Settings.TRAIN, Settings.TRAIN + len(seeds))
        _, rule, _ = tuned(self.settings.reward, episodes, 3 * len(seeds))
        policies: dict[str, Policy] = {"random": at_random(1), **RULES, "tuned-rule": rule}
        return {
            name: self._mean([play(policy, self.settings.world, seed) for seed in seeds])
            for name, policy in policies.items()
        }

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """What a file needs to answer: the commands, and whose outputs it was trained on."""
        features = {
            "encoder": "action",
            "version": 1,
            "commands": list(ACTIONS),
            "networks": dict(NETWORKS),
            "hidden": list(self.settings.hidden),
            "reward": self.settings.reward,
        }
        about = {"environment": "swarm-coordination-env", "reward": self.settings.reward, "episodes": self.played}
        return {"features": features, "calibration": {"scale": _SCALE}, "card": about}


def _values(module: nn.Module) -> Any:
    def values(x: Floats) -> Floats:
        with torch.no_grad():
            found: Floats = module(torch.from_numpy(x)).numpy()
        return found

    return values


def episodes(
    streams: Streams, values: Any, settings: Settings, seeds: Sequence[int], without: Sequence[str] = ()
) -> list[Swarm]:
    """Play one episode per seed to its end, always by the largest of ``values(inputs)``."""
    world = WORLDS[settings.world]
    swarms = [Swarm(world, seed) for seed in seeds]
    going = list(swarms)
    for _ in range(_MOST):
        going = [swarm for swarm in going if not swarm.over]
        if not going:
            break
        inputs = streams.run([swarm.request() for swarm in going], (*settings.hidden, *without))
        masks = np.array([swarm.mask() for swarm in going])
        best = np.where(masks, values(inputs), -np.inf).argmax(1)
        for swarm, action, mask in zip(going, best, masks, strict=True):
            swarm.step(int(action) if mask[action] else DEFER)
    return swarms


def distillation(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor], temperature: float) -> Tensor:
    """Refused: there are no examples that a teacher could label."""
    raise InputError("a decision engine is not distilled: it learns by acting (claude-flow neural train reinforcement)")
