"""What each command is worth now: the same futures are played once for every legal command."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random

from claude_flow.environments.rewards import Happened
from claude_flow.environments.rules import Policy
from claude_flow.environments.swarm import DEFER, Swarm
from claude_flow.environments.world import Agent, Task

__all__ = ["Future", "values"]

_MOST = 400  # decisions of a future
_DRAWS = 509  # attempts whose luck a future knows before


@lru_cache(maxsize=4096)
def _drawn(seed: int) -> list[tuple[float, float]]:
    random = Random(seed)
    return [(random.lognormvariate(-0.045, 0.3), random.random()) for _ in range(_DRAWS)]


class Future(Swarm):
    """A swarm from a moment on, with other luck: each attempt of a task has the luck that ``seed`` gives it, whoever
    does it and whenever, so that futures of one seed differ by what is commanded alone. Its books begin at nothing.

    The differences between commands have two thirds of the spread that they have where luck is drawn in order.
    """

    def __init__(self, swarm: Swarm, seed: int) -> None:
        self.__dict__.update(swarm.__dict__)
        agents: dict[int, Agent] = {}
        tasks: dict[int, Task] = {}

        def task(old: Task) -> Task:
            new = tasks.get(id(old))
            if new is None:
                new = tasks[id(old)] = Task(
                    old.id, old.kind, old.work, old.priority, old.complexity, old.arrival, old.deadline
                )
                new.weight, new.needs, new.attempts = old.weight, old.needs, old.attempts
            return new

        for old in swarm.agents:
            new = agents[id(old)] = Agent(old.id, old.kind, old.speed, old.cost, old.failure, old.ready_at)
            new.task, new.tasks = old.task and task(old.task), old.tasks
        self.agents = list(agents.values())
        self.ready, self.blocked = [task(old) for old in swarm.ready], [task(old) for old in swarm.blocked]
        self.coming = [task(old) for old in swarm.coming]
        self.events = [
            (when, number, agents.get(id(agent), agent), done and task(done), success)
            for when, number, agent, done, success in swarm.events
        ]
        self.finished, self._pairs = set(swarm.finished), {}
        self.random, self.total = Random(seed), Happened()
        self._draws = _drawn(seed)

    def _luck(self, task: Task) -> tuple[float, float]:
        return self._draws[(3 * task.id + task.attempts) % _DRAWS]


def values(
    swarm: Swarm, policy: Policy, reward: Callable[[Happened], float], seeds: Sequence[int]
) -> list[list[float]]:
    """The rewards to the end of the episode of every command in every future, after which ``policy`` goes on.

    Returns:
        A row per command: a reward per seed; NaN where it is illegal. Commands that would assign the same pair are
        played once. What is still to arrive is known in a future as it is in the episode.
    """
    mask = swarm.mask()
    found = [[math.nan] * len(seeds) for _ in mask]
    known: dict[tuple[int, ...], list[float]] = {}
    for action, legal in enumerate(mask):
        if not legal:
            continue
        key = tuple(map(id, swarm.pair(action))) if action < DEFER else (action,)
        if key not in known:
            known[key] = [_future(Future(swarm, seed), action, policy, reward) for seed in seeds]
        found[action] = known[key]
    return found


def _future(swarm: Swarm, action: int, policy: Policy, reward: Callable[[Happened], float]) -> float:
    swarm.carry_out(action)
    for _ in range(_MOST):
        if swarm.over:
            break
        swarm.carry_out(policy(swarm))
    return reward(swarm.total)
