"""Learning by rollouts: what each command is worth is seen by playing the same futures once for each, in the states
that the learner itself comes to; a teacher goes on after each command (AggreVaTe, Ross & Bagnell 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from claude_flow.environments import futures
from claude_flow.environments.rules import play
from claude_flow.environments.thresholds import Thresholds, searched
from claude_flow.networks.action.config import STREAMS, ActionConfig
from claude_flow.networks.action.learn import MOST, SCALE, Data, Floats, Playing, Settings
from claude_flow.networks.action.net import ActionNet

__all__ = ["Rollouts"]

_LABELLED = 1 / 8  # of the decisions, those whose commands are all tried, in one future each: more states teach more
_NEW = 20  # decisions per gradient step
_STEPS = 6  # gradient steps per episode
_CAPACITY = 60_000
_MARGIN = 0.1  # of reward by which a command must be better than the teacher's: what is learned has errors, too
_MOST = 4.0  # of reward: how much worse or better a command counts at most
_FOLLOW = 3.0  # how much it counts at first that the teacher's command leads by the margin; at last a tenth of that
_EARLY = 800  # gradient steps until then, and until the learner plays nine of ten episodes
_HIDDEN = 0.3  # of the examples see the swarm's numbers alone


class Rollouts(Data):
    """The same episodes; the training part is what the commands turned out to be worth, see the module."""

    def module(self, config: dict[str, Any]) -> nn.Module:
        """A new decision engine, and an empty memory."""
        sizes = ActionConfig(**config)
        self._x = np.zeros((_CAPACITY, sizes.input_width), np.float16)
        self._worth = np.full((_CAPACITY, sizes.actions), np.nan, np.float32)
        self._mask = np.zeros((_CAPACITY, sizes.actions), bool)
        self._taught = np.zeros(_CAPACITY, np.int64)
        self._count = self._resumed = 0  # decisions in memory; gradient steps before it was filled anew
        self._playing: list[Playing] = []
        self._first = sizes.input_width - STREAMS["state"]  # of the swarm's own numbers
        module = ActionNet(sizes)
        with torch.no_grad():  # as in Q-learning, it begins with the swarm's own numbers
            module.integration.weight[:, : self._first] = 0
        return module

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: nothing but counts."""
        return {}

    def resume(self, kept: dict[str, Any]) -> None:
        """Go on with other episodes, and fill a new memory."""
        self._generator = np.random.default_rng([self.settings.seed, 0xDE, self.updates])
        self._count, self._resumed, self._playing = 0, self.updates, []

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """How many decisions each step draws from memory; what is drawn, :meth:`loss` finds."""
        for _ in range(self.settings.episodes * _STEPS if split == "train" else 1):
            yield {"decisions": torch.tensor([max(batch_size, 8)])}

    @cached_property
    def teacher(self) -> Thresholds:
        """Thresholds that a search found on training episodes."""
        seeds = range(Settings.TRAIN, Settings.TRAIN + 100_000)
        return searched(self.settings.reward, seeds, self.settings.world, self.settings.rounds)

    @property
    def _early(self) -> float:
        """From 1 down to 0: how much the teacher plays."""
        return max(0.0, 1.0 - self.updates / _EARLY)

    @property
    def epsilon(self) -> float:
        """Share of any legal command while it plays; as in Q-learning, from 0.15 down to 0.05."""
        return 0.05 + 0.1 * self._early

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Play on; then, where all commands were tried, the squared error of what they are worth beside the teacher's,
        and, of less weight, of what the teacher's is worth; elsewhere by how much others come too near to it."""
        self.updates += 1
        count = int(batch["decisions"][0])
        self._decide_until(module, max(2 * count, (self.updates - self._resumed) * _NEW))
        rows = self._generator.integers(min(self._count, _CAPACITY), size=count)
        x = self._x[rows].astype(np.float32)
        x[self._generator.random(count) < _HIDDEN, : self._first] = 0.0
        worth = torch.from_numpy(self._worth[rows])
        taught = torch.from_numpy(self._taught[rows])[:, None]
        values: Tensor = module(torch.from_numpy(x)) / SCALE
        lead = values - values.gather(1, taught)
        follow = (lead + _MARGIN).masked_fill(~torch.from_numpy(self._mask[rows]), 0.0).scatter(1, taught, 0.0).amax(1)
        wanted = (worth - worth.gather(1, taught) - _MARGIN).clamp(-_MOST, _MOST)
        tried = (~torch.isnan(wanted)).scatter(1, taught, False)
        level = torch.isfinite(worth.gather(1, taught))
        loss = _FOLLOW * (0.1 + 0.9 * self._early) * follow[~tried.any(1)].sum() / count
        if tried.any():
            loss = loss + (lead - wanted)[tried].square().mean()
            apart = values.gather(1, taught)[level] - worth.gather(1, taught)[level]
            loss = loss + 0.02 * nn.functional.smooth_l1_loss(apart, torch.zeros_like(apart))
        return loss

    def _decide_until(self, module: nn.Module, decisions: int) -> None:
        """Play until so many decisions are made."""
        training = module.training
        module.eval()
        while self._count < decisions:
            self._begin(self.teacher, 0.1 + 0.4 * self._early)
            self._decide_each(module)
        module.train(training)

    def _decide(self, playing: Playing, x: Floats, values: Floats) -> None:
        swarm, mask = playing.swarm, self._legal(playing)
        taught = self.teacher(swarm)
        i = self._count % _CAPACITY
        self._x[i], self._mask[i], self._taught[i], self._worth[i] = x, mask, taught, np.nan
        if mask.sum() > 1 and self._generator.random() < _LABELLED:
            seed = int(self._generator.integers(2**31))
            self._worth[i] = np.ravel(futures.values(swarm, self.teacher, self._reward, [seed]))
        self._count += 1
        if playing.rule is not None and self._generator.random() >= self.epsilon:
            action = taught
        else:
            action = self._choose(values, mask)
        self._act(playing, action)
        if swarm.over or playing.steps >= MOST:
            self._end(playing)

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Those of all decision engines, and the teacher."""
        seeds = self.settings.seeds(split)
        mine = self._mean([play(self.teacher, self.settings.world, seed) for seed in seeds])
        return {**super().baselines(split), "teacher": mine}

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """What a file needs to answer, and the teacher's thresholds."""
        found = super().metadata(module)
        found["card"] |= {"algorithm": "rollouts", "teacher": asdict(self.teacher)}
        return found
