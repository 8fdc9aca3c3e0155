"""Swarms to tokens: one state token, one per agent, one per task, each 512 wide. Training and inference share this.

Slots of a token (every number comes with a slot that says whether it is known):

======== =====================================================================================================
0-2      kind: state, agent, task
3-31     named numbers, ``NUMBERS`` below
32-95    skill buckets. Task: one-hot of its type's hash. Agent: its mean advantage on past tasks of that bucket
96-159   further numeric task features, standardized, hashed by name
160-335  text hash. Agent: type and capabilities. Task: type, description and requirements
336-511  text hash. Agent: mean of (advantage x text) over its past tasks. Task: as above
======== =====================================================================================================

The *advantage* of an agent on a past task is its utility there minus the mean utility of the agents that could have
had the task, so the products of task and agent slots say how well such tasks went with this agent before.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import schema
from claude_flow.errors import InputError
from claude_flow.networks.scale import Scaler
from claude_flow.networks.text import hash_texts

__all__ = ["WIDTH", "Encoder", "History", "Swarm", "parse_request", "parse_requests"]

WIDTH = 512
STATE, AGENT, TASK = 0, 1, 2
BUCKETS = slice(32, 96)
FEATURES = slice(96, 160)
TEXT = slice(160, 336)
PAST = slice(336, 512)
_TEXT_WIDTH = 176

NUMBERS = {
    name: 3 + i
    for i, name in enumerate(
        (
            *("load", "load known"),
            *("past tasks (log)", "success rate", "advantage", "history known"),
            *("priority", "priority known", "complexity", "complexity known"),
            *("memory usage", "memory known", "cpu usage", "cpu known", "latency (log)", "latency known"),
            *("agents (log)", "tasks (log)", "mean load", "largest load"),
        )
    )
}
PRIORITIES = {"low": 0.0, "medium": 1 / 3, "high": 2 / 3, "critical": 1.0}
#: Pseudo-observations that pull an agent's mean advantage towards zero while it has few past tasks.
SHRINKAGE = 8.0

#: Parts of a token that an explanation names, as slices or slot lists.
GROUPS: dict[str, dict[str, Any]] = {
    "agent": {
        "type and capabilities": TEXT,
        "load": [NUMBERS["load"], NUMBERS["load known"]],
        "track record": [NUMBERS[n] for n in ("past tasks (log)", "success rate", "advantage", "history known")],
        "track record by task type": BUCKETS,
        "past tasks' texts": PAST,
    },
    "task": {
        "type and description": [*range(TEXT.start, PAST.stop), *range(BUCKETS.start, BUCKETS.stop)],
        "priority": [NUMBERS["priority"], NUMBERS["priority known"]],
        "complexity": [NUMBERS["complexity"], NUMBERS["complexity known"]],
        "numeric features": FEATURES,
    },
    "state": {
        "memory usage": [NUMBERS["memory usage"], NUMBERS["memory known"]],
        "cpu usage": [NUMBERS["cpu usage"], NUMBERS["cpu known"]],
        "network latency": [NUMBERS["latency (log)"], NUMBERS["latency known"]],
    },
}


@dataclass(frozen=True)
class Swarm:
    """A checked request: agents, tasks and the state of the system, each as plain dictionaries."""

    agents: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    state: dict[str, Any]


@dataclass(frozen=True)
class History:
    """What past outcomes say of ``A`` agents: counts ``[A]``, mean utility ``[A]``, mean advantage ``[A]``,
    advantage by skill bucket ``[A, 64]`` and advantage-weighted text ``[A, 176]``, all float32."""

    count: NDArray[np.float32]
    utility: NDArray[np.float32]
    advantage: NDArray[np.float32]
    buckets: NDArray[np.float32]
    text: NDArray[np.float32]

    @classmethod
    def of(cls, tasks: NDArray[np.float32], utility: NDArray[np.float32]) -> History:
        """Summarize outcomes: task tokens ``[N, 512]`` and utilities ``[N, A]`` with NaN where nothing was observed.

        >>> past = History.of(np.zeros((2, WIDTH), np.float32), np.array([[1, 0], [1, np.nan]], np.float32))
        >>> past.count.tolist(), past.utility.tolist()
        ([2.0, 1.0], [1.0, 0.0])
        """
        seen = np.isfinite(utility)
        count = seen.sum(axis=0).astype(np.float32)
        known = np.where(seen, utility, 0)
        mean = known.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
        advantage = np.where(seen, known - mean, 0).astype(np.float32)
        one_hot = tasks[:, BUCKETS]
        in_bucket = seen.T.astype(np.float32) @ one_hot
        return cls(
            count,
            (known.sum(axis=0) / np.maximum(count, 1)).astype(np.float32),
            advantage.sum(axis=0) / (count + np.float32(SHRINKAGE)),
            (advantage.T @ one_hot) / (in_bucket + np.float32(SHRINKAGE)),
            (advantage.T @ tasks[:, TEXT]) / np.maximum(count, 1)[:, None] * np.float32(4.0),
        )


class Encoder:
    """Encode swarms as tokens; ``schema()`` is stored in the model file, so inference encodes as training did.

    ``features`` maps the names of numeric task features to their normalization. ``describe`` says whether free-text
    descriptions are read.
    """

    def __init__(self, features: Mapping[str, Scaler] | None = None, describe: bool = True) -> None:
        self.features = dict(features or {})
        self.describe = describe

    def schema(self) -> dict[str, Any]:
        """The schema as JSON-ready values.

        >>> Encoder.from_schema(Encoder({"files": Scaler("z-score", (2.0, 1.5))}).schema()).features
        {'files': Scaler(kind='z-score', parameters=(2.0, 1.5))}
        """
        features = {name: scaler.to_json() for name, scaler in self.features.items()}
        return {
            "encoder": "coordination",
            "version": 1,
            "width": WIDTH,
            "features": features,
            "describe": self.describe,
        }

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> Encoder:
        """The encoder of a stored schema; raises :class:`InputError` for another network's or version's."""
        if schema.get("encoder") != "coordination" or schema.get("version") != 1 or schema.get("width") != WIDTH:
            raise InputError(
                f"the feature schema is {schema.get('encoder')!r} version {schema.get('version')!r}; "
                "this version reads 'coordination' version 1: train the model again"
            )
        features, describe = schema.get("features"), schema.get("describe")
        if not isinstance(features, dict) or not isinstance(describe, bool):
            raise InputError("the feature schema lacks features or describe; the model file is damaged")
        return cls({name: Scaler.from_json(stored) for name, stored in features.items()}, describe)

    def state(self, state: Mapping[str, float], agents: Sequence[Mapping[str, Any]], tasks: int) -> NDArray[np.float32]:
        """The state token ``[512]``: usage shares, latency in milliseconds, the sizes of the swarm."""
        token = np.zeros(WIDTH, np.float32)
        token[STATE] = 1
        _put(token, "memory usage", "memory known", state.get("memory-usage"))
        _put(token, "cpu usage", "cpu known", state.get("cpu-usage"))
        latency = state.get("network-latency")
        _put(token, "latency (log)", "latency known", None if latency is None else math.log1p(latency) / 5)
        token[NUMBERS["agents (log)"]] = math.log1p(len(agents)) / 5
        token[NUMBERS["tasks (log)"]] = math.log1p(tasks) / 5
        loads = [agent["load"] for agent in agents if agent.get("load") is not None]
        if loads:
            token[NUMBERS["mean load"]] = sum(loads) / len(loads)
            token[NUMBERS["largest load"]] = max(loads)
        return token

    def agent(self, agent: Mapping[str, Any]) -> NDArray[np.float32]:
        """An agent's token ``[512]`` from type, capabilities, load and its own ``track-record``, if it brings one."""
        token = np.zeros(WIDTH, np.float32)
        self._agents(token[None], np.zeros(1, np.int64), [agent])
        return token

    def _agents(self, x: NDArray[np.float32], rows: NDArray[np.int64], agents: Sequence[Mapping[str, Any]]) -> None:
        """Fill in the given rows of the tokens ``x``, zeros so far."""
        x[rows, AGENT] = 1
        _fill(x, rows, "load", "load known", [agent.get("load") for agent in agents])
        texts = [" ".join([agent.get("type") or "", *agent.get("capabilities", ())]) for agent in agents]
        x[rows, TEXT] = hash_texts(texts, _TEXT_WIDTH)
        for row, agent in zip(rows, agents, strict=True):
            if record := agent.get("track-record"):
                self._track_record(x[row], record)

    def _track_record(self, token: NDArray[np.float32], record: Mapping[str, Any]) -> None:
        count, rate = float(record["tasks"]), float(record["success-rate"])
        base = float(record.get("swarm-success-rate", 0.5))
        token[NUMBERS["past tasks (log)"]] = math.log1p(count) / 5
        token[NUMBERS["success rate"]] = rate
        token[NUMBERS["advantage"]] = (rate - base) * count / (count + SHRINKAGE)
        token[NUMBERS["history known"]] = float(count > 0)
        for kind, part in record.get("by-type", {}).items():
            n = float(part["tasks"])
            token[BUCKETS.start + bucket(kind)] += (float(part["success-rate"]) - base) * n / (n + SHRINKAGE)

    def with_history(self, agents: NDArray[np.float32], past: History) -> NDArray[np.float32]:
        """Agent tokens ``[A, 512]`` with their history slots filled from past outcomes."""
        agents = agents.copy()
        agents[:, NUMBERS["past tasks (log)"]] = np.log1p(past.count) / 5
        agents[:, NUMBERS["success rate"]] = past.utility
        agents[:, NUMBERS["advantage"]] = past.advantage
        agents[:, NUMBERS["history known"]] = past.count > 0
        agents[:, BUCKETS] = past.buckets
        agents[:, PAST] = past.text
        return agents

    def task(self, task: Mapping[str, Any]) -> NDArray[np.float32]:
        """A task's token ``[512]`` from type, description, requirements, priority, complexity, numeric features."""
        token = np.zeros(WIDTH, np.float32)
        self._tasks(token[None], np.zeros(1, np.int64), [task])
        return token

    def _tasks(self, x: NDArray[np.float32], rows: NDArray[np.int64], tasks: Sequence[Mapping[str, Any]]) -> None:
        """Fill in the given rows of the tokens ``x``, zeros so far."""
        x[rows, TASK] = 1
        priorities = [task.get("priority") for task in tasks]
        priorities = [PRIORITIES[p] if isinstance(p, str) else p for p in priorities]
        _fill(x, rows, "priority", "priority known", priorities)
        _fill(x, rows, "complexity", "complexity known", [task.get("complexity") for task in tasks])
        kinds = [task.get("type") or "" for task in tasks]
        typed = [i for i, kind in enumerate(kinds) if kind]
        x[rows[typed], [BUCKETS.start + bucket(kinds[i]) for i in typed]] = 1
        texts = [
            " ".join([kind, (task.get("description") or "") if self.describe else "", *task.get("requires", ())])
            for kind, task in zip(kinds, tasks, strict=True)
        ]
        x[rows, TEXT] = x[rows, PAST] = hash_texts(texts, _TEXT_WIDTH)
        given: dict[str, tuple[list[int], list[float]]] = {}
        for i, task in enumerate(tasks):
            for name, value in task.get("features", {}).items():
                if name in self.features and value is not None and math.isfinite(value):
                    places, values = given.setdefault(name, ([], []))
                    places.append(i)
                    values.append(value)
        for name, (places, values) in given.items():
            code = zlib.crc32(name.encode())
            sign = np.float32(1 if code & 0x80000000 else -1)
            x[rows[places], FEATURES.start + code % 64] += sign * self.features[name].apply(np.array(values))

    def swarm(self, swarm: Swarm) -> NDArray[np.float32]:
        """Tokens ``[1, 1 + agents + tasks, 512]`` of a request."""
        return self.swarms([swarm])

    def swarms(self, swarms: Sequence[Swarm]) -> NDArray[np.float32]:
        """Tokens ``[B, T, 512]`` of several requests, those of shorter ones padded with zeros."""
        agents, tasks = (np.array([len(part) for part in parts]) for parts in zip(
            *[(swarm.agents, swarm.tasks) for swarm in swarms], strict=True))  # fmt: skip
        length = int((1 + agents + tasks).max())
        x = np.zeros((len(swarms), length, WIDTH), np.float32)
        for token, swarm in zip(x, swarms, strict=True):
            token[0] = self.state(swarm.state, swarm.agents, len(swarm.tasks))
        flat, begin = x.reshape(-1, WIDTH), np.arange(len(swarms)) * length + 1
        self._agents(flat, _runs(begin, agents), [agent for swarm in swarms for agent in swarm.agents])
        self._tasks(flat, _runs(begin + agents, tasks), [task for swarm in swarms for task in swarm.tasks])
        return x


def _runs(begin: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each ``begin`` on, so many as ``sizes`` say.

    >>> _runs(np.array([0, 10]), np.array([2, 3])).tolist()
    [0, 1, 10, 11, 12]
    """
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers: NDArray[np.int64] = np.repeat(begin, sizes) + within
    return numbers


@lru_cache(maxsize=65536)
def bucket(kind: str) -> int:
    """Skill bucket (0-63) of a task type; case does not matter."""
    return zlib.crc32(kind.strip().lower().encode()) % 64


def _fill(
    x: NDArray[np.float32], rows: NDArray[np.int64], name: str, known: str, column: Sequence[float | None]
) -> None:
    """A number per row, None where it is unknown."""
    values = np.array(column, np.float64)  # None becomes NaN
    is_known = ~np.isnan(values)
    x[rows, NUMBERS[name]] = np.where(is_known, values, 0)
    x[rows, NUMBERS[known]] = is_known


def _put(token: NDArray[np.float32], name: str, known: str, value: float | None) -> None:
    if value is not None:
        token[NUMBERS[name]] = value
        token[NUMBERS[known]] = 1


# -- the request ------------------------------------------------------------------------------------------------------

_SHARE, _COUNT = schema.Number(0, 1), schema.Number(0)
_OUTCOMES: dict[str, schema.Kind] = {"tasks": _COUNT, "success-rate": _SHARE, "swarm-success-rate": _SHARE}
_PART = schema.Record(_OUTCOMES, required=("tasks", "success-rate"))
_AGENT = schema.Record(
    {
        "id": schema.Text(),
        "type": schema.Text(blank=True),
        "load": _SHARE,
        "capabilities": schema.List(schema.Text(blank=True)),
        "speed": schema.Number(0.01, 100),
        "cost-per-hour": _COUNT,
        "past-tasks": _COUNT,
        "free-in-minutes": _COUNT,
        "track-record": schema.Record({**_OUTCOMES, "by-type": schema.Table(_PART)}, required=_PART.required),
    },
    required=("id",),
)
_TASK = schema.Record(
    {
        "id": schema.Text(),
        "type": schema.Text(blank=True),
        "description": schema.Text(blank=True),
        "priority": schema.Either(schema.Choice(*PRIORITIES), _SHARE),
        "complexity": _SHARE,
        "requires": schema.List(schema.Text(blank=True)),
        "features": schema.Table(schema.Number()),
    },
    required=("id",),
)
_REQUEST = schema.Record(
    {
        "current-agents": schema.List(_AGENT, "agent", least=1, unique="id"),
        "pending-tasks": schema.List(_TASK, "task", least=1, unique="id"),
        "system-state": schema.Record({"memory-usage": _SHARE, "cpu-usage": _SHARE, "network-latency": _COUNT}),
    },
    required=("current-agents", "pending-tasks"),
    says="a JSON object with current-agents, pending-tasks, system-state",
)


def parse_request(request: Any, max_tokens: int = 128) -> Swarm:
    """Check a request of the spec's form ("Coordination Inference") and return it as a :class:`Swarm`.

    Raises :class:`InputError` that names the place and what belongs there, for unknown fields, wrong types, numbers
    out of range or not finite, empty or duplicate ids, no agents, no tasks, or more than ``max_tokens`` tokens.

    >>> parse_request({"current-agents": [], "pending-tasks": []})
    Traceback (most recent call last):
    ...
    claude_flow.errors.InputError: input.current-agents is empty: name at least one agent
    """
    (found,) = parse_requests([request], max_tokens)
    if isinstance(found, InputError):
        raise found
    return found


def parse_requests(requests: Sequence[Any], max_tokens: int = 128) -> list[Swarm | InputError]:
    """:func:`parse_request` of each request, or the error that it raises."""
    found: list[Swarm | InputError] = []
    for checked in schema.check_many(requests, _REQUEST, "input"):
        if isinstance(checked, InputError):
            found.append(checked)
            continue
        agents, tasks = checked["current-agents"], checked["pending-tasks"]
        tokens = 1 + len(agents) + len(tasks)
        if tokens <= max_tokens:
            found.append(Swarm(agents, tasks, checked.get("system-state", {})))
        else:
            found.append(
                InputError(
                    f"input: {tokens - 1} agents and tasks and one state make {tokens} tokens, "
                    f"but the network takes {max_tokens}: split the tasks into several requests"
                )
            )
    return found
