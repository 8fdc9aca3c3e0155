"""A twin of the swarm that a log shows: the simulator, fitted to what was measured, and checked on what came next.

*Measured* are arrivals, waits, durations, failures, concurrency, tokens and costs, period by period: weeks, or days or
eighths of a shorter log. *Fitted* are the simulator's workloads: of random swarms with what the log says put in, those
are kept whose simulated metrics come nearest the measured ones, each with the factor by which it misses every metric
(its misfit). Types of agents that do much of the work are measured and fitted each by itself, their durations drawn to
the whole period's where their runs are few (:mod:`.durations`); the kept swarms stand for them by their shares of the
runs. *Checked* is the twin by predicting every period from the earlier ones: the next one's load is the
smoothed load so far, a metric is the simulator's at that load times the smoothed misfit. :attr:`Twin.error` is how far
that was off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import MAIN_THREAD
from claude_flow.errors import InputError
from claude_flow.networks.optimization.catalogue import TUNABLES, moved
from claude_flow.networks.optimization.durations import Shrunken, held_out, kind, typical
from claude_flow.networks.optimization.features import CONSTRAINTS, TARGETS, WORKLOAD
from claude_flow.networks.optimization.objective import utility, with_instability
from claude_flow.networks.optimization.simulator import simulate
from claude_flow.networks.optimization.workloads import PARAMETERS, sample

__all__ = [
    "DRAWS",
    "KEPT",
    "LAST",
    "LEVEL",
    "TWIN",
    "Forecast",
    "Measured",
    "Twin",
    "around",
    "forecasts",
    "foretold_durations",
    "measure",
    "periods",
    "read",
    "runs_of",
]

Array = NDArray[np.float64]
Runs = Sequence[Mapping[str, Any]]

TWIN, LAST = "twin", "as last period"
LEVEL = 0.8  # of the intervals of gains
_SIDE = 1.2816  # standard deviations from the middle to an end of it
_COLUMNS = (
    *("submitted", "start", "end", "duration_s", "queue_s", "status", "success", "agent_type", "tokens", "cost"),
    *("retries", "steps", "tool_calls", "tool_s", "agent", "task_type", "model"),
)
DRAWS, KEPT = 512, 24  # random swarms, and those that stand for the log
_ROUNDS, _LOADS = 12, 5
_LEAST_RUNS = 5  # of a period that counts
_LEAST_PERIODS = 3
_LEAST_SHARE = 1 / 6  # of a period's runs, of a type that is fitted by itself
_OF_DURATION = ("task-seconds", "latency", "latency-p50", "latency-p95", "latency-p99", "active-agents")
_WEEK, _DAY = 7 * 86400.0, 86400.0
_SMOOTHING = (0.15, 0.3, 0.5, 0.75, 1.0)
_AGENTS = next(i for i, tunable in enumerate(TUNABLES) if tunable.name == "max-agents")
#: metrics that the twin's fit and its checks go by: the smallest value that a logarithm takes seriously
_JUDGED = {"throughput": 0.01, "latency": 1.0, "latency-p50": 1.0, "task-seconds": 1.0, "queue-time": 10.0,
           "error-rate": 0.02, "tokens-per-task": 1e3, "cost-per-task": 0.01, "active-agents": 0.05}  # fmt: skip
_NEVER_RAN = frozenset(("rejected", "launch_error"))


@dataclass(frozen=True)
class Measured:
    """What the runs of a stretch of time show, in the terms of a request: only what they tell.

    ``parts``: the same of types of agents that did much of the work, and of all others together.
    """

    begin: float
    end: float
    runs: int
    performance: dict[str, float]
    settings: dict[str, float]
    workload: dict[str, float]
    parts: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """One period foretold: the logarithms of throughput and median latency, by each way, and what came."""

    begin: float
    foretold: dict[str, tuple[float, float]]
    truth: tuple[float, float]


def _moments(run: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """When a run was handed over, began and ended; None where the log does not tell, or it never ran."""
    start, end, seconds = run.get("start"), run.get("end"), run.get("duration_s")
    submitted = run.get("submitted") or start
    if submitted is None or run.get("status") in _NEVER_RAN or run.get("agent_type") == MAIN_THREAD:
        return None
    at = submitted.timestamp()
    if isinstance(start, datetime) and isinstance(end, datetime) and end >= start >= submitted:
        return at, start.timestamp(), end.timestamp()
    if seconds is not None and math.isfinite(seconds) and seconds >= 0:
        begin = at + max(float(run.get("queue_s") or 0.0), 0.0)
        return at, begin, begin + float(seconds)
    return None


def periods(runs: Runs) -> list[Measured]:
    """What each week shows by the runs that ended in it; days where there are fewer than eight weeks, or eighths.

    A last week or day that is not over is left out, and so is a period of fewer than five runs.

    :raises InputError: fewer than three periods are left.
    """
    timed = sorted(((at, i) for i, run in enumerate(runs) if (at := _moments(run)) is not None), key=lambda t: t[0][2])
    found: list[Measured] = []
    if timed:
        begin, span = timed[0][0][2], timed[-1][0][2] - timed[0][0][2] + 1.0
        length = next((unit for unit in (_WEEK, _DAY) if span >= 8 * unit), span / 8)
        parts: dict[int, list[int]] = {}
        for at, i in timed:
            parts.setdefault(int((at[2] - begin) // length), []).append(i)
        for number, part in sorted(parts.items()):
            if len(part) >= _LEAST_RUNS and number < int(span / length + 1e-9):
                own, since = [runs[i] for i in part], begin + number * length
                found.append(replace(measure(own, since, length), parts=_by_type(own, since, length)))
    if len(found) < _LEAST_PERIODS:
        raise InputError(
            f"the log has {len(timed)} runs with known times, too few for a twin of the swarm: "
            f"{_LEAST_PERIODS} periods (weeks, days or eighths of the log) of {_LEAST_RUNS} runs each are needed"
        )
    return found


def measure(runs: Runs, begin: float, length: float) -> Measured:
    """Performance, settings and workload by runs that ended within ``length`` seconds from ``begin`` on."""
    kept = [(run, at) for run in runs if (at := _moments(run)) is not None]
    at, start, end = np.array([moments for _, moments in kept]).T
    latency, service, wait = end - at, end - start, start - at
    rate = len(kept) / length * 3600.0

    def known(name: str) -> Array:
        values = np.array([float(v) if (v := run.get(name)) is not None else np.nan for run, _ in kept])
        finite: Array = values[np.isfinite(values)]
        return finite

    performance = {
        "throughput": rate,
        "latency": float(latency.mean()),
        "latency-p50": float(np.median(latency)),
        "latency-p95": float(np.quantile(latency, 0.95)),
        "latency-p99": float(np.quantile(latency, 0.99)),
        "queue-time": float(wait.mean()),
        "task-seconds": float(service.mean()),
        "active-agents": float(service.sum() / length),
    }
    if len(ended := known("success")) >= len(kept) / 2:  # many logs tell failures alone
        performance["error-rate"] = float(1.0 - ended.mean())
    statuses = [run.get("status") for run, _ in kept]
    if any(statuses):
        performance["timeout-rate"] = statuses.count("timeout") / len(statuses)
    for metric, column in (("tokens-per-task", "tokens"), ("cost-per-task", "cost"), ("retry-rate", "retries")):
        if len(values := known(column)):
            performance[metric] = float(values.mean())
    if "cost-per-task" in performance:
        performance["cost"] = performance["cost-per-task"] * rate * 24.0
    events = np.concatenate([np.stack([start, np.ones_like(start)]), np.stack([end, -np.ones_like(end)])], axis=1)
    most = max(float(np.cumsum(events[1][np.lexsort((events[1], events[0]))]).max()), 1.0)
    performance["agent-utilization"] = min(performance["active-agents"] / most, 1.0)
    workload = {"arrival-rate": rate}
    for name, values in (("variability", service), ("burstiness", np.diff(np.sort(at)))):
        if len(values) > 2 and values.mean() > 0:
            workload[name] = float(values.var() / values.mean() ** 2)
    steps = known("steps") if len(known("steps")) else known("tool_calls")
    if len(steps) and steps.mean() > 0:
        workload["steps"] = float(steps.mean())
        if len(known("tool_s")):
            workload["tool-seconds"] = float(known("tool_s").sum() / max(steps.sum(), 1.0))
    inside = {name: float(np.clip(value, *WORKLOAD[name][1:3])) for name, value in workload.items()}
    agents = float(np.clip(most, TUNABLES[_AGENTS].low, TUNABLES[_AGENTS].high))
    return Measured(begin, begin + length, len(kept), performance, {"max-agents": agents}, inside)


def _by_type(runs: Runs, begin: float, length: float) -> tuple[Measured, ...]:
    """A period's work by type of agent, as far as it has two or more kinds of five runs."""
    names = [kind(run) for run in runs]
    frequent = {name for name in names if names.count(name) >= max(_LEAST_RUNS, _LEAST_SHARE * len(runs))}
    labels = [name if name in frequent else None for name in names]
    kinds = [name for name in dict.fromkeys(labels) if labels.count(name) >= _LEAST_RUNS]
    if len(kinds) < 2:
        return ()
    logs = np.log1p([at[2] - at[1] for run in runs if (at := _moments(run)) is not None])
    means = Shrunken.of([(str(label),) for label in labels], logs)
    found = []
    for name in kinds:
        part = measure([run for run, label in zip(runs, labels, strict=True) if label == name], begin, length)
        own = float(logs[[label == name for label in labels]].mean())
        drawn = math.exp(means.means[(str(name),)] - own)
        shrunk = {m: v * drawn if m in _OF_DURATION else v for m, v in part.performance.items()}
        found.append(replace(part, performance=shrunk))
    return tuple(found)


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """The runs of a dataset of tables, as far as a twin needs them. :raises InputError: it is none."""
    from claude_flow.data.tables import read_table

    table = read_table(folder, "runs")
    return [] if table is None else table.select([c for c in _COLUMNS if c in table.column_names]).to_pylist()


def read(folder: Path) -> Twin:
    """The twin of a dataset of tables, kept until its file changes. :raises InputError: it is none, or too short."""
    path = folder / "runs.parquet"
    return _read(folder, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=4)
def _read(folder: Path, written: int) -> Twin:
    try:
        return Twin.fit(runs_of(folder))
    except InputError as error:
        raise InputError(f"{folder.name}: {error}") from None


@dataclass
class Twin:
    """The simulator fitted to a log.

    ``now``: the last period as it was measured; ``parameters`` and ``settings [kept, 64]`` of the swarms that stand for
    the log; ``misfit``: metric -> by which logarithm each of them misses what was measured (of those whose part tells
    it); ``forecasts``: the periods that were foretold; ``work``: what is typical by type, agent and model, and how well
    durations by type and agent foretell the newest ones.
    """

    now: Measured
    parameters: dict[str, Array]
    settings: Array
    misfit: dict[str, Array]
    share: Array  # [kept]: of the period's arrivals, those of the part that a swarm stands for
    forecasts: list[Forecast] = field(default_factory=list)
    work: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(cls, runs: Runs, seed: int = 0, *, check: bool = True) -> Twin:
        """Fit to a log, and ``check`` on its own periods.

        :raises InputError: the log is too short.
        """
        measured = periods(runs)
        twin = _fitted(measured[-1], seed)
        if check:
            twin.forecasts = forecasts(measured, seed)
            twin.work = _work(runs)
        return twin

    @property
    def error(self) -> float | None:
        """How far forecasts of the next period were off, as the root mean square of the logarithm; None: unchecked."""
        off = [a - b for f in self.forecasts for a, b in zip(f.foretold[TWIN], f.truth, strict=True)]
        return float(np.sqrt(np.mean(np.square(off)))) if off else None

    def at(self, arrivals: float) -> dict[str, Array]:
        """The simulated metrics ``[kept]`` at another rate of all arrivals, tasks per hour."""
        rate = np.clip(arrivals * self.share, *PARAMETERS["arrival-rate"][:2])
        return simulate({**self.parameters, "arrival-rate": rate}, self.settings, rounds=_ROUNDS)[0]

    def gains(
        self, changes: Sequence[tuple[int, str]], weights: Mapping[str, float], limits: Mapping[str, float]
    ) -> list[tuple[float, float, float]]:
        """What changes are worth to this swarm: (expected, low, high) each, in the units of a score.

        ``changes`` are a tunable's number and a direction. The interval holds what the swarms that stand for the log
        disagree on, and by how much forecasts of the next period were off.
        """
        rows, wishes = len(self.settings), np.zeros((len(self.settings), len(TARGETS)))
        for i, name in enumerate(TARGETS):
            wishes[:, i] = weights.get(name, 0.0)
        constraints = {name: np.full(rows, limits.get(name, np.nan)) for name in CONSTRAINTS}
        metrics, state = simulate(self.parameters, self.settings)
        before = with_instability(metrics) | {"max-agents": self.settings[:, _AGENTS]}
        noise = (self.error or 0.0) * float(np.sqrt(np.square(list(weights.values())).sum()))
        found = []
        for column, direction in changes:
            changed = self.settings.copy()
            changed[:, column] = moved(TUNABLES[column], changed[:, column], direction)
            after, _ = simulate(self.parameters, changed, state, _ROUNDS)
            worth = utility(before, with_instability(after) | {"max-agents": changed[:, _AGENTS]}, wishes, constraints)
            middle, side = float(worth.mean()), _SIDE * math.hypot(float(worth.std()), noise)
            found.append((middle, middle - side, middle + side))
        return found

    def report(self) -> dict[str, Any]:
        """What it was fitted to, how well, and how well it foretold."""
        fit = {name: round(float(np.median(np.abs(miss))), 3) for name, miss in self.misfit.items()}
        answer: dict[str, Any] = {"runs": self.now.runs, "misfit": fit, "periods_foretold": len(self.forecasts)}
        answer["kinds_of_work"] = max(len(self.now.parts), 1)
        answer["error"] = None if self.error is None else round(self.error, 3)
        for place, metric in enumerate(("throughput", "latency-p50")):
            for name in (TWIN, LAST):
                off = [abs(f.foretold[name][place] - f.truth[place]) for f in self.forecasts]
                answer.setdefault(metric, {})[name] = round(float(np.mean(off)), 3) if off else None
        return answer | self.work


def foretold_durations(runs: Runs) -> dict[str, Any] | None:
    """:func:`.durations.held_out` of a log, by type and agent."""
    kept, seconds = _in_time(runs)
    return held_out([(kind(run), str(run.get("agent") or "")) for run in kept], np.log1p(seconds))


def _in_time(runs: Runs) -> tuple[list[Mapping[str, Any]], Array]:
    """The runs with known times, in the order in which they ended, and their seconds."""
    timed = sorted(((at, i) for i, run in enumerate(runs) if (at := _moments(run)) is not None), key=lambda t: t[0][2])
    return [runs[i] for _, i in timed], np.array([at[2] - at[1] for at, _ in timed])


def _work(runs: Runs) -> dict[str, Any]:
    told = foretold_durations(runs)
    if told is not None:
        told = {name: round(value, 4) for name, value in told.items() if name != "difference"}
    return {"durations": told, **typical(*_in_time(runs))}


def _fitted(measured: Measured, seed: int, draws: int = DRAWS, keep: int = KEPT) -> Twin:
    """The random swarms nearest to what was measured, of each part as many as its share of the runs."""
    parts = measured.parts or (measured,)
    runs = sum(part.runs for part in parts)
    fits = []
    for part in parts:
        share = part.runs / runs
        fits.append(_nearest(part, seed, max(round(draws * share), 16), max(round(keep * share), 1), share))
    names = dict.fromkeys(name for fit in fits for name in fit.misfit)
    return Twin(
        measured,
        {name: np.concatenate([fit.parameters[name] for fit in fits]) for name in fits[0].parameters},
        np.concatenate([fit.settings for fit in fits]),
        {name: np.concatenate([fit.misfit[name] for fit in fits if name in fit.misfit]) for name in names},
        np.concatenate([fit.share for fit in fits]),
    )


def _nearest(measured: Measured, seed: int, draws: int, keep: int, share: float) -> Twin:
    parameters, settings, _ = sample(np.random.default_rng([seed, 0x7917]), draws)
    for name, value in measured.workload.items():
        parameters[name] = np.full(draws, value)
    for i, tunable in enumerate(TUNABLES):
        if tunable.name in measured.settings:
            settings[:, i] = measured.settings[tunable.name]
    metrics, _ = simulate(parameters, settings, rounds=_ROUNDS)
    misfit = {
        name: np.log(measured.performance[name] + least) - np.log(metrics[name] + least)
        for name, least in _JUDGED.items()
        if name in measured.performance
    }
    distance = np.sum([np.square(miss) for miss in misfit.values()], axis=0)
    kept = np.argsort(distance, kind="stable")[:keep]
    return Twin(
        measured,
        {name: values[kept] for name, values in parameters.items()},
        settings[kept],
        {name: miss[kept] for name, miss in misfit.items()},
        np.full(len(kept), share),
    )


def around(measured: Measured, generator: np.random.Generator, rows: int) -> tuple[dict[str, Array], Array]:
    """Workloads and settings ``[rows, 64]`` of swarms around those that fit a period, with settings gone wrong."""
    twin = _fitted(measured, int(generator.integers(1 << 31)), DRAWS // 2, KEPT)
    chosen = generator.integers(0, len(twin.settings), rows)
    workload = {
        name: np.clip(values[chosen] * np.exp(generator.normal(0.0, 0.1, rows)), *PARAMETERS[name][:2])
        for name, values in twin.parameters.items()
    }
    settings = twin.settings[chosen].copy()
    wrong = generator.random(settings.shape) < 0.08
    for i, tunable in enumerate(TUNABLES):
        settings[:, i] = np.where(wrong[:, i], tunable.value(generator.random(rows)), settings[:, i])
    return workload, settings


def forecasts(measured: Sequence[Measured], seed: int = 0) -> list[Forecast]:
    """Every period from the third on, foretold from the earlier ones alone."""
    truth = np.array([_logs(m.performance) for m in measured])
    arrivals = np.log([m.workload["arrival-rate"] for m in measured])
    found = []
    for now in range(2, len(measured)):
        twin = _fitted(measured[now - 1], seed, DRAWS // 4, KEPT // 4)
        load = _smoothed(arrivals[:now])
        rates = np.append(arrivals[:now], load)
        grid = np.linspace(rates.min(), rates.max() + 1e-6, _LOADS)
        curves = np.array([_simulated(twin, float(np.exp(rate))) for rate in grid])
        foretold = []
        for j in range(2):
            simulated = np.interp(rates, grid, curves[:, j])
            foretold.append(float(simulated[-1]) + _smoothed(truth[:now, j] - simulated[:-1]))
        ways = {TWIN: (foretold[0], foretold[1]), LAST: (float(truth[now - 1, 0]), float(truth[now - 1, 1]))}
        found.append(Forecast(measured[now].begin, ways, (float(truth[now, 0]), float(truth[now, 1]))))
    return found


def _logs(metrics: Mapping[str, Any]) -> tuple[Any, Any]:
    return np.log(metrics["throughput"] + 0.01), np.log(metrics["latency-p50"] + 1.0)


def _simulated(twin: Twin, arrivals: float) -> Array:
    metrics = twin.at(arrivals)
    return np.array([logs.mean() for logs in _logs({**metrics, "throughput": metrics["throughput"] / twin.share})])


def _smoothed(values: Array) -> float:
    """The next value: exponential smoothing, each strength weighted by how well it would have foretold so far."""
    levels, off = np.full(len(_SMOOTHING), float(values[0])), np.full(len(_SMOOTHING), 1e-3)
    for value in values[1:]:
        off += np.abs(value - levels)
        levels += np.array(_SMOOTHING) * (value - levels)
    share = np.exp(-4.0 * (off / off.min() - 1.0))
    return float(levels @ share / share.sum())
