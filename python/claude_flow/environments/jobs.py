"""The *jobs* world: graphs of stages with measured durations share executors, and arrive as a Poisson stream.

The measurements are those of Decima's simulator (Mao et al., SIGCOMM 2019, arXiv 1810.01963): TPC-H queries on Spark,
per stage the time of a task by the number of executors on the job, for an executor that is new to the job, in its first
wave at the stage, and in later waves. They are read from a file, and never part of this package.
"""

from __future__ import annotations

import gzip
import heapq
import json
import math
import zlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.rewards import Happened
from claude_flow.errors import InputError

__all__ = ["FEATURES", "SHOWN", "Graph", "Job", "Jobs", "JobsWorld", "read_graphs"]

Floats = NDArray[np.float64]
SHOWN = 31  # jobs that an observation shows, those with least work left first; one action more: to wait
_MOVE = 2.0  # seconds that an executor takes to go to another job, as in Decima's simulator
_WARM_UP = 1.0  # seconds more for a stage that was never measured with a new executor, as there
_FRESH, _FIRST, _REST = range(3)

#: what a policy sees of a job; see :meth:`Jobs.features`
FEATURES = (
    *("work left (log)", "work left over the mean", "longest path left (log)", "age (log)"),
    *("executors (log)", "executors over an even share", "ready tasks per executor (log)", "an idle executor is there"),
    *("first wave of the next stage (log)", "its later waves over the first (log)", "tasks to start there (log)"),
    *("is the job with least work left", "jobs in the system (log)", "idle executors", "has its share", "one"),
)


@dataclass(frozen=True)
class Graph:
    """A kind of job. Per stage: tasks, children, parents, and ``times[wave][executors] = (mu, sigma)`` of the logarithm
    of a task's seconds; ``seconds``: a task's mean time in later waves with 10 executors; ``path``: seconds from the
    beginning of a stage to the end of the job, one first wave per stage; ``work``: seconds of one executor for all."""

    name: str
    tasks: tuple[int, ...]
    children: tuple[tuple[int, ...], ...]
    parents: tuple[int, ...]
    times: tuple[Any, ...]
    seconds: tuple[float, ...]
    first: tuple[float, ...]
    path: tuple[float, ...]
    work: float


def _logarithm(mean: float, spread: float) -> tuple[float, float]:
    """``mu`` and ``sigma`` of a log-normal time with this mean and standard deviation."""
    variance = math.log1p(min(spread / mean, 3.0) ** 2)
    return math.log(mean) - variance / 2, math.sqrt(variance)


def _table(measured: dict[str, list[float]], most: int, instead: Any) -> Any:
    """``(mean, spread)`` by number of executors 0..most, linear between the measured ones."""
    known = {int(level): (mean, spread) for level, (_, mean, spread) in measured.items() if mean > 0}
    if not known:
        return instead
    levels = sorted(known)
    at = np.arange(most + 1)
    return list(
        zip(*(np.interp(at, levels, [known[level][i] for level in levels]).tolist() for i in (0, 1)), strict=True)
    )


def _graph(job: dict[str, Any], most: int) -> Graph:
    stages = job["stages"]
    children: list[list[int]] = [[] for _ in stages]
    parents = [0] * len(stages)
    for a, b in job["edges"]:
        children[a].append(b)
        parents[b] += 1
    times, seconds, first_seconds = [], [], []
    for stage in stages:
        anything = stage["first_wave"] or stage["fresh_durations"] or stage["rest_wave"]
        first = _table(stage["first_wave"], most, _table(anything, most, None))
        if first is None:
            raise InputError(f"query {job['query']} of {job['input']}: a stage has no measured time")
        rest = _table(stage["rest_wave"], most, first)
        fresh = _table(stage["fresh_durations"], most, [(mean + _WARM_UP, spread) for mean, spread in first])
        times.append(tuple([_logarithm(*pair) for pair in table] for table in (fresh, first, rest)))
        seconds.append(rest[min(10, most)][0])
        first_seconds.append(first[min(10, most)][0])
    path = [0.0] * len(stages)
    done = list(parents)
    order = [i for i, count in enumerate(done) if not count]
    for i in order:
        for child in children[i]:
            done[child] -= 1
            if not done[child]:
                order.append(child)
    if len(order) < len(stages):
        raise InputError(f"query {job['query']} of {job['input']}: its stages wait for each other in a circle")
    for i in reversed(order):
        path[i] = first_seconds[i] + max((path[child] for child in children[i]), default=0.0)
    tasks = [stage["tasks"] for stage in stages]
    work = sum(count * mean for count, mean in zip(tasks, seconds, strict=True))
    return Graph(
        f"q{job['query']}-{job['input']}",
        tuple(tasks),
        tuple(map(tuple, children)),
        tuple(parents),
        tuple(times),
        tuple(seconds),
        tuple(first_seconds),
        tuple(path),
        work,
    )


@lru_cache(maxsize=4)
def read_graphs(path: Path, executors: int) -> tuple[Graph, ...]:
    """The kinds of jobs of a file such as Decima's ``tpch_jobs.json.gz``.

    Raises:
        InputError: the file is absent, or not of this form.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the job graphs at {path}: {error.strerror}") from None
    try:
        graphs = tuple(_graph(job, executors) for job in json.loads(gzip.decompress(content)))
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is not a file of job graphs: {type(error).__name__} {error}") from None
    if not graphs:
        raise InputError(f"{path} has no job graph")
    return graphs


class Job:
    """A job in the system."""

    __slots__ = (
        *("arrival", "executors", "graph", "idle", "noise", "number"),
        *("parents", "ready", "running", "stages", "start", "work"),
    )

    def __init__(self, number: int, graph: Graph, arrival: float, noise: list[float]) -> None:
        self.number, self.graph, self.arrival, self.noise = number, graph, arrival, noise
        self.executors = 0  # that are with it, at work or idle
        self.idle: list[int] = []  # of these
        self.start = list(graph.tasks)  # tasks to start, by stage
        self.running = [0] * len(graph.tasks)
        self.parents = list(graph.parents)
        self.ready = sorted((i for i, n in enumerate(graph.parents) if not n), key=lambda i: graph.path[i])
        self.stages = len(graph.tasks)  # not done yet
        self.work = graph.work  # seconds of one executor for the tasks that did not start


class Jobs:
    """One episode: a decision gives one idle executor to a job, or waits for the next event.

    The executor begins at the job's ready stage with the longest path, and stays there until no task is left to start.
    ``jobs`` are those in the system by arrival; ``candidates`` those that can use an executor. ``step(job)`` gives,
    ``step(None)`` waits.
    """

    def __init__(self, world: JobsWorld, seed: int) -> None:
        graphs = read_graphs(world.path, world.executors)
        generator = np.random.default_rng([seed, 0x10B5])
        kinds = generator.integers(len(graphs), size=world.jobs)
        gaps = generator.exponential(world.gap, size=world.jobs)
        gaps[0] = 0.0
        self.coming = [
            (float(when), number, graphs[kind], seed)
            for number, (when, kind) in enumerate(zip(np.cumsum(gaps), kinds, strict=True))
        ][::-1]
        self.executors, self.mean_work = world.executors, world.mean_work
        self.now = 0.0
        self.jobs: list[Job] = []
        self.candidates: list[Job] = []
        self.loose = list(range(self.executors))  # executors of no job, or of one that is done
        self.idle = self.executors
        self.at: list[tuple[Job | None, int]] = [(None, -1)] * self.executors
        self.events: list[tuple[float, int, int]] = []
        self.count = self.decisions = self.changes = 0
        self.times: list[float] = []  # from arrival to end of the jobs that are done
        self.total = Happened()
        self._go_on(self.total)

    @property
    def over(self) -> bool:
        """Whether all jobs are done."""
        return not (self.jobs or self.coming)

    @property
    def may_wait(self) -> bool:
        """Whether anything will happen by itself."""
        return bool(self.events or self.coming)

    def step(self, job: Job | None) -> Happened:
        """Give an executor to a job, or wait; returns what happened until the next decision."""
        happened = Happened()
        self.decisions += 1
        if job is None:  # until somebody comes free, a stage becomes ready, or a job arrives
            before = self.idle, self.changes
            while (self.idle, self.changes) == before and self.may_wait:
                self._next(happened)
        else:
            self._give(job)
        self._go_on(happened)
        self.total.add(happened)
        return happened

    def rows(self) -> dict[int, Job]:
        """The candidates that a fixed number of rows shows, those with least work left first."""
        return dict(enumerate(sorted(self.candidates, key=lambda job: (job.work, job.number))[:SHOWN]))

    # Events --------------------------------------------------------------------------------------------------------

    def _go_on(self, happened: Happened) -> None:
        """To a moment at which an executor is idle and a job can use it."""
        while not (self.idle and self.candidates) and (self.events or self.coming):
            self._next(happened)

    def _next(self, happened: Happened) -> None:
        events, coming = self.events, self.coming
        arrives = coming and (not events or coming[-1][0] <= events[0][0])
        then = coming[-1][0] if arrives else events[0][0]
        passed = (then - self.now) / 60.0
        happened.waited += passed * len(self.jobs)
        happened.cost += passed * (self.executors - self.idle)
        happened.minutes += passed
        self.now = then
        if arrives:
            when, number, graph, seed = coming.pop()
            noise = np.random.default_rng([seed, 0x7A5C, number]).standard_normal(sum(graph.tasks)).tolist()
            job = Job(number, graph, when, noise)
            self.jobs.append(job)
            self.candidates.append(job)
            self.changes += 1
            return
        self._done(heapq.heappop(events)[2], happened)

    def _done(self, executor: int, happened: Happened) -> None:
        """A task ends; its executor goes on at the stage, or is idle."""
        job, stage = self.at[executor]
        assert job is not None
        if job.start[stage]:
            self._start(executor, job, stage, _REST, 0.0)
            return
        job.running[stage] -= 1
        job.idle.append(executor)
        self.idle += 1
        if job.running[stage]:
            return
        job.stages -= 1
        if not job.stages:
            self.jobs.remove(job)
            self.loose += job.idle
            self.times.append(self.now - job.arrival)
            happened.value += 1.0
            return
        graph = job.graph
        before = len(job.ready)
        for child in graph.children[stage]:
            job.parents[child] -= 1
            if not job.parents[child]:
                job.ready.append(child)
        if len(job.ready) > before:
            self.changes += 1
            job.ready.sort(key=lambda i: graph.path[i])
            if not before:
                self.candidates.append(job)

    def _give(self, job: Job) -> None:
        stage = job.ready[-1]
        self.idle -= 1
        job.running[stage] += 1
        if job.idle:
            executor = next((e for e in job.idle if self.at[e][1] == stage), job.idle[-1])
            job.idle.remove(executor)
            self._start(executor, job, stage, _REST if self.at[executor][1] == stage else _FIRST, 0.0)
            return
        if self.loose:
            executor = self.loose.pop()
        else:
            other = max((one for one in self.jobs if one.idle), key=lambda one: (not one.ready, len(one.idle)))
            executor = other.idle.pop()
            other.executors -= 1
        job.executors += 1
        self._start(executor, job, stage, _FRESH, _MOVE)

    def _start(self, executor: int, job: Job, stage: int, wave: int, delay: float) -> None:
        graph = job.graph
        self.at[executor] = (job, stage)
        mu, sigma = graph.times[stage][wave][job.executors]
        left = job.start[stage] = job.start[stage] - 1
        job.work -= graph.seconds[stage]
        self.count += 1
        heapq.heappush(self.events, (self.now + delay + math.exp(mu + sigma * job.noise.pop()), self.count, executor))
        if not left:
            job.ready.remove(stage)
            if not job.ready:
                self.candidates.remove(job)

    # What is seen --------------------------------------------------------------------------------------------------

    def features(self, jobs: list[Job]) -> list[tuple[float, ...]]:
        """The numbers of :data:`FEATURES` per job."""
        now, log, count, mean = self.now, math.log1p, len(self.jobs), self.mean_work
        even = self.executors / count
        share = max(5.0, even)
        least = min([job.work for job in self.jobs])
        system, idle = log(count) / 3, self.idle / self.executors
        found: list[tuple[float, ...]] = []
        for job in jobs:
            graph, work, executors, there = job.graph, job.work, job.executors, bool(job.idle)
            stage = job.ready[-1]
            first = graph.first[stage] + 0.01
            start = job.start[stage]
            ready = start if len(job.ready) == 1 else sum([job.start[i] for i in job.ready])
            found.append(
                (
                    log(work if work > 0 else 0.0) / 4 - 1,
                    min(work / mean, 4.0),
                    log(graph.path[stage]) / 3,
                    log(now - job.arrival) / 4,
                    log(executors) / 2,
                    min(executors / even, 4.0),
                    log(ready / (executors + 1)) / 3,
                    float(there),
                    math.log(first) / 3,
                    math.log((graph.seconds[stage] + 0.01) / first) / 3,
                    log(start) / 4,
                    float(work <= least),
                    system,
                    idle,
                    float(executors >= share and not there),
                    1.0,
                )
            )
        return found


@dataclass(frozen=True)
class JobsWorld:
    """Poisson arrivals of ``jobs`` drawn from the graphs at ``path``.

    ``load``: seconds of work that arrive per second of an executor. Work is counted at the times of later waves with 10
    executors; moves, first waves and crowding come on top. At 0.65 a fair rule keeps about 85 % of the executors busy;
    0.5 with 50 executors is the interval of 25 seconds of Decima's own simulator.
    """

    path: Path
    executors: int = 50
    load: float = 0.5
    jobs: int = 100

    @cached_property
    def mean_work(self) -> float:
        """Seconds of one executor for a job, on average."""
        graphs = read_graphs(self.path, self.executors)
        return sum(graph.work for graph in graphs) / len(graphs)

    @property
    def gap(self) -> float:
        """Mean seconds between two arrivals."""
        return self.mean_work / (self.executors * self.load)

    @property
    def rows(self) -> int:
        """What an observation shows."""
        return SHOWN

    @property
    def columns(self) -> int:
        """Numbers of a row."""
        return len(FEATURES)

    def begin(self, seed: int) -> Jobs:
        """An episode."""
        return Jobs(self, seed)

    def at_load(self, load: float) -> JobsWorld:
        """The same at another load."""
        return replace(self, load=load)
