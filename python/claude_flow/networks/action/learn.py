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
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow.environments import REWARDS
from claude_flow.environments.fitted import named
from claude_flow.environments.observe import FEATURES
from claude_flow.environments.rewards import Happened
from claude_flow.environments.rules import RULES, Policy, at_random, measures, play, tuned
from claude_flow.environments.swarm import ACTIONS, DEFER, Swarm
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.networks.action.config import STREAMS, ActionConfig
from claude_flow.networks.action.net import ActionNet
from claude_flow.networks.action.streams import NETWORKS, Streams

__all__ = ["EXPLORATIONS", "MOST", "SCALE", "Data", "Memory", "Playing", "Settings", "distillation", "episodes"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
#: exploration strategies, in words
EXPLORATIONS = {
    "epsilon-greedy": "any legal command with a chance of epsilon, else the best",
    "boltzmann": "commands by the softmax of their values over epsilon",
}
_AT_ONCE = 16  # swarms that are played side by side
_STEPS = 8  # rewards that a return counts before it asks the target network
_FADE = 500.0  # minutes until a reward counts 1/e: an agent that is spawned costs until the end
SCALE = 0.1  # of rewards, so that values are about 1
_MARGIN = 0.05  # by which the teacher's command should be worth more than any other, while the teacher plays
_CAPACITY = 100_000  # decisions in memory
_UPDATES = 14  # gradient steps per episode of training
_DROPPED = 0.1  # of the time a stream is hidden, so that the engine can do without
MOST = 600  # decisions of an episode


@dataclass(frozen=True)
class Settings:
    """What is learned where: the fields of a data set's manifest."""

    reward: str = "efficiency-improvement"
    exploration: str = "epsilon-greedy"
    world: str = "simulated"
    episodes: int = 100  # per epoch
    hidden: tuple[str, ...] = ()  # streams that it never sees
    explore_updates: int = 8_000  # until epsilon is at its least, and the teacher plays no more
    judged: int = 20  # episodes of the validation and of the test part each
    seed: int = 0
    rounds: int = 14  # of the search for the teacher by rollouts

    #: first seeds of the parts: they never overlap
    TRAIN, VALIDATION, TEST = 10_000_000, 1_000_000, 2_000_000

    def seeds(self, split: str) -> range:
        """The episodes of a part that is judged."""
        first = self.VALIDATION if split == "validation" else self.TEST
        return range(first, first + self.judged)


class Decision(NamedTuple):
    """What was seen, which commands were legal, which one was given, its reward, and how much later ones count."""

    x: Floats
    legal: Bools
    action: int
    reward: float
    fade: float


class Memory:
    """The latest decisions; those that surprised more are drawn more often (Schaul et al. 2016)."""

    def __init__(self, capacity: int, width: int, actions: int) -> None:
        self.x = np.zeros((capacity, width), np.float16)
        self.next = np.zeros((capacity, width), np.float16)
        self.legal, self.mask = np.zeros((capacity, actions), bool), np.zeros((capacity, actions), bool)
        self.taught = np.zeros(capacity, bool)  # the teacher's decisions
        self.action = np.zeros(capacity, np.int64)
        self.gain, self.discount = np.zeros(capacity, np.float32), np.zeros(capacity, np.float32)
        self.priority = np.zeros(capacity)
        self.count = 0

    def add(self, made: Decision, gain: float, after: Floats, mask: Bools, discount: float, taught: bool) -> None:
        """Keep one; ``mask``: what is legal ``after``; ``discount`` of what comes after, 0 at the end."""
        i = self.count % len(self.x)
        self.x[i], self.legal[i], self.action[i] = made.x, made.legal, made.action
        self.next[i], self.mask[i], self.taught[i] = after, mask, taught
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
class Playing:
    """A swarm in training, and its latest decisions, which wait for their returns."""

    swarm: Swarm
    waiting: deque[Decision] = field(default_factory=deque)
    steps: int = 0
    reward: float = 0.0
    rule: Policy | None = None  # that plays it: the teacher


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
        self._playing: list[Playing] = []
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
        with (
            torch.no_grad()
        ):  # it begins with the swarm's own numbers; of the networks' outputs it learns what they add
            module.integration.weight[:, : sizes.input_width - STREAMS["state"]] = 0
        self.target = copy.deepcopy(module).requires_grad_(False)
        return module

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of it besides counts: the target network."""
        return {"target": self.target.state_dict()}

    def resume(self, kept: dict[str, Any]) -> None:
        """Go on with the target network of an interrupted run, and other episodes than before."""
        self.target.load_state_dict(kept["target"])
        self._generator = np.random.default_rng([self.settings.seed, 0xDE, self.updates])
        self.memory.count, self._playing = 0, []

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """How many decisions each step draws from memory; what is drawn, :meth:`loss` finds."""
        for _ in range(self.settings.episodes * _UPDATES if split == "train" else 1):
            yield {"decisions": torch.tensor([max(batch_size, 8)])}

    @cached_property
    def _teacher(self) -> Policy:
        """A tuned rule: it plays some of the training episodes at first, half of them, then ever fewer."""
        return tuned(self.settings.reward, range(Settings.TRAIN, Settings.TRAIN + 20), 60, 0, self.settings.world)[1]

    @property
    def epsilon(self) -> float:
        """How much is explored now: from 0.15 down to 0.05; a random command may undo an hour's work."""
        return 0.05 + 0.1 * self._early

    @property
    def _early(self) -> float:
        """From 1 down to 0: how much the teacher counts."""
        return max(0.0, 1.0 - self.updates / self.settings.explore_updates)

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Play on, then the error of the values of remembered decisions: double Q-learning on returns of 8 steps, and
        at first the margin of the teacher's commands over others (Hester et al. 2018)."""
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
        values, action = module(x), torch.from_numpy(memory.action[rows])[:, None]
        value = values.gather(1, action)[:, 0]
        memory.priority[rows] = (np.abs((value.detach() - wanted).numpy()) + 0.01) ** 0.6
        losses = nn.functional.smooth_l1_loss(value, wanted, reduction="none")
        return (torch.from_numpy(weights) * losses).mean() + self._early * self._lead(values, value, action, rows)

    def _lead(self, values: Tensor, value: Tensor, action: Tensor, rows: NDArray[np.intp]) -> Tensor:
        """By how much other legal commands come too near to the teacher's."""
        near = (values + _MARGIN).scatter(1, action, value[:, None])
        near = near.masked_fill(~torch.from_numpy(self.memory.legal[rows]), -torch.inf).amax(1)
        return ((near - value) * torch.from_numpy(self.memory.taught[rows])).mean()

    def _play_on(self, module: nn.Module, episodes: float, least: int) -> None:
        """Play until so many episodes are done; at least until something can be learned from."""
        training = module.training
        module.eval()
        while self.memory.size < 8 * least or self.played + self._share() < episodes:
            self._begin(self._teacher, self._early / 2)
            hidden = [name for name in STREAMS if name != "state" and self._generator.random() < _DROPPED]
            self._decide_each(module, hidden)
        module.train(training)

    def _begin(self, rule: Policy, share: float) -> None:
        """Begin episodes until as many as may are at play; a ``share`` of them is played by ``rule``."""
        while len(self._playing) < _AT_ONCE:
            seed = Settings.TRAIN + self.settings.seed * 1_000_003 + self.played + len(self._playing)
            taken = rule if self._generator.random() < share else None
            self._playing.append(Playing(Swarm(named(self.settings.world), seed), rule=taken))

    def _decide_each(self, module: nn.Module, hidden: Sequence[str] = ()) -> None:
        """Decide once in every episode at play, without the streams that are ``hidden``."""
        requests = [playing.swarm.request() for playing in self._playing]
        inputs = self.streams.run(requests, (*self.settings.hidden, *hidden))
        with torch.no_grad():
            values = module(torch.from_numpy(inputs)).numpy()
        if not np.isfinite(values).all():
            raise ClaudeFlowError("the decision engine's values are not finite: lower the learning rate")
        for playing, x, q in zip(list(self._playing), inputs, values, strict=True):
            self._decide(playing, x, q)

    def _share(self) -> float:
        """How far the episodes at play are, as a number of episodes."""
        return sum(min(playing.steps / 150, 1.0) for playing in self._playing)

    def _decide(self, playing: Playing, x: Floats, values: Floats) -> None:
        swarm, mask = playing.swarm, self._legal(playing)
        while len(playing.waiting) == _STEPS:
            self._remember(playing, x, mask)
        action = self._choose(values, mask) if playing.rule is None else playing.rule(swarm)
        happened, reward = self._act(playing, action)
        fade = math.exp(-happened.minutes / _FADE)
        playing.waiting.append(Decision(x, mask, action, reward * SCALE, fade))
        if swarm.over or playing.steps >= MOST:
            while playing.waiting:
                self._remember(playing, x, mask, end=True)
            self._end(playing)

    def _legal(self, playing: Playing) -> NDArray[np.bool_]:
        """Which commands are."""
        mask = np.array(playing.swarm.mask())
        if not mask.any():
            raise ClaudeFlowError(f"the environment has no legal command {playing.steps} decisions into an episode")
        return mask

    def _act(self, playing: Playing, action: int) -> tuple[Happened, float]:
        """Carry a command out; what happened, and its reward."""
        try:
            happened = playing.swarm.step(action)
        except Exception as error:
            raise ClaudeFlowError(
                f"the environment failed after {list(ACTIONS)[action]}, {playing.steps} decisions into an episode: "
                f"{type(error).__name__} {error}"
            ) from error
        reward = self._reward(happened)
        if not math.isfinite(reward):
            raise ClaudeFlowError(
                f"the reward became {reward} after {list(ACTIONS)[action]}, {playing.steps} decisions into an episode"
            )
        playing.steps += 1
        playing.reward += reward
        return happened, reward

    def _end(self, playing: Playing) -> None:
        """An episode is played."""
        if playing.rule is None:
            self.rewards.append(playing.reward)
        self.played += 1
        self._playing.remove(playing)

    def _remember(self, playing: Playing, after: Floats, mask: NDArray[np.bool_], end: bool = False) -> None:
        """The oldest waiting decision, with what came of it."""
        gain, discount = 0.0, 1.0
        for later in playing.waiting:
            gain += discount * later.reward
            discount *= later.fade
        taught = playing.rule is not None
        self.memory.add(playing.waiting.popleft(), gain, after, mask, 0.0 if end else discount, taught)

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
        _, rule, _ = tuned(self.settings.reward, episodes, 3 * len(seeds), 0, self.settings.world)
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
            "numbers": list(FEATURES),
            "hidden": list(self.settings.hidden),
            "reward": self.settings.reward,
        }
        about = {"environment": "swarm-coordination-env", "reward": self.settings.reward, "episodes": self.played}
        return {"features": features, "calibration": {"scale": SCALE}, "card": about}


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
    world = named(settings.world)
    swarms = [Swarm(world, seed) for seed in seeds]
    going = list(swarms)
    for _ in range(MOST):
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
