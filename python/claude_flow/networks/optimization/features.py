"""A swarm's performance, settings, limits and wishes as the 256 inputs of the optimization network.

Layout: field ``i`` of :data:`FIELDS` fills slot ``2*i`` with its scaled value and slot ``2*i + 1`` with 1 when it is
known; an unknown field is 0 in both, so a request may name as little as one metric. The 122 fields take 244 slots;
the 12 target weights, which sum to 1, take the last 12. A scaled value is -1 at the field's ``low`` and 1 at its
``high`` (on a log scale if the field says so), cut off at +-1.5. ``docs/optimization.md`` lists every slot.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from claude_flow import schema
from claude_flow.errors import InputError
from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES
from claude_flow.values import duration, size

__all__ = ["CONSTRAINTS", "FIELDS", "GROUPS", "GUARDED", "TARGETS", "WORKLOAD", "Encoder", "Field", "Reading"]

GROUPS = ("current-performance", "current-settings", "workload", "constraints")
TARGETS_KEY = "optimization-targets"
CUT_OFF = 1.5
DEFAULT_TARGETS = ("reduce-latency", "improve-throughput", "reduce-error-rate", "reduce-cost")


@dataclass(frozen=True)
class Field:
    """One input. ``kind`` says what a request may write: ``share`` 0..1, ``seconds`` (120 or "2m"), ``bytes``
    (16e9 or "16GB"), ``number`` (0 or more)."""

    group: str
    name: str
    kind: str
    scale: str
    low: float
    high: float
    unit: str

    @property
    def path(self) -> str:
        return f"{self.group}.{self.name}"

    def scaled(self, value: ArrayLike) -> NDArray[np.float64]:
        """``value`` (any shape, NaN passes) on the network's scale."""
        value = np.asarray(value, dtype=np.float64)
        if self.scale == "linear":
            position = (value - self.low) / (self.high - self.low)
        elif self.scale == "log":
            position = np.log(np.maximum(value, self.low * 1e-3) / self.low) / math.log(self.high / self.low)
        else:  # log0: see catalogue.Tunable
            position = np.log1p(64.0 * value / self.high) / math.log(65.0)
        return np.clip(2.0 * position - 1.0, -CUT_OFF, CUT_OFF)

    def unscaled(self, scaled: ArrayLike) -> NDArray[np.float64]:
        """The value at ``scaled``: the inverse of :meth:`scaled`, up to the cut-off."""
        position = (np.asarray(scaled, dtype=np.float64) + 1.0) / 2.0
        if self.scale == "linear":
            return self.low + position * (self.high - self.low)
        if self.scale == "log":
            return np.asarray(self.low * np.exp(position * math.log(self.high / self.low)))
        return np.asarray(np.expm1(position * math.log(65.0)) * self.high / 64.0)


# name: (kind, scale, low, high, unit)
_PERFORMANCE: dict[str, tuple[str, str, float, float, str]] = {
    "throughput": ("number", "log", 0.05, 2000, "tasks/h"),
    "latency": ("seconds", "log", 20, 1e5, "s"),  # mean, from a task's arrival to its end
    "latency-p50": ("seconds", "log", 20, 1e5, "s"),
    "latency-p95": ("seconds", "log", 50, 3e5, "s"),
    "latency-p99": ("seconds", "log", 50, 3e5, "s"),
    "queue-time": ("seconds", "log", 1, 2e4, "s"),
    "queue-length": ("number", "log", 0.01, 1000, "tasks"),
    "task-seconds": ("seconds", "log", 20, 1e5, "s"),  # without the queue
    "error-rate": ("share", "log", 0.002, 1, "of tasks"),
    "rejection-rate": ("share", "log", 0.001, 1, "of tasks"),
    "timeout-rate": ("share", "log", 0.001, 1, "of tasks"),
    "retry-rate": ("number", "log", 0.005, 5, "per task"),
    "rework-rate": ("share", "linear", 0, 1, "of tasks"),
    "defect-rate": ("share", "log", 0.002, 1, "of landed tasks"),
    "conflict-rate": ("share", "log", 0.002, 1, "of tasks"),
    "crash-rate": ("share", "log", 0.005, 1, "of tasks"),
    "model-seconds": ("seconds", "log", 2, 1000, "s per call"),
    "tool-seconds": ("seconds", "log", 0.1, 1000, "s per step"),
    "test-seconds": ("seconds", "log", 0.5, 5000, "s per task"),
    "coordination-share": ("share", "linear", 0, 1, "of working time"),
    "cold-start-rate": ("share", "linear", 0, 1, "of tasks"),
    "prompt-cache-hit-rate": ("share", "linear", 0, 1, "of prompt tokens"),
    "result-cache-hit-rate": ("share", "linear", 0, 1, "of tool calls"),
    "missing-context": ("share", "linear", 0, 1, "of needed facts"),
    "tokens-per-task": ("number", "log", 1e4, 5e7, "tokens"),
    "cost-per-task": ("number", "log", 0.05, 500, "USD"),
    "cost": ("number", "log", 1, 5e4, "USD/day"),
    "resource-utilization": ("share", "linear", 0, 1, "mean of CPU, memory and agents"),
    "agent-utilization": ("share", "linear", 0, 1, "of agents busy"),
    "cpu-usage": ("share", "linear", 0, 1, "of cores"),
    "memory": ("bytes", "log", 1e9, 5e11, "bytes"),
    "memory-usage": ("share", "linear", 0, 1, "of the host's memory"),
    "rate-limit-usage": ("number", "log", 0.01, 10, "of the provider's allowance"),
    "network-traffic": ("number", "log", 100, 1e6, "bytes/s"),
    "active-agents": ("number", "log", 0.2, 64, "agents"),
    "prompt-tokens": ("number", "log", 2000, 2e5, "tokens per call"),
}
WORKLOAD: dict[str, tuple[str, float, float, str]] = {  # name: (kind, low, high, unit)
    "arrival-rate": ("number", 0.1, 5000, "tasks/h"),
    "steps": ("number", 2, 200, "model calls per task"),
    "context-need": ("number", 1000, 2e5, "tokens of facts that a step needs"),
    "output-tokens": ("number", 50, 4000, "per step"),
    "tool-seconds": ("seconds", 0.1, 120, "s per step"),
    "test-seconds": ("seconds", 1, 3600, "s, the whole suite on one worker"),
    "difficulty": ("share", 0.02, 0.95, "of steps that are hard"),
    "parallelism": ("share", 0.02, 0.95, "of a task's work that can run side by side"),
    "repetition": ("share", 0.02, 0.95, "of work and look-ups seen before"),
    "burstiness": ("number", 0.5, 10, "squared coefficient of variation of the arrivals"),
    "variability": ("number", 0.2, 6, "squared coefficient of variation of the task durations"),
    "cores": ("number", 2, 256, "of the host"),
    "host-memory": ("bytes", 4e9, 1e12, "bytes"),
    "rate-limit": ("number", 1e4, 1e8, "tokens per minute that the provider allows"),
}
# target: (metric, +1 larger is better / -1 smaller is better, offset below which differences stop to matter)
TARGETS: dict[str, tuple[str, int, float]] = {
    "reduce-latency": ("latency", -1, 1.0),
    "improve-throughput": ("throughput", 1, 0.01),
    "reduce-error-rate": ("error-rate", -1, 0.02),
    "reduce-cost": ("cost-per-task", -1, 0.01),
    "reduce-tail-latency": ("latency-p95", -1, 1.0),
    "reduce-queue-time": ("queue-time", -1, 10.0),
    "reduce-memory": ("memory", -1, 1e8),
    "reduce-cpu": ("cpu-usage", -1, 0.02),
    "reduce-tokens": ("tokens-per-task", -1, 1e3),
    "improve-quality": ("defect-rate", -1, 0.02),
    "improve-utilization": ("resource-utilization", 1, 0.02),
    "improve-stability": ("instability", -1, 0.05),  # rejections + timeouts + crashes + retries
}
# constraint: (metric or setting, +1 it is an upper limit / -1 a lower limit)
CONSTRAINTS: dict[str, tuple[str, int]] = {
    "max-memory": ("memory", 1),
    "max-cpu": ("cpu-usage", 1),
    "budget": ("cost", 1),
    "max-latency": ("latency", 1),
    "max-error-rate": ("error-rate", 1),
    "max-agents": ("max-agents", 1),
    "max-tokens-per-task": ("tokens-per-task", 1),
    "min-throughput": ("throughput", -1),
}
# may not get worse unnoticed, whatever the targets are
GUARDED = ("reduce-latency", "improve-throughput", "reduce-error-rate", "reduce-cost", "improve-quality")


def _fields() -> tuple[Field, ...]:
    performance = {name: Field(GROUPS[0], name, *row) for name, row in _PERFORMANCE.items()}
    kinds = {"s": "seconds", "share": "share", "error share": "share"}
    settings = {
        t.name: Field(GROUPS[1], t.name, kinds.get(t.unit, "number"), t.scale, t.low, t.high, t.unit) for t in TUNABLES
    }
    workload = [
        Field(GROUPS[2], name, kind, "linear" if kind == "share" else "log", low, high, unit)
        for name, (kind, low, high, unit) in WORKLOAD.items()
    ]
    limits = []  # a limit has the scale of what it limits, so that the network can compare them
    for name, (limited, _) in CONSTRAINTS.items():
        like = {**settings, **performance}[limited]
        limits.append(Field(GROUPS[3], name, like.kind, like.scale, like.low, like.high, like.unit))
    return (*performance.values(), *settings.values(), *workload, *limits)


FIELDS = _fields()


@dataclass
class Reading:
    """A request as the network sees it: ``inputs`` float32 ``[256]``, the known ``values`` by field path, the
    ``targets`` and their weights, and ``notes`` on values beyond what the network was trained on."""

    inputs: NDArray[np.float32]
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    targets: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Readings:
    """Several: ``inputs`` float32 ``[n, 256]``, ``values`` float64 ``[n, fields]`` (NaN = unknown), and the rest."""

    inputs: NDArray[np.float32]
    values: NDArray[np.float64]
    targets: list[dict[str, float]]
    notes: list[list[str]]


def _constants(
    fields: tuple[Field, ...], scale: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of the fields of a scale: their numbers, ``low``, ``high`` and, if it is logarithmic, the log of their ratio."""
    columns = [i for i, field in enumerate(fields) if field.scale == scale]
    own = [fields[i] for i in columns]
    ratio = [math.log(field.high / field.low) if scale == "log" else 1.0 for field in own]
    low, high = [field.low for field in own], [field.high for field in own]
    return np.array(columns, np.int64), np.array(low, np.float64), np.array(high, np.float64), np.array(ratio)


class Encoder:
    """Turns requests, or whole columns of simulated swarms, into network inputs; a model file stores its schema."""

    def __init__(self, fields: tuple[Field, ...] = FIELDS, targets: tuple[str, ...] = tuple(TARGETS)) -> None:
        self.fields = fields
        self.targets = targets
        self.width = 2 * len(fields) + len(targets)
        self._index = {field.path: i for i, field in enumerate(fields)}
        self._request = _request(fields, targets)
        self._places = {g: {f.name: i for i, f in enumerate(fields) if f.group == g} for g in GROUPS}
        self._are_shares = np.array([field.kind == "share" for field in fields])
        self._scales = {scale: _constants(fields, scale) for scale in ("linear", "log", "log0")}

    def place(self, group: str, name: str) -> int | None:
        """The number of a field among :attr:`fields`; None where there is no such field."""
        return self._places[group].get(name)

    def schema(self) -> dict[str, Any]:
        """The layout as JSON-ready values; :meth:`from_schema` is the inverse.

        >>> Encoder.from_schema(Encoder().schema()).width
        256
        """
        return {
            "version": 1,
            "fields": [asdict(field) for field in self.fields],
            "targets": list(self.targets),
            "recommendations": [recommendation.id for recommendation in RECOMMENDATIONS],
        }

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> Encoder:
        """The encoder that a model was trained with. Raises :class:`InputError` for another layout or catalogue."""
        try:
            if schema["version"] != 1 or schema["recommendations"] != [r.id for r in RECOMMENDATIONS]:
                raise InputError("the model answers for another catalogue of recommendations: train it again")
            return cls(tuple(Field(**field) for field in schema["fields"]), tuple(schema["targets"]))
        except (KeyError, TypeError) as error:
            raise InputError(f"the model's feature schema is not one of optimization ({error})") from None

    def encode_columns(
        self, columns: Mapping[str, Mapping[str, NDArray[np.float64]]], weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Inputs ``[n, 256]`` from columns ``[n]`` by group and name (NaN = unknown) and target weights ``[n, 12]``."""
        inputs = np.zeros((len(weights), self.width), dtype=np.float32)
        for index, field in enumerate(self.fields):
            value = field.scaled(columns[field.group][field.name])
            known = ~np.isnan(value)
            inputs[:, 2 * index] = np.where(known, value, 0.0)
            inputs[:, 2 * index + 1] = known
        inputs[:, 2 * len(self.fields) :] = weights
        return inputs

    def column(self, inputs: NDArray[np.float32], path: str) -> NDArray[np.float64]:
        """One field's values ``[n]`` read back from ``inputs [n, 256]``; NaN where unknown."""
        index = self._index[path]
        return np.where(inputs[:, 2 * index + 1] > 0, self.fields[index].unscaled(inputs[:, 2 * index]), np.nan)

    def slots(self, path: str) -> tuple[int, int]:
        """The slots of a field: its value's and its known flag's."""
        return 2 * self._index[path], 2 * self._index[path] + 1

    def encode(self, request: Any) -> Reading:
        """Check a request and encode it.

        ``request``: an object with ``current-performance`` (at least one metric) and, if known,
        ``current-settings``, ``workload``, ``constraints`` and ``optimization-targets`` (names, or names with weights;
        without it: latency, throughput, error rate and cost alike). Raises :class:`InputError` with the path.

        >>> reading = Encoder().encode({"current-performance": {"latency": "2m"},
        ...                             "optimization-targets": ["reduce-latency"]})
        >>> reading.values, reading.inputs.shape
        ({'current-performance.latency': 120.0}, (256,))
        >>> Encoder().encode({"current-performance": {"troughput": 45}})
        Traceback (most recent call last):
        claude_flow.errors.InputError: current-performance.troughput: no such field: did you mean throughput?
        """
        (found,), readings = self.encode_many([request])
        if isinstance(found, InputError):
            raise found
        known = np.flatnonzero(~np.isnan(readings.values[0]))
        values = {self.fields[i].path: float(readings.values[0, i]) for i in known}
        return Reading(readings.inputs[0], values, readings.targets[0], readings.notes[0])

    def encode_many(self, requests: Sequence[Any]) -> tuple[list[int | InputError], Readings]:
        """Check and encode several: for each request its row in the readings, or what :meth:`encode` raises."""
        found: list[int | InputError] = []
        good: list[dict[str, Any]] = []
        targets: list[dict[str, float]] = []
        are_objects = [request if isinstance(request, Mapping) else None for request in requests]
        checked = iter(schema.check_many([request for request in are_objects if request is not None], self._request))
        for request, is_object in zip(requests, are_objects, strict=True):
            try:
                if is_object is None:
                    raise schema.refused("the request", self._request.says, request)
                if isinstance(taken := next(checked), InputError):
                    raise taken
                if not taken.get(GROUPS[0]):
                    raise InputError(f"{GROUPS[0]}: name at least one metric, such as latency or throughput")
                targets.append(self._weights(taken.get(TARGETS_KEY, DEFAULT_TARGETS)))
                found.append(len(good))
                good.append(taken)
            except InputError as error:
                found.append(error)
        values = np.full((len(good), len(self.fields)), np.nan)
        rows: list[int] = []
        columns: list[int] = []
        numbers: list[float] = []
        for row, taken in enumerate(good):
            for group, places in self._places.items():
                if part := taken.get(group):
                    columns += [places[name] for name in part]
                    numbers += part.values()
                    rows += [row] * len(part)
        values[rows, columns] = numbers
        return found, self._read(values, targets)

    def _weights(self, given: Any) -> dict[str, float]:
        weights = given if isinstance(given, dict) else dict.fromkeys(given, 1.0)
        total = sum(weights.values())
        if not total > 0.0:
            raise InputError(f"{TARGETS_KEY}: give at least one of {', '.join(self.targets)}")
        return {name: weight / total for name, weight in weights.items() if weight > 0}

    def _read(self, values: NDArray[np.float64], targets: list[dict[str, float]]) -> Readings:
        inputs = np.zeros((len(values), self.width), np.float32)
        scaled = self._scaled(values)
        known = ~np.isnan(values)
        size = 2 * len(self.fields)
        inputs[:, 0:size:2] = np.where(known, scaled, 0.0)
        inputs[:, 1:size:2] = known
        places = {name: size + i for i, name in enumerate(self.targets)}
        for row, weights in zip(inputs, targets, strict=True):
            row[[places[name] for name in weights]] = list(weights.values())
        notes: list[list[str]] = [[] for _ in values]
        low_is_usual = (values == 0.0) | self._are_shares  # nothing waits, nothing fails
        with np.errstate(invalid="ignore"):
            beyond = (scaled > 1.2) | ((scaled < -1.2) & ~low_is_usual)
        for row, i in np.argwhere(beyond):
            field = self.fields[i]
            notes[row].append(
                f"{field.path}: {values[row, i]:g} is outside the range {field.low:g} to {field.high:g} that the "
                "network was trained on"
            )
        return Readings(inputs, values, targets, notes)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """:meth:`Field.scaled` of every field at once: ``[n, fields]``, NaN passes."""
        position = np.empty_like(values)
        for scale, (columns, low, high, ratio) in self._scales.items():
            value = values[:, columns]
            if scale == "linear":
                position[:, columns] = (value - low) / (high - low)
            elif scale == "log":
                position[:, columns] = np.log(np.maximum(value, low * 1e-3) / low) / ratio
            else:
                position[:, columns] = np.log1p(64.0 * value / high) / math.log(65.0)
        return np.clip(2.0 * position - 1.0, -CUT_OFF, CUT_OFF)


_KINDS: dict[str, schema.Kind] = {
    "share": schema.Number(0, 1),
    "number": schema.Number(0),
    "seconds": schema.Parsed("a duration such as 2m", duration, schema.Number(0)),
    "bytes": schema.Parsed("a size such as 16GB", lambda text: float(size(text)), schema.Number(0)),
}


def _request(fields: tuple[Field, ...], targets: tuple[str, ...]) -> schema.Record:
    """What a request may say."""
    groups: dict[str, schema.Kind] = {
        group: schema.Record({f.name: _KINDS[f.kind] for f in fields if f.group == group}, says="an object")
        for group in GROUPS
    }
    weights = schema.Record(dict.fromkeys(targets, schema.Number(0)), says="an object of weights")
    names = schema.List(schema.Choice(*targets), "name", unique="")
    return schema.Record({**groups, TARGETS_KEY: schema.Either(names, weights)})
