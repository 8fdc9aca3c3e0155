"""A simulated world whose distributions are fitted to a log: when tasks come, how long they take and fail by kind, what
they cost, how many run at a time."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.world import KINDS, WORLDS, Agent, Task, World
from claude_flow.errors import InputError, require

__all__ = ["LEAST_RUNS", "Distribution", "FittedWorld", "Goodness", "fit", "named", "read", "write"]

Floats = NDArray[np.float64]
LEAST_RUNS = 60  # with a beginning and a duration
_LEAST_OF_A_KIND = 20  # runs; a rarer kind has the distribution of all
_BREAK = 120.0  # minutes without a task that are no gap between two, but an end of work
_MINUTE = 1 / 60  # shorter gaps count as arriving together

#: family -> how it is drawn from its two parameters
_DRAW: dict[str, Callable[[Random, float, float], float]] = {
    "exponential": lambda random, mean, _: random.expovariate(1 / mean),
    "log-normal": lambda random, mu, sigma: random.lognormvariate(mu, sigma),
    "weibull": lambda random, scale, shape: random.weibullvariate(scale, shape),
    "gamma": lambda random, scale, shape: random.gammavariate(shape, scale),
}


@dataclass(frozen=True)
class Distribution:
    """Of positive minutes: a family and its two parameters."""

    family: str
    first: float
    second: float = 0.0

    def draw(self, random: Random) -> float:
        """One value."""
        return _DRAW[self.family](random, self.first, self.second)


@dataclass(frozen=True)
class Goodness:
    """How well a distribution fits: the values that it was not fitted to, the distance of Kolmogorov and Smirnov to as
    many draws from it, and the p-value; below 0.05 the family is refused by the data."""

    what: str
    values: int
    family: str
    distance: float
    p: float
    observed_median: float
    fitted_median: float


@dataclass(frozen=True)
class FittedWorld(World):
    """As :class:`~claude_flow.environments.world.World`, with distributions of a log in the place of made-up ones.

    ``names``: the log's kinds, the most frequent first, in the order of ``KINDS``; what is not in a log is as in the
    simulated world: priorities, deadlines, what must be done first.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    durations: tuple[Distribution, ...] = ()
    failures: tuple[float, ...] = ()
    gap: Distribution = Distribution("exponential", 5.0)
    dollars: float = 2.0  # per busy hour

    def episode(self, random: Random) -> tuple[list[Agent], list[Task]]:
        """Agents, and tasks by arrival."""
        agents = []
        for number in range(random.randint(*self.agents)):
            kind = random.choices(range(len(self.names)), self.shares)[0]
            cost = self.dollars * random.uniform(0.7, 1.3)
            agents.append(Agent(number, kind, 1.0, cost, self.failures[kind]))
        now, tasks = 0.0, []
        for number in range(self.tasks):
            if random.random() >= self.bursts:
                now += self.gap.draw(random)
            kind = random.choices(range(len(self.names)), self.shares)[0]
            work = max(self.durations[kind].draw(random), _MINUTE)
            priority = random.choices((0, 1, 2, 3), (3, 4, 2, 1))[0]
            deadline = now + 10.0 + work * random.uniform(1.5, 5.0)
            task = Task(number, kind, work, priority, random.random(), now, deadline)
            if number and random.random() < self.dependent:
                task.needs = (random.randrange(max(0, number - 5), number),)
            tasks.append(task)
        return agents, tasks


def fit(runs: Mapping[str, Sequence[Any]], seed: int = 0) -> tuple[FittedWorld, list[Goodness]]:
    """A world like a log, and how well each distribution fits.

    Args:
        runs: columns of the runs of a dataset: ``submitted`` and ``start`` (seconds since 1970, NaN = unknown),
            ``duration_s``, ``active_s``, ``agent_type``, ``task_type``, ``cost``, and ``utility`` (0 = failed).
        seed: of the halves: each distribution is fitted to one half of its values, and judged on the other.

    Raises:
        InputError: the log is too small.
    """
    numbers = {
        name: np.asarray(runs[name], np.float64)
        for name in ("submitted", "start", "duration_s", "active_s", "cost", "utility")
    }
    begin = np.where(np.isnan(numbers["submitted"]), numbers["start"], numbers["submitted"])
    minutes = np.where(np.isnan(numbers["active_s"]), numbers["duration_s"], numbers["active_s"]) / 60.0
    rows = np.flatnonzero(np.isfinite(begin) & (minutes > 0))
    if len(rows) < LEAST_RUNS:
        raise InputError(
            f"the log is too small to fit a world to: {len(rows)} runs have a beginning and a duration, and it takes "
            f"{LEAST_RUNS}"
        )
    begin, minutes = begin[rows], minutes[rows]
    kinds = [str(runs["task_type"][i] or runs["agent_type"][i] or "task") for i in rows.tolist()]
    generator = np.random.default_rng(seed)
    judged: list[Goodness] = []

    def fitted(what: str, values: Floats) -> Distribution:
        order = generator.permutation(len(values))
        half = len(values) // 2
        found = _best(values[order[:half]])
        judged.append(_judged(what, found, values[order[half:]], seed))
        return found

    gaps = np.diff(np.sort(begin)) / 60.0
    gaps = gaps[gaps <= _BREAK]
    apart = gaps[gaps > _MINUTE]
    if len(apart) < _LEAST_OF_A_KIND:
        raise InputError(
            f"the log is too small to fit arrivals to: {len(apart)} of its tasks came within {_BREAK:.0f} minutes of "
            f"the one before and not together with it, and it takes {_LEAST_OF_A_KIND}"
        )
    gap = fitted("minutes between arrivals", apart)
    everything = fitted("minutes of a task", minutes)
    common = [name for name, _ in Counter(kinds).most_common(len(KINDS))]
    of = np.array(kinds)
    failed = numbers["utility"][rows]
    overall = float(np.nanmean(failed < 0.5)) if np.isfinite(failed).any() else 0.05
    durations, failures, counts = [], [], []
    for name in common:
        own = minutes[of == name]
        durations.append(fitted(f"minutes: {name}", own) if len(own) >= _LEAST_OF_A_KIND else everything)
        known = failed[(of == name) & np.isfinite(failed)]
        failures.append(float((np.sum(known < 0.5) + 5 * overall) / (len(known) + 5)))
        counts.append(len(own))
    at_once = np.array([np.sum((begin <= at) & (begin + 60.0 * minutes > at)) for at in begin])
    low, high = (int(np.clip(round(float(q)), 1, 8)) for q in np.quantile(at_once, (0.5, 0.95)))
    cost = numbers["cost"][rows]
    priced = np.isfinite(cost) & (cost > 0)
    dollars = float(np.median(cost[priced] / (minutes[priced] / 60.0))) if priced.sum() >= _LEAST_OF_A_KIND else 2.0
    world = FittedWorld(
        agents=(low, max(low, high)),
        bursts=float(np.mean(gaps <= _MINUTE)),
        failure=(min(failures), max(failures)),
        names=tuple(common),
        shares=tuple(count / sum(counts) for count in counts),
        durations=tuple(durations),
        failures=tuple(failures),
        gap=gap,
        dollars=min(max(dollars, 0.1), 50.0),
    )
    return world, judged


def _best(values: Floats) -> Distribution:
    """The family of highest likelihood, each fitted by maximum likelihood; Akaike's criterion counts parameters."""
    stats = require("scipy.stats", "rl")
    logs = np.log(values)
    tried = [
        (Distribution("exponential", float(values.mean())), stats.expon(scale=values.mean()), 1),
        (
            Distribution("log-normal", float(logs.mean()), float(max(logs.std(), 1e-3))),
            stats.lognorm(max(logs.std(), 1e-3), scale=math.exp(logs.mean())),
            2,
        ),
    ]
    for family, of in (("weibull", stats.weibull_min), ("gamma", stats.gamma)):
        shape, _, scale = of.fit(values, floc=0)
        tried.append((Distribution(family, float(scale), float(shape)), of(shape, scale=scale), 2))
    scores = [2 * count - 2 * float(np.sum(law.logpdf(values))) for _, law, count in tried]
    return tried[int(np.nanargmin(scores))][0]


def _judged(what: str, fitted: Distribution, values: Floats, seed: int) -> Goodness:
    random = Random(seed)
    drawn = np.array([fitted.draw(random) for _ in range(20 * len(values))])
    found = require("scipy.stats", "rl").ks_2samp(values, drawn)
    medians = float(np.median(values)), float(np.median(drawn))
    return Goodness(what, len(values), fitted.family, float(found.statistic), float(found.pvalue), *medians)


def write(path: Path, world: FittedWorld, judged: Sequence[Goodness]) -> None:
    """Keep a world, and how well it fits, as a file that ``environments.make(world=path)`` takes."""
    document = {"format": 1, "kind": "fitted-world", **asdict(world), "goodness": [asdict(one) for one in judged]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def read(path: Path) -> FittedWorld:
    """The world that :func:`write` kept.

    Raises:
        InputError: there is none, or the file is another one.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if found.pop("kind") != "fitted-world" or found.pop("format") != 1:
            raise ValueError("another kind of file")
        del found["goodness"]
        gap = Distribution(**found.pop("gap"))
        durations = tuple(Distribution(**one) for one in found.pop("durations"))
        if any(one.family not in _DRAW for one in (gap, *durations)):
            raise ValueError("a family that is not known")
        fields: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in found.items()}
        world = FittedWorld(**fields, gap=gap, durations=durations)
        if not 0 < len(durations) == len(world.names) == len(world.shares) == len(world.failures) <= len(KINDS):
            raise ValueError("as many names, shares, durations and failures, at least one")
        return world
    except OSError as error:
        raise InputError(f"cannot read the world at {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a fitted world: {type(error).__name__} {error}") from None


@lru_cache(maxsize=8)
def named(world: str) -> World:
    """One of :data:`~claude_flow.environments.world.WORLDS`, or a fitted world by its file."""
    return WORLDS[world] if world in WORLDS else read(Path(world))
