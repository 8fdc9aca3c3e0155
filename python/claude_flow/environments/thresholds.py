"""A wider family of rules, and the search that sets its thresholds: who teaches the decision engine by rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from claude_flow.environments.pairs import minutes
from claude_flow.environments.rewards import REWARDS
from claude_flow.environments.rules import play
from claude_flow.environments.swarm import DEFER, ESCALATE, RETIRE, SHORTEST, SPAWN, SPLIT, WINDOW, Swarm
from claude_flow.environments.world import FIT

__all__ = ["Thresholds", "searched"]


@dataclass(frozen=True)
class Thresholds:
    """Assign the shortest task whenever its pair is good enough, and command by what the swarm looks like.

    ``spawn``: from so many ready tasks per agent on. ``low`` to ``critical``: minutes to the deadline of the most
    urgent task below which it is escalated, by its priority. ``retire``: from so many more free agents than ready
    tasks on, while there are at least ``agents``. ``wait``: how many minutes earlier another agent, still busy, must be
    done for the task to wait for it. ``split``: the complexity above which a task is split. ``fit``: that an
    assignment must reach. All of it can be seen in the numbers of a request.
    """

    spawn: float = 1.0
    low: float = -30.0
    medium: float = 0.0
    high: float = 10.0
    critical: float = 10.0
    retire: float = 4.0
    agents: float = 5.0
    wait: float = 20.0
    split: float = 0.9
    fit: float = 0.5

    def __call__(self, swarm: Swarm) -> int:
        mask, ready, agents = swarm.mask(), swarm.ready, swarm.agents
        waiting = len(ready)
        if mask[SPAWN] and waiting >= self.spawn * len(agents):
            return SPAWN
        if mask[ESCALATE] and ready:
            priority, deadline = -1, 0.0
            for task in ready[:WINDOW]:
                if task.priority > priority or (task.priority == priority and task.deadline < deadline):
                    priority, deadline = task.priority, task.deadline
            if deadline - swarm.now < (self.low, self.medium, self.high, self.critical)[priority]:
                return ESCALATE
        if mask[RETIRE] and len(agents) >= self.agents and len(swarm.free) - waiting >= self.retire:
            return RETIRE
        if mask[SPLIT] and any(task.complexity > self.split and task.work > 6 for task in ready[:WINDOW]):
            return SPLIT
        if mask[SHORTEST] and (not mask[DEFER] or self._good(swarm)):
            return SHORTEST
        return DEFER if mask[DEFER] else mask.index(True)

    def _good(self, swarm: Swarm) -> bool:
        """Whether the pair that would be assigned is one to assign."""
        agent, task = swarm.pair(SHORTEST)
        if FIT[agent.kind][task.kind] < self.fit:
            return False
        then = swarm.now + minutes(agent, task) - self.wait
        for other in swarm.agents:
            if other.ready_at > swarm.now and other.ready_at + minutes(other, task) < then:
                return False
        return True


#: of each threshold, how far a search goes at first
_SPREAD = Thresholds(0.4, 20.0, 15.0, 10.0, 10.0, 1.5, 2.0, 15.0, 0.2, 0.3)


def searched(
    reward: str,
    seeds: Sequence[int],
    world: str = "simulated",
    rounds: int = 14,
    candidates: int = 40,
    together: int = 16,
    seed: int = 0,
    told: Callable[[int, float], None] = lambda *values: None,
) -> Thresholds:
    """Thresholds by the cross-entropy method (Rubinstein 1999): draw candidates, keep a quarter, draw around those.

    ``seeds``: of training episodes, ``together`` new ones in each of the ``rounds``, the same for all candidates.
    """
    generator, of = np.random.default_rng(seed), REWARDS[reward].of
    middle, spread = np.array(astuple(Thresholds())), np.array(astuple(_SPREAD))
    for number in range(rounds):
        drawn = middle + spread * generator.standard_normal((candidates, len(middle)))
        episodes = [seeds[(number * together + i) % len(seeds)] for i in range(together)]
        means = [
            sum(of(play(Thresholds(*values), world, episode).total) for episode in episodes) / together
            for values in drawn.tolist()
        ]
        best = drawn[np.argsort(means)[-(candidates // 4) :]]
        middle, spread = 0.3 * middle + 0.7 * best.mean(0), 0.3 * spread + 0.7 * best.std(0)
        told(number, float(np.mean(means)))
    return Thresholds(*(round(value, 3) for value in middle.tolist()))
