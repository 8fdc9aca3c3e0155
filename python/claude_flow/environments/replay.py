"""The *replay* world: an assigned task is resolved, or is not, exactly as that agent's real run of it was.

The outcomes come from a file in which several agents tried the same tasks, such as the public runs of SWE-bench Pro or
of SWE-bench Verified. Nothing of it is part of this package. What no file records is drawn: when tasks arrive, their
priorities and deadlines, as in the simulated world.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.rewards import Happened
from claude_flow.environments.world import WEIGHTS
from claude_flow.errors import InputError

__all__ = ["FEATURES", "SHOWN", "SPLITS", "Order", "Replay", "ReplayWorld", "Runs", "read_runs"]

Floats = NDArray[np.float64]
SHOWN = 6  # ready tasks that a decision sees, the most urgent first
SPLITS = ("train", "validation", "test")
_MINUTES_PER_CALL = 0.25  # assumed: no public table has times, only calls
_RUN_COST = 3.5  # of the mean run, so that a reward weighs cost as it does in the simulated world
_PRIOR = 8.0  # tasks of the agent's overall rate that a rate per repository starts from

#: what a policy sees of a task and an agent; see :meth:`Replay.features`
FEATURES = (
    *("chance to resolve it", "chance after those that failed", "weight times that chance", "run cost"),
    *("weight", "minutes over time left", "time left", "waited", "attempts before"),
    *("ready tasks", "free agents", "agents that are left for it", "gives up", "one"),
    "weight times what the best agent's chance is higher, be it free or not",
)


@dataclass(frozen=True)
class Runs:
    """Real runs: ``resolved``, ``cost`` and ``calls`` are ``[tasks, agents]``, NaN where a run is not recorded;
    ``unit`` says what cost is counted in; ``part`` is the split of each task, 0 to 2."""

    agents: tuple[str, ...]
    tasks: tuple[str, ...]
    repositories: NDArray[np.intp]
    resolved: Floats
    cost: Floats
    calls: Floats
    unit: str
    part: NDArray[np.intp]

    def rates(self) -> tuple[Floats, Floats, Floats]:
        """From the training tasks alone: chance per repository and agent; chance per agent and agent that failed; mean
        cost and calls ``[2, agents]``."""
        rows = self.part == 0
        resolved, repositories = self.resolved[rows], self.repositories[rows]
        overall = np.nanmean(resolved, 0)
        chance = np.tile(overall, (int(self.repositories.max()) + 1, 1))
        for repository in range(len(chance)):
            of = resolved[repositories == repository]
            known = (~np.isnan(of)).sum(0)
            chance[repository] = (np.nansum(of, 0) + _PRIOR * overall) / (known + _PRIOR)
        after = np.tile(overall, (len(overall), 1))
        for failed in range(len(overall)):
            of = resolved[resolved[:, failed] == 0]
            known = (~np.isnan(of)).sum(0)
            after[failed] = (np.nansum(of, 0) + 2 * 0.2 * overall) / (known + 2)
        return chance, after, np.stack([np.nanmean(self.cost[rows], 0), np.nanmean(self.calls[rows], 0)])


def _part(task: str) -> int:
    """60 % of the tasks train, 10 % validate, 30 % test: by the task's name, so every run of it is on one side."""
    at = zlib.crc32(task.encode()) % 10
    return 0 if at < 6 else 1 if at < 7 else 2


@lru_cache(maxsize=4)
def read_runs(path: Path) -> Runs:
    """Read a table of runs, ``.csv`` or ``.csv.gz``.

    Its columns are ``task, repository, agent, resolved, api_calls, cost_usd``, or those of the runs of SWE-bench Pro
    (``metadata.instance_id, metadata.model_name, metadata.resolved, metadata.turns``), where cost is counted in calls.

    Raises:
        InputError: the file is absent, has other columns, or too few tasks or agents to replay.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the runs at {path}: {error.strerror}") from None
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is not a table of runs: {error}") from None
    lines = list(csv.DictReader(text.splitlines()))
    columns = set(lines[0]) if lines else set()
    if {"task", "repository", "agent", "resolved", "api_calls", "cost_usd"} <= columns:
        unit, names = "dollars", ["task", "agent", "resolved", "api_calls", "cost_usd"]
    elif {"metadata.instance_id", "metadata.model_name", "metadata.resolved", "metadata.turns"} <= columns:
        unit, names = "calls", [*(f"metadata.{n}" for n in ("instance_id", "model_name", "resolved", "turns")), ""]
    else:
        raise InputError(
            f"{path}: its columns are not those of runs: task, repository, agent, resolved, api_calls, ..."
        )
    records = []
    for number, line in enumerate(lines, 2):
        task, agent, resolved, calls, cost = (line.get(name) or "" for name in names)
        if not resolved:
            continue  # a run whose outcome nobody recorded
        try:
            repository = line.get("repository") or task.removeprefix("instance_").split("__")[0]
            yes = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}[resolved.lower()]
            count = float(calls)
            records.append((task, repository, agent, yes, count, float(cost) if unit == "dollars" else count))
        except (KeyError, ValueError):
            raise InputError(f"{path}, line {number}: resolved, calls or cost is not a number") from None
    agents, tasks = sorted({r[2] for r in records}), sorted({r[0] for r in records})
    repository_of = {r[0]: r[1] for r in records}
    repositories = sorted(set(repository_of.values()))
    part = np.array([_part(task) for task in tasks])
    if len(agents) < 2 or np.bincount(part, minlength=3).min() < 5:
        raise InputError(
            f"{path}: {len(tasks)} tasks of {len(agents)} agents are too few to replay: it takes two agents, and five "
            "tasks to train, to validate and to test on"
        )
    tables = np.full((3, len(tasks), len(agents)), np.nan)
    row, column = {t: i for i, t in enumerate(tasks)}, {a: i for i, a in enumerate(agents)}
    for task, _, agent, *values in records:
        resolved_, calls_, cost_ = values
        tables[:, row[task], column[agent]] = resolved_, cost_, calls_
    where = np.array([repositories.index(repository_of[task]) for task in tasks])
    return Runs(tuple(agents), tuple(tasks), where, tables[0], tables[1], tables[2], unit, part)


class Order:
    """A task that arrived."""

    __slots__ = ("arrival", "deadline", "number", "priority", "task", "tried", "weight")

    def __init__(self, number: int, task: int, priority: int, arrival: float, deadline: float) -> None:
        self.number, self.task, self.priority, self.arrival, self.deadline = number, task, priority, arrival, deadline
        self.weight = WEIGHTS[priority]
        self.tried: list[int] = []  # agents that failed at it


class Replay:
    """One episode: a decision gives a ready task to a free agent, gives a task up, or waits for the next event.

    ``ready`` are the tasks that a decision sees. ``step((order, agent))`` assigns, ``step((order, None))`` gives up
    what was tried at least once, ``step(None)`` waits. An agent does one task at a time, and no task twice: its second
    run is not recorded.
    """

    def __init__(self, world: ReplayWorld, seed: int) -> None:
        self.world, self.runs = world, read_runs(world.path)
        self.chance, self.after, (self.mean_cost, self.mean_calls) = _rates(world.path)
        random = Random(seed)
        pool = np.flatnonzero(self.runs.part == SPLITS.index(world.split)).tolist()
        chosen = random.sample(pool, min(world.tasks, len(pool)))
        minutes = float(self.mean_calls.mean()) * _MINUTES_PER_CALL
        gap = minutes / (len(self.runs.agents) * world.load)
        now = 0.0
        self.coming: list[Order] = []
        for number, task in enumerate(chosen):
            now += random.expovariate(1 / gap)
            priority = random.choices((0, 1, 2, 3), (3, 4, 2, 1))[0]
            self.coming.append(Order(number, task, priority, now, now + 10.0 + minutes * random.uniform(1.5, 5.0)))
        self.coming.reverse()
        self.scale = _RUN_COST / float(self.mean_cost.mean())
        self.count = self.orders = len(self.coming)
        self.waiting: list[Order] = []
        self.free = [True] * len(self.runs.agents)
        self.given = [0] * len(self.runs.agents)
        self.events: list[tuple[float, int, int, Order]] = []
        self.now = self.spent = 0.0  # spent: in the unit of the runs
        self.resolved: list[int] = []
        self.late = self.given_up = 0
        self.total = Happened()
        self._go_on(self.total)

    @property
    def over(self) -> bool:
        """Whether all tasks are resolved or given up."""
        return not (self.waiting or self.coming or self.events)

    @property
    def may_wait(self) -> bool:
        """Whether anything will happen by itself."""
        return bool(self.coming or self.events)

    @property
    def ready(self) -> list[Order]:
        """The tasks that a decision sees: the most urgent first."""
        return self.waiting[:SHOWN]

    def choices(self) -> list[tuple[Order, int | None]]:
        """All legal assignments and tasks that may be given up."""
        recorded = self.recorded
        found: list[tuple[Order, int | None]] = []
        for order in self.ready:
            found += [(order, a) for a in recorded[order.task] if self.free[a] and a not in order.tried]
            if order.tried:
                found.append((order, None))
        return found

    def rows(self) -> dict[int, tuple[Order, int | None]]:
        """The choices by row: for each task that is shown its agents, and then to give it up."""
        wide = len(self.free) + 1
        place = {order: i * wide for i, order in enumerate(self.ready)}
        return {
            place[order] + (wide - 1 if agent is None else agent): (order, agent) for order, agent in self.choices()
        }

    @property
    def recorded(self) -> list[list[int]]:
        """Agents whose run of a task is recorded, by task."""
        return _recorded(self.world.path)

    def step(self, choice: tuple[Order, int | None] | None) -> Happened:
        """Carry a choice out; returns what happened until the next decision."""
        happened = Happened()
        if choice is None:
            self._next(happened)
        else:
            order, agent = choice
            self.waiting.remove(order)
            if agent is None:
                self._give_up(order, happened)
            else:
                calls = self.runs.calls[order.task, agent]
                self.free[agent] = False
                self.given[agent] += 1
                self.count += 1
                heapq.heappush(self.events, (self.now + max(1.0, calls) * _MINUTES_PER_CALL, self.count, agent, order))
        self._go_on(happened)
        self.total.add(happened)
        return happened

    def _go_on(self, happened: Happened) -> None:
        while not self.over and not self.choices():
            self._next(happened)

    def _next(self, happened: Happened) -> None:
        arrives = self.coming and (not self.events or self.coming[-1].arrival <= self.events[0][0])
        then = self.coming[-1].arrival if arrives else self.events[0][0]
        passed = then - self.now
        weights = sum([o.weight for o in self.waiting]) + sum([event[3].weight for event in self.events])
        happened.waited += passed * weights
        happened.minutes += passed
        self.now = then
        if arrives:
            self._wait(self.coming.pop())
            return
        _, _, agent, order = heapq.heappop(self.events)
        self.free[agent] = True
        cost = float(self.runs.cost[order.task, agent])
        self.spent += cost
        happened.cost += cost * self.scale
        if self.runs.resolved[order.task, agent]:
            self.resolved.append(order.task)
            happened.value += order.weight
            if self.now > order.deadline:
                self.late += 1
                happened.late += order.weight
            return
        order.tried.append(agent)
        left = [a for a in self.recorded[order.task] if a not in order.tried]
        if len(order.tried) < self.world.attempts and left:
            self._wait(order)
        else:
            self._give_up(order, happened)

    def _wait(self, order: Order) -> None:
        self.waiting.append(order)
        self.waiting.sort(key=lambda o: (-o.priority, o.deadline))

    def _give_up(self, order: Order, happened: Happened) -> None:
        self.given_up += 1
        happened.lost += order.weight

    # What is seen --------------------------------------------------------------------------------------------------

    def likely(self, order: Order, agent: int) -> tuple[float, float]:
        """The chance that an agent resolves a task of its repository, and after those who failed at it, both from
        training tasks."""
        chance = float(self.chance[self.runs.repositories[order.task], agent])
        if not order.tried:
            return chance, chance
        overall = float(self.after[order.tried, agent].min())
        return chance, min(chance, overall)

    def features(self, choices: Sequence[tuple[Order, int | None]]) -> list[tuple[float, ...]]:
        """The numbers of :data:`FEATURES` per choice."""
        free = sum(self.free) / len(self.free)
        waiting = min(len(self.waiting), 16) / 8
        rows: list[tuple[float, ...]] = []
        latest, best = None, 0.0
        for order, agent in choices:
            left = order.deadline - self.now
            waited = self.now - order.arrival
            times = max(-2.0, min(left / 60.0, 2.0)), min(waited / 60.0, 2.0)
            agents = self.recorded[order.task]
            rest = (len(agents) - len(order.tried)) / len(self.free)
            if order is not latest:
                latest = order
                best = max([self.likely(order, a)[1] for a in agents if a not in order.tried], default=0.0)
            common = (*times, float(len(order.tried)), waiting, free, rest)
            if agent is None:
                rows.append((0.0, 0.0, 0.0, 0.0, order.weight, 0.0, *common, 1.0, 1.0, order.weight * best))
                continue
            chance, after = self.likely(order, agent)
            cost = 0.05 * self.scale * float(self.mean_cost[agent])
            tight = min(float(self.mean_calls[agent]) * _MINUTES_PER_CALL / max(left, 1.0), 4.0)
            rows.append(
                (
                    chance,
                    after,
                    order.weight * after,
                    cost,
                    order.weight,
                    tight,
                    *common,
                    0.0,
                    1.0,
                    order.weight * (best - after),
                )
            )
        return rows


@lru_cache(maxsize=4)
def _rates(path: Path) -> Any:
    return read_runs(path).rates()


@lru_cache(maxsize=4)
def _recorded(path: Path) -> list[list[int]]:
    return [np.flatnonzero(~np.isnan(row)).tolist() for row in read_runs(path).resolved]


@dataclass(frozen=True)
class ReplayWorld:
    """``tasks`` of one of the splits arrive at ``load``: the agents' time that arrives over the time that there is. A
    task that failed may go to another agent until it had ``attempts``; with one attempt no failure is ever seen."""

    path: Path
    split: str = "train"
    tasks: int = 40
    load: float = 0.3
    attempts: int = 3

    @property
    def rows(self) -> int:
        """What an observation shows."""
        return SHOWN * (len(read_runs(self.path).agents) + 1)

    @property
    def columns(self) -> int:
        """Numbers of a row."""
        return len(FEATURES)

    def begin(self, seed: int) -> Replay:
        """An episode."""
        return Replay(self, seed)

    def of(self, split: str) -> ReplayWorld:
        """The same with tasks of another split."""
        return replace(self, split=split)
