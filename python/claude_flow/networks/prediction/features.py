"""Runs and their history to the input of the prediction network, and its output back to units.

A sequence is the task's history, oldest first, then the open task itself. Every token has the same 128 slots
(:func:`slots`); those that make no sense for a token (the outcome of the open task, the aggregates of a past
run) are 0. All quantities are log1p. The network does not predict log1p(y) itself but its distance from an
**anchor**, the mean of the task's history shrunk from the whole source to ever narrower scopes: so one network
serves seconds and days, and without any history it starts from the training data's own mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.networks.prediction.conformal import misses, shift
from claude_flow.networks.prediction.history import (
    KEYS,
    LATEST,
    NO_TIME,
    NUMBERS,
    RECENT,
    SCOPES,
    TARGETS,
    History,
    Runs,
)
from claude_flow.networks.scale import Scaler

__all__ = [
    "LEVELS",
    "OUTPUTS",
    "QUANTILES",
    "TARGETS",
    "UNITS",
    "WIDTH",
    "Encoder",
    "anonymous",
    "bounds",
    "calibrate",
    "conformal",
    "shifted",
    "shifts",
    "slots",
]

Array = NDArray[Any]

WIDTH = 128
_VERSION = 2  # of the slots and of what fills them
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
LEVELS = (0.5, 0.8, 0.95)  # central intervals that two of the quantiles bound
UNITS = ("s", "steps", "s", "MB", "USD", "tokens", "retries", "s")
OUTPUTS = len(TARGETS) * (len(QUANTILES) + 1)

_SHRINKAGE = 2.0  # a scope's mean weighs as many as it has values, its parent's mean 2
_BITS = {"agent": 4, "task_type": 5}  # names shown as signs, where the training data knew them
_FAMILIAR = 20  # training rows from which on it did
_WORDS = 8  # slots of the description
_PAST = ("duration", "tool_calls")  # shown as they are; the targets also relative to their anchors
_OVERRUN = 0.995  # quantile of log duration - log requested time beyond which no forecast goes
_OVERRUN_ROWS = 200  # of a source, so that one of them lies beyond it
_TRAINED = 50  # known training values below which a target counts as never seen
_AGGREGATES = ("count", "mean", "q10", "median", "q90", "last two", "failures")
_FEW = ("count", "mean", "median", "failures")  # of the scopes whose latest runs are told one by one
_SINGLY = {"agent": LATEST, "same request": ("duration", "failed", "age")}  # the same request is 0 apart
_LIKENESS = (
    "age",
    *(f"same {key}" for key in KEYS[1:5]),
    "text",
    "requested apart",
    "processors apart",
    "same request",
)


def slots() -> list[str]:
    """Names of the 128 slots of a token, in order.

    >>> len(slots()), slots()[0], slots().index("past duration")
    (128, 'open', 1)
    """
    names = ["open"]
    names += [f"past {name}" for name in _PAST]
    names += [f"past {name} known" for name in TARGETS]
    names += [f"past {name} - anchor" for name in TARGETS]
    names += ["past succeeded", "past failed", "past stopped"]
    names += ["requested", "requested known", "requested - anchor", "processors", "processors known"]
    names += ["prompt", "prompt known", "batch"]
    names += ["hour sin", "hour cos", "weekday sin", "weekday cos"]
    names += [f"{name} {i}" for name, bits in _BITS.items() for i in range(bits)]
    names += [f"description {i}" for i in range(_WORDS)]
    names += list(_LIKENESS)
    names += [f"{scope}: {what}" for scope in SCOPES for what in (_FEW if scope in RECENT else _AGGREGATES)]
    names += [f"{scope}: {i} {what}" for scope, told in _SINGLY.items() for i in (1, 2, 3) for what in told]
    return names + [f"anchor {name}" for name in TARGETS]


_AT = {name: i for i, name in enumerate(slots())}


def _range(first: str, size: int) -> slice:
    return slice(_AT[first], _AT[first] + size)


class Encoder:
    """Turns runs and history into network input, and network output into log1p quantiles.

    ``fit`` learns the numbers that it needs from the training part; ``schema`` stores them in the model file.
    """

    def __init__(self, normalization: str = "z-score", describe: bool = True) -> None:
        self.normalization = normalization
        self.describe = describe  # whether the words of a description count
        self.scalers = [Scaler.fit(self._kind, []) for _ in NUMBERS]
        self.prior = np.zeros(len(TARGETS))
        self.spread = np.ones(len(TARGETS))  # of a target around its anchor: one unit of the output
        self.outcomes = (0, 0)  # training runs known to have succeeded, to have failed
        self.rows = np.zeros(len(TARGETS), np.int64)  # training values per target
        self.names = {name: np.zeros(0, np.int64) for name in _BITS}  # hashes of names seen in training
        self.experience = np.zeros(3)  # quartiles of how many runs an agent had finished
        self.overrun: dict[int, float] = {}  # source: how far its runs exceed their requested time at most, in logs
        self.longest = np.inf  # log1p of the longest training run, where all had a requested time; else inf

    @property
    def _kind(self) -> str:
        # All numbers are log1p already, so "log" has nothing left to do but the z-score.
        return "z-score" if self.normalization == "log" else self.normalization

    def fit(self, runs: Runs, history: History, rows: Array) -> Encoder:
        """Learn priors and scales from the rows ``rows`` of ``runs`` (the training part and nothing else)."""
        numbers = runs.numbers[rows].astype(np.float64)
        targets = numbers[:, : len(TARGETS)]
        self.rows = (~np.isnan(targets)).sum(0)
        self.prior = np.array([np.nanmean(c) if n else 0.0 for c, n in zip(targets.T, self.rows, strict=True)])
        failed = runs.failed[rows]
        self.outcomes = (int((failed == 0).sum()), int((failed == 1).sum()))
        self.scalers = [Scaler.fit(self._kind, column) for column in numbers.T]
        residual = targets - self.anchors(history.take(rows))
        self.spread = np.array(
            [max(float(np.nanstd(c)), 0.05) if n else 1.0 for c, n in zip(residual.T, self.rows, strict=True)]
        )
        for name in _BITS:
            codes, count = np.unique(runs.keys[rows, KEYS.index(name)], return_counts=True)
            self.names[name] = codes[(count >= _FAMILIAR) & (codes != 0)]
        agents = history.seen[rows, SCOPES.index("agent")]
        named = agents[runs.keys[rows, KEYS.index("agent")] != 0]
        self.experience = np.quantile(named, [0.25, 0.5, 0.75]) if len(named) else np.zeros(3)
        over = targets[:, 0] - numbers[:, NUMBERS.index("requested")]
        sources = runs.keys[rows, KEYS.index("source")]
        own = {int(source): over[(sources == source) & np.isfinite(over)] for source in np.unique(sources)}
        self.overrun = {s: float(np.quantile(v, _OVERRUN)) for s, v in own.items() if len(v) >= _OVERRUN_ROWS}
        requested = np.isfinite(numbers[:, NUMBERS.index("requested")])
        self.longest = float(np.nanmax(targets[:, 0])) if self.rows[0] and requested.all() else np.inf
        return self

    def schema(self) -> dict[str, Any]:
        """Everything that inference needs, as JSON values."""
        return {
            "network": "prediction",
            "version": _VERSION,
            "width": WIDTH,
            "targets": list(TARGETS),
            "units": list(UNITS),
            "quantiles": list(QUANTILES),
            "normalization": self.normalization,
            "describe": self.describe,
            "scalers": [scaler.to_json() for scaler in self.scalers],
            "prior": self.prior.tolist(),
            "spread": self.spread.tolist(),
            "outcomes": list(self.outcomes),
            "training-rows": self.rows.tolist(),
            "names": {name: codes.tolist() for name, codes in self.names.items()},
            "agent-experience": self.experience.tolist(),
            "overrun": {str(source): slack for source, slack in self.overrun.items()},
            "longest": self.longest if np.isfinite(self.longest) else None,
        }

    @classmethod
    def from_schema(cls, schema: dict[str, Any]) -> Encoder:
        """The encoder that wrote ``schema``.

        >>> Encoder.from_schema(Encoder("robust").schema()).schema() == Encoder("robust").schema()
        True
        """
        if schema.get("network") != "prediction" or schema.get("version") != _VERSION:
            raise InputError(
                f"the feature schema is not one of prediction, version {_VERSION}: train or download the model again"
            )
        encoder = cls(schema["normalization"], bool(schema["describe"]))
        encoder.scalers = [Scaler.from_json(stored) for stored in schema["scalers"]]
        encoder.prior = np.array(schema["prior"], np.float64)
        encoder.spread = np.array(schema["spread"], np.float64)
        encoder.outcomes = (int(schema["outcomes"][0]), int(schema["outcomes"][1]))
        encoder.rows = np.array(schema["training-rows"], np.int64)
        encoder.names = {name: np.array(schema["names"][name], np.int64) for name in _BITS}
        encoder.experience = np.array(schema["agent-experience"], np.float64)
        # Absent in files written before there were limits: then nothing is known to limit a run.
        encoder.overrun = {int(source): float(slack) for source, slack in schema.get("overrun", {}).items()}
        encoder.longest = np.inf if schema.get("longest") is None else float(schema["longest"])
        return encoder

    @property
    def failure_rate(self) -> float:
        """Share of failed runs in the training data."""
        return self.outcomes[1] / max(sum(self.outcomes), 1)

    def view(self, runs: Runs) -> Runs:
        """The runs as this encoder may see them: without their texts when it does not ``describe``."""
        return runs if self.describe else replace(runs, text=np.zeros_like(runs.text))

    def trained(self) -> Array:
        """bool [targets]: whether the training data had at least 50 known values of the target."""
        return self.rows >= _TRAINED

    def anchors(self, history: History) -> Array:
        """float64 [n, targets]: the mean of log1p in the history, shrunk: training > source > type > ... > request."""
        return self._shrunk(history)[-1]

    def _shrunk(self, history: History) -> list[Array]:
        """Shrunken means [n, targets] per scope, each with the one before as its parent; "similar" has no part."""
        mean = np.broadcast_to(self.prior, (len(history.count), len(TARGETS)))
        result = []
        for scope in range(len(SCOPES) - 1):
            count = history.count[:, scope]
            mean = (count * history.mean[:, scope] + _SHRINKAGE * mean) / (count + _SHRINKAGE)
            result.append(mean)
        return result

    def limits(self, tasks: Runs) -> Array:
        """float64 [n, targets]: log1p values that no quantile should exceed; inf where nothing is known to limit them.

        A machine that stops a run at its requested time shows it: of KTH-SP2's training jobs, 0.6 % took over 1 % more
        than they asked for. A network bends around such an edge and cannot follow it; cut there, its validation
        pinball falls by 0.9 % (0.8 % on LLNL-Atlas). The slack is the 99.5 % quantile of log(duration / requested
        time) in the source's own training runs.
        """
        slack = [self.overrun.get(int(source), np.inf) for source in tasks.keys[:, KEYS.index("source")]]
        limits = np.full((len(tasks), len(TARGETS)), np.inf)
        requested = tasks.numbers[:, NUMBERS.index("requested")].astype(np.float64)
        limits[:, 0] = np.maximum(np.where(np.isnan(requested), np.inf, requested + np.array(slack)), 0)
        return limits

    def normalize(self, numbers: Array) -> Array:
        """log1p numbers [n, NUMBERS] to inputs around 0; unknown ones become 0."""
        return np.nan_to_num(np.stack([s.apply(column) for s, column in zip(self.scalers, numbers.T, strict=True)], 1))

    def records(self, runs: Runs) -> Array:
        """float32 [N, 128]: what a past run shows of itself, whoever looks back at it."""
        x = np.zeros((len(runs), WIDTH), np.float32)
        self._submission(x, runs)
        numbers = self.normalize(runs.numbers)
        for name in _PAST:
            x[:, _AT[f"past {name}"]] = numbers[:, NUMBERS.index(name)]
        x[:, _range("past duration known", len(TARGETS))] = ~np.isnan(runs.numbers[:, : len(TARGETS)])
        x[:, _AT["past succeeded"]] = runs.failed == 0
        x[:, _AT["past failed"]] = runs.failed == 1
        x[:, _AT["past stopped"]] = runs.stopped
        return x

    def openings(self, tasks: Runs, history: History) -> tuple[Array, Array]:
        """The open tasks' own tokens float32 [n, 128] and their anchors float64 [n, targets]."""
        x = np.zeros((len(tasks), WIDTH), np.float32)
        self._submission(x, tasks)
        x[:, _AT["open"]] = 1
        shrunk = self._shrunk(history)
        anchors, unit = shrunk[-1], self.spread[0]
        x[:, _AT["requested - anchor"]] = _known(tasks.numbers[:, NUMBERS.index("requested")] - anchors[:, 0]) / unit
        rate = np.full(len(tasks), self.failure_rate)
        duration = anchors[:, 0]
        for i, scope in enumerate(SCOPES):
            similar = np.where(history.count[:, i, 0] > 0, history.mean[:, i, 0], np.nan)
            own = shrunk[i][:, 0] if i < len(shrunk) else similar
            known, failed = history.failures[:, i].T
            rate = (failed + _SHRINKAGE * rate) / (known + _SHRINKAGE)
            spread = (_known(history.spread[:, i] - duration[:, None]) / unit).T
            values = (np.log1p(history.seen[:, i]) / 3, _known(own - duration) / unit, *spread)
            found = dict(zip(_AGGREGATES, (*values, (rate - self.failure_rate) * 3), strict=True))
            for what in _FEW if scope in RECENT else _AGGREGATES:
                x[:, _AT[f"{scope}: {what}"]] = found[what]
        single = history.latest.astype(np.float64)  # [n, RECENT, 3, LATEST]
        single[..., LATEST.index("duration")] = (single[..., LATEST.index("duration")] - duration[:, None, None]) / unit
        single[..., LATEST.index("failed")] = 2 * single[..., LATEST.index("failed")] - 1
        single[..., LATEST.index("age")] = single[..., LATEST.index("age")] / 8
        for i, scope in enumerate(RECENT):
            told = [LATEST.index(what) for what in _SINGLY[scope]]
            x[:, _range(f"{scope}: 1 {_SINGLY[scope][0]}", 3 * len(told))] = _known(single[:, i][..., told]).reshape(
                len(tasks), -1
            )
        numbers = np.full((len(tasks), len(NUMBERS)), np.nan)
        numbers[:, : len(TARGETS)] = anchors
        x[:, _range("anchor duration", len(TARGETS))] = self.normalize(numbers)[:, : len(TARGETS)] * self.trained()
        return x, anchors

    def sequences(
        self, past: Runs, records: Array, tasks: Runs, openings: Array, anchors: Array, index: Array
    ) -> tuple[Array, Array]:
        """Tokens float32 [n, T, 128] and lengths int32 [n] from ``index`` int [n, T - 1] into ``past`` (-1 = none).

        The history comes oldest first, the open task directly after it, then padding.
        """
        size, width = index.shape
        end = np.where(index >= 0, past.end[index], np.iinfo(np.int64).max)
        index = np.take_along_axis(index, np.argsort(end, axis=1, kind="stable"), 1)
        there = index >= 0
        lengths = (there.sum(1) + 1).astype(np.int32)
        x = np.zeros((size, width + 1, WIDTH), np.float32)
        x[:, :width] = records[index]
        distance = past.numbers[index, : len(TARGETS)] - anchors[:, None].astype(np.float32)
        x[:, :width, _range("past duration - anchor", len(TARGETS))] = _known(distance / self.spread)
        requested = past.numbers[index, NUMBERS.index("requested")] - anchors[:, None, 0]
        x[:, :width, _AT["requested - anchor"]] = _known(requested) / self.spread[0]
        x[:, :width, _range("age", len(_LIKENESS))] = _likeness(past, tasks, index)
        x[:, :width] *= there[..., None]
        x[np.arange(size), lengths - 1] = openings
        return x, lengths

    def decode(self, raw: Array, anchors: Array) -> tuple[Array, Array]:
        """Network output float32 [n, 64] to log1p quantiles float64 [n, targets, 7] and probabilities [n, targets].

        The probability of ``duration`` is that the run fails; of any other target that it is above 0.
        """
        raw = np.asarray(raw, np.float64).reshape(-1, len(TARGETS), len(QUANTILES) + 1)
        quantiles = anchors[:, :, None] + self.spread[:, None] * raw[:, :, :-1]
        return np.maximum(quantiles, 0), 1 / (1 + np.exp(-np.clip(raw[:, :, -1], -30, 30)))

    def _submission(self, x: Array, runs: Runs) -> None:
        """The slots that are known when a task is submitted: request, time, names, description."""
        numbers = self.normalize(runs.numbers)
        for name in ("requested", "processors", "prompt", "batch"):
            column = NUMBERS.index(name)
            x[:, _AT[name]] = numbers[:, column]
            if name != "batch":
                x[:, _AT[f"{name} known"]] = ~np.isnan(runs.numbers[:, column])
        timed = runs.decision != NO_TIME
        hours = np.where(timed, runs.decision, 0) / 3600e6
        for i, period in enumerate((24, 168)):
            turn = 2 * np.pi * (hours % period) / period
            x[:, _AT["hour sin"] + 2 * i] = np.sin(turn) * timed
            x[:, _AT["hour sin"] + 2 * i + 1] = np.cos(turn) * timed
        for name, bits in _BITS.items():
            code = runs.keys[:, KEYS.index(name), None]
            familiar = np.isin(code, self.names[name])
            x[:, _range(f"{name} 0", bits)] = np.where(familiar, (code >> np.arange(bits)) % 2 * 2 - 1, 0)
        x[:, _range("description 0", _WORDS)] = runs.text.reshape(len(runs), -1, _WORDS).sum(1)


def anonymous(x: Array) -> Array:
    """Tokens [..., 128] as they would look with names and words that nobody has seen: a changed copy."""
    x = x.copy()
    for name, size in (*_BITS.items(), ("description", _WORDS)):
        x[..., _range(f"{name} 0", size)] = 0
    return x


def _likeness(past: Runs, tasks: Runs, index: Array) -> Array:
    """How each run of the history [n, T - 1] relates to the open task: [n, T - 1, 9], in the order of _LIKENESS."""
    requested, processors = NUMBERS.index("requested"), NUMBERS.index("processors")
    age = np.maximum((tasks.decision[:, None] - past.end[index]) / 1e6, 0)
    theirs, ours = past.keys[index], tasks.keys[:, None]
    same = (theirs == ours) & (ours != 0)
    apart = past.numbers[index] - tasks.numbers[:, None]
    apart = apart[..., [requested, processors]]
    columns = [np.log1p(np.where(index >= 0, age, 0))[..., None] / 8, same[..., 1:5]]
    columns += [np.einsum("nct,nt->nc", past.text[index], tasks.text)[..., None], _known(apart)]
    columns += [(np.nan_to_num(apart) == 0).all(-1, keepdims=True) & same[..., KEYS.index("agent"), None]]
    return np.concatenate(columns, axis=-1).astype(np.float32)


def _known(values: Array) -> Array:
    """Unknown to 0; the rest cut at +-10 so that one absurd record cannot drown the others."""
    cut: Array = np.clip(np.nan_to_num(values), -10, 10)
    return cut


def conformal(quantiles: Array, truth: Array) -> Array:
    """Shifts [targets, 7] that give the intervals of LEVELS their coverage (Romano et al. 2019, one per interval).

    ``quantiles`` [n, targets, 7] and ``truth`` [n, targets] (NaN = unknown) are log1p values of rows that nothing
    was fitted on. An interval grows (or shrinks) on both sides by the ceil((n + 1) level)-th smallest of
    max(low - y, y - high). NaN for a target with fewer than 19 rows, for which 95 % is not defined.

    >>> y = np.linspace(0, 1, 99)[:, None]
    >>> conformal(np.tile(np.linspace(0.4, 0.6, 7), (99, 1, 1)), y)[0].round(2).tolist()
    [-0.38, -0.34, -0.22, 0.0, 0.22, 0.34, 0.38]
    """
    result = np.full((truth.shape[1], len(QUANTILES)), np.nan)
    for target, values in enumerate(truth.T):
        known = np.isfinite(values)
        count = int(known.sum())
        if count < 19:
            continue
        result[target, QUANTILES.index(0.5)] = 0
        for level in LEVELS:
            low, high = bounds(level)
            grow = shift(misses(quantiles[known, target, low], quantiles[known, target, high], values[known]), level)
            result[target, low], result[target, high] = -grow, grow
    return result


def calibrate(quantiles: Array, truth: Array, sources: Array) -> dict[str, Any]:
    """Conformal shifts per source and over all of them, as JSON values; see :func:`conformal` and :func:`shifts`.

    Sources differ in how surprising they are, so each is calibrated by itself where it has the rows for it.
    """
    groups = {"all": np.ones(len(sources), bool)} | {str(code): sources == code for code in np.unique(sources)}
    found = {name: conformal(quantiles[rows], truth[rows]) for name, rows in groups.items()}
    return {name: [[None if np.isnan(v) else float(v) for v in row] for row in s] for name, s in found.items()}


def shifts(calibration: dict[str, Any], sources: Array) -> Array:
    """Shifts float64 [n, targets, 7] for tasks of ``sources`` [n]: their own, else everyone's, else NaN (none)."""
    tables = {name: np.array(rows, np.float64) for name, rows in calibration.items()}
    everyone = tables["all"]
    result: Array = np.broadcast_to(everyone, (len(sources), *everyone.shape)).copy()
    for code in np.unique(sources):
        own = tables.get(str(code), everyone)
        result[sources == code] = np.where(np.isnan(own), everyone, own)
    return result


def shifted(quantiles: Array, by: Array, limits: Array) -> Array:
    """Quantiles [n, targets, 7] after calibration: at least 0, in order still, and none above ``limits`` [n, targets].

    The limits come last: the misses that calibrate are those of quantiles that were not cut.
    """
    moved: Array = np.maximum.accumulate(np.maximum(quantiles + np.nan_to_num(by), 0), axis=-1)
    return np.minimum(moved, limits[..., None])


def bounds(level: float) -> tuple[int, int]:
    """Indices of the two quantiles that bound a central interval of one of LEVELS."""
    low = next(i for i, q in enumerate(QUANTILES) if abs(q - (1 - level) / 2) < 1e-9)
    return low, len(QUANTILES) - 1 - low
