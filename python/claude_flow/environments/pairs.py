"""Which agent and task an ``assign`` command brings together, and what a decision should know of each such pair.

An agent's and a task's ``kind`` are a row and a column of a table of fits (0..1): the simulated swarm has one row and
column per kind of work, a request has its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from claude_flow.environments.world import FIT, Agent, Task
from claude_flow.errors import require

__all__ = ["ASSIGNS", "OFFERS", "Table", "offers", "pair"]

#: how well agents of a kind fit tasks of a kind
Table = Sequence[Sequence[float]]
_CAPABLE, _OWN = 0.5, 0.9  # fits from which on an agent can do a task, and does it at full speed

ASSIGNS = ("least-loaded", "shortest", "earliest-deadline", "matching", "cheapest")
_LEAST, _SHORTEST, _EARLIEST, _MATCHING, _CHEAPEST = range(len(ASSIGNS))
_OF_A_PAIR = ("fit", "duration", "time to spare", "priority", "price", "gain by waiting")
#: the numbers of :func:`offers`, in order; minutes are in half hours, dollars in tens
OFFERS = (
    *(f"{command}: {number}" for command in ASSIGNS for number in _OF_A_PAIR),
    *("spawn: work per speed", "spawn: speed", "retire: tasks of its own", "retire: cost per hour"),
    *("free agents' cost per hour", "minutes until an agent is free"),
)


def minutes(agent: Agent, task: Task, table: Table = FIT) -> float:
    """How long an agent is expected to take."""
    return task.work / (agent.speed * table[agent.kind][task.kind])


def pair(action: int, free: Sequence[Agent], ready: Sequence[Task], table: Table = FIT) -> tuple[Agent, Task]:
    """The assignment that an ``assign`` command makes of free agents and ready tasks."""
    if action == _SHORTEST:  # what rules ask most often: without a table of all times
        return _shortest(free, ready, table)
    agent, task = _choose(action, free, ready, _times(free, ready, table), table)
    return free[agent], ready[task]


def _shortest(free: Sequence[Agent], ready: Sequence[Task], table: Table) -> tuple[Agent, Task]:
    least = math.inf
    chosen = free[0], ready[0]
    for agent in free:
        fits, speed = table[agent.kind], agent.speed
        for task in ready:
            time = task.work / (speed * fits[task.kind])
            if time < least:
                least, chosen = time, (agent, task)
    return chosen


def _times(agents: Sequence[Agent], ready: Sequence[Task], table: Table) -> list[list[float]]:
    """:func:`minutes` of every pair."""
    found = []
    for agent in agents:
        fits, speed = table[agent.kind], agent.speed
        found.append([task.work / (speed * fits[task.kind]) for task in ready])
    return found


def _choose(
    action: int, free: Sequence[Agent], ready: Sequence[Task], times: list[list[float]], table: Table
) -> tuple[int, int]:
    agents, tasks = range(len(free)), range(len(ready))
    if action == _LEAST:
        j = max(tasks, key=lambda j: ready[j].priority)
        kind = ready[j].kind
        return min(agents, key=lambda i: (table[free[i].kind][kind] < _CAPABLE, free[i].tasks)), j
    if action == _SHORTEST:
        least, i = min((min(row), i) for i, row in enumerate(times))
        return i, times[i].index(least)
    if action == _EARLIEST:
        j = min(tasks, key=lambda j: ready[j].deadline)
        return min(agents, key=lambda i: times[i][j]), j
    if action == _CHEAPEST:
        return min(agents, key=lambda i: free[i].cost * times[i][0]), 0
    return _matching(free, ready, times)


def _matching(free: Sequence[Agent], ready: Sequence[Task], times: list[list[float]]) -> tuple[int, int]:
    """The pair of the Hungarian assignment (least minutes per weight) that does most weight a minute."""
    costs = [[time / task.weight for time, task in zip(row, ready, strict=True)] for row in times]
    if len(free) == 1 or len(ready) == 1:
        least, i = min((min(row), i) for i, row in enumerate(costs))
        return i, costs[i].index(least)
    rows, columns = require("scipy.optimize", "rl").linear_sum_assignment(costs)
    _, i, j = min((costs[i][j], i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True))
    return i, j


def offers(
    agents: Sequence[Agent], free: Sequence[Agent], ready: Sequence[Task], now: float, table: Table = FIT
) -> list[float]:
    """The numbers of :data:`OFFERS`: of each pair that could be assigned, and of whom could be spawned or retired.

    ``free``: those of ``agents`` that could begin now; the others' ``ready_at`` says when they are expected to be free.
    *Gain by waiting* is how much earlier the task would be done by an agent that is not free yet.
    """
    found: list[float] = []
    busy = [(agent.ready_at - now if agent.ready_at > now else 0.0, agent) for agent in agents if agent not in free]
    if free and ready:
        times = _times(free, ready, table)
        known: dict[tuple[int, int], list[float]] = {}
        for action in range(len(ASSIGNS)):
            i, j = chosen = _choose(action, free, ready, times, table)
            if chosen not in known:
                agent, task, time = free[i], ready[j], times[i][j]
                kind, work = task.kind, task.work
                gain = -90.0
                for wait, other in busy:
                    sooner = time - wait - work / (other.speed * table[other.kind][kind])
                    if sooner > gain:
                        gain = sooner
                known[chosen] = [
                    table[agent.kind][kind],
                    (time if time < 90.0 else 90.0) / 30,
                    _half_hours(task.deadline - now - time),
                    task.priority / 3,
                    min(agent.cost * time / 10, 40.0) / 10,
                    _half_hours(gain),
                ]
            found += known[chosen]
    else:
        found += [0.0] * (len(ASSIGNS) * len(_OF_A_PAIR))
    found += _scaling(agents, free, ready, table)
    return [*found, min([90.0, *(wait for wait, _ in busy)]) / 30]


def _scaling(agents: Sequence[Agent], free: Sequence[Agent], ready: Sequence[Task], table: Table) -> list[float]:
    wanted: dict[int, float] = {}
    count: dict[int, int] = {}
    for task in ready:
        wanted[task.kind] = wanted.get(task.kind, 0.0) + task.work
        count[task.kind] = count.get(task.kind, 0) + 1
    most = there = 0.0
    for kind, work in wanted.items():
        speed = 0.5
        for agent in agents:
            if table[agent.kind][kind] > _OWN:
                speed += agent.speed
        if work / speed > most:
            most, there = work / speed, speed
    own, cost, whole = 0, 0.0, 0.0
    if free:
        own, cost = min(
            (sum(n for kind, n in count.items() if table[agent.kind][kind] > _OWN), -agent.cost) for agent in free
        )
        whole = sum(agent.cost for agent in free)
    return [min(most, 90.0) / 30, min(there, 8.0) / 4, own / 8, min(-cost, 16.0) / 4, min(whole, 32.0) / 8]


def _half_hours(value: float) -> float:
    return (90.0 if value > 90.0 else -90.0 if value < -90.0 else value) / 30.0
