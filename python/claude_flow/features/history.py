"""Runs of the past, and what of them was known at the moment when a task was about to start.

The one rule: a run enters the history of a task only when it had **ended** by the task's decision time (its
submission, or its start where that is unknown). What is still running then has no duration, status or cost yet. All
of this is sorted-array arithmetic, so 70 000 runs take seconds; ``tests/python/test_prediction_history.py``
compares it with a loop that does nothing clever.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.features.text import hash_text

__all__ = ["NO_TIME", "NUMBERS", "SCOPES", "TARGETS", "History", "Runs", "as_of"]

Array = NDArray[Any]

TARGETS = ("duration", "steps", "cpu", "memory", "cost", "tokens", "retries", "queue")
_TARGET_COLUMNS = ("", "steps", "cpu_s", "memory_mb", "cost", "tokens", "retries", "queue_s")
# Everything below is kept as log1p: targets first, two more outcomes, then what is known at submission.
NUMBERS = (*TARGETS, "tool_calls", "requested", "processors", "prompt", "batch")
_OTHER_COLUMNS = ("tool_calls", "requested_s", "requested_processors", "prompt_chars", "batch_size")
KEYS = ("source", "task_type", "agent", "group", "model")
SCOPES = ("source", "type", "type in group", "agent", "same request", "similar")
NO_TIME = np.iinfo(np.int64).min

TEXT_WIDTH = 64  # of the description, for similarity only
QUANTILE_WINDOW = 20  # a scope's quantiles are those of its latest runs: habits change
SIMILAR = 16  # the runs behind the scope "similar"
_POOL = (64, 64, 64, 64, 64, 256)  # candidates per scope, the latest first; the last entry is the whole source

# A run that did not work on its task to an end of its own has no duration to learn from.
_NO_DURATION = frozenset({"censored", "rejected", "launch_error", "interrupted"})
_STOPPED = frozenset({"killed", "interrupted", "rejected", "timeout"})
_FAILED = frozenset({"failed", "timeout"})


@dataclass(frozen=True)
class Runs:
    """N runs as arrays; the rows of ``runs.parquet`` that can be used, in the order in which they were submitted.

    ``row`` int64 [N] is the row in the table; ``decision`` and ``end`` are int64 microseconds UTC (``NO_TIME`` =
    unknown); ``numbers`` float32 [N, len(NUMBERS)] holds log1p values, NaN = unknown; ``failed`` float32 [N] is
    1, 0 or NaN; ``stopped`` float32 [N] is 1 for a run that somebody ended; ``keys`` int64 [N, len(KEYS)] are
    hashes of names, 0 = unknown; ``text`` float32 [N, 64] is the hashed description.
    """

    row: Array
    decision: Array
    end: Array
    numbers: Array
    failed: Array
    stopped: Array
    keys: Array
    text: Array

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Array) -> Runs:
        """The given rows, in the given order."""
        return Runs(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any] | Array]) -> Runs:
        """Columns of a runs table to arrays; an absent column is unknown throughout.

        Times are int64 microseconds (``NO_TIME`` = unknown), numbers floats (NaN or None = unknown), the rest
        strings or None. A run whose recorded duration is zero or less is left out: the clock was wrong.

        >>> runs = Runs.from_columns({"start": [0], "duration_s": [9.0], "status": ["completed"], "agent": ["a"]})
        >>> float(np.expm1(runs.numbers[0, 0])), float(runs.failed[0]), int(runs.end[0])
        (9.0, 0.0, 9000000)
        """
        size = max((len(column) for column in columns.values()), default=0)

        def number(name: str) -> Array:
            values = np.asarray(columns.get(name, np.full(size, np.nan)), dtype=np.float64)
            return np.where(np.isfinite(values), values, np.nan)

        def text(name: str) -> list[str]:
            return [str(value) if value else "" for value in columns.get(name, [""] * size)]

        def time(name: str) -> Array:
            return np.asarray(columns.get(name, np.full(size, NO_TIME)), dtype=np.int64)

        status = np.array(text("status"), dtype=object)
        start, end, duration = time("start"), time("end"), number("duration_s")
        active = number("active_s")
        active = np.where(np.isnan(active), duration, active)
        micros = np.nan_to_num(duration * 1e6).astype(np.int64)
        known = ~np.isnan(duration)
        end = np.where((end == NO_TIME) & (start != NO_TIME) & known, start + micros, end)
        start = np.where((start == NO_TIME) & (end != NO_TIME) & known, end - micros, start)
        wait = np.maximum(np.nan_to_num(number("queue_s")), 0) * 1e6
        decision = time("submitted")
        decision = np.where((decision == NO_TIME) & (start != NO_TIME), start - wait.astype(np.int64), decision)
        timed = (decision != NO_TIME) & (end != NO_TIME)
        end = np.where(timed, np.maximum(end, decision + 1), NO_TIME)  # never part of its own history

        numbers = [np.where(np.isin(status, list(_NO_DURATION)), np.nan, active)]
        numbers += [number(column) for column in _TARGET_COLUMNS[1:]]
        numbers += [number(column) for column in _OTHER_COLUMNS]
        stacked = np.stack(numbers, 1)
        stacked = np.log1p(np.where(stacked >= 0, stacked, np.nan)).astype(np.float32)

        success = number("success")
        failed = np.where(np.isin(status, list(_FAILED)), 1.0, np.where(status == "completed", 0.0, np.nan))
        failed = np.where(np.isnan(success), failed, 1 - success).astype(np.float32)
        runs = cls(
            row=np.arange(size),
            decision=decision,
            end=end,
            numbers=stacked,
            failed=failed,
            stopped=np.isin(status, list(_STOPPED)).astype(np.float32),
            keys=np.stack([_codes(names) for names in _names(text)], 1),
            text=_hashed(text("description")),
        )
        usable = np.flatnonzero(~((duration <= 0) | (active <= 0)))
        return runs.take(usable[np.argsort(decision[usable], kind="stable")])


@dataclass(frozen=True)
class History:
    """What was known at the decision time of n open tasks, out of N runs. Everything here is as of that time.

    ``index`` int32 [n, K]: runs to show to the network, most useful first, -1 = none; ``finished`` int64 [n]: how
    many runs had ended; ``count`` and ``mean`` float32 [n, scopes, targets]: known values and the mean of their
    log1p (NaN without any); ``spread`` float32 [n, scopes, 4]: 10 %, 50 %, 90 % quantile of log1p duration over
    the latest 20 runs, and log1p of the mean duration of the last two; ``failures`` float32 [n, scopes, 2]: known
    outcomes, failed ones.
    """

    index: Array
    finished: Array
    count: Array
    mean: Array
    spread: Array
    failures: Array

    def take(self, rows: Array) -> History:
        """The given open tasks, in the given order."""
        return History(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def as_of(past: Runs, tasks: Runs, length: int) -> History:
    """History of every task in ``tasks`` (only its decision time, names, request and text are read) out of ``past``.

    Candidates are the latest 64 runs of each scope and the latest 256 of the source. They are ranked twice: by
    likeness to the task and by recency; a run's place is min(likeness rank, 3 x recency rank), so that about
    a quarter of the ``length`` places go to what happened last and the rest to what is most alike.
    """
    order = np.argsort(past.end, kind="stable")
    order = order[past.end[order] != NO_TIME]
    ends = past.end[order]
    now = np.searchsorted(ends, tasks.decision, side="right")  # how many runs had ended; 0 when the time is unknown
    scopes = [_Scope(ours, theirs, order, now) for ours, theirs in zip(_scope_keys(past), _scope_keys(tasks))]

    count, mean, failures, spread = [], [], [], []
    values = past.numbers[:, : len(TARGETS)].astype(np.float64)
    outcomes = np.stack([~np.isnan(past.failed), np.nan_to_num(past.failed)], 1).astype(np.float64)
    for scope in scopes:
        known = scope.total((~np.isnan(values)).astype(np.float64))
        count.append(known)
        with np.errstate(invalid="ignore"):
            mean.append(scope.total(np.nan_to_num(values)) / np.where(known > 0, known, np.nan))
        failures.append(scope.total(outcomes))
        spread.append(_spread(past.numbers[:, 0], scope.latest(QUANTILE_WINDOW)))

    index = np.full((len(tasks), length), -1, np.int32)
    alike = np.full((len(tasks), SIMILAR), -1, np.int64)
    for first in range(0, len(tasks), 1024):
        part = np.arange(first, min(first + 1024, len(tasks)))
        pool = np.concatenate([s.latest(size, part) for s, size in zip([*scopes, scopes[0]], _POOL)], axis=1)
        index[part], alike[part] = _rank(past, tasks.take(part), pool, length)

    found = alike >= 0
    nearest = np.where(found[..., None], values[alike], np.nan)
    known = (~np.isnan(nearest)).sum(1)
    count.append(known)
    with np.errstate(invalid="ignore"):
        mean.append(np.nansum(nearest, 1) / np.where(known > 0, known, np.nan))
    failures.append((outcomes[alike] * found[..., None]).sum(1))
    spread.append(_spread(past.numbers[:, 0], alike))

    return History(
        index=index,
        finished=now.astype(np.int64),
        count=np.stack(count, 1).astype(np.float32),
        mean=np.stack(mean, 1).astype(np.float32),
        spread=np.stack(spread, 1).astype(np.float32),
        failures=np.stack(failures, 1).astype(np.float32),
    )


class _Scope:
    """Runs that share a key, grouped and in the order in which they ended; for each task its slice of them."""

    def __init__(self, ours: Array, theirs: Array, order: Array, now: Array) -> None:
        names, group = np.unique(ours[order], return_inverse=True)
        by_group = np.argsort(group, kind="stable")
        self.members = order[by_group]
        # (group, rank of the end) as one ascending number: a task's slice is two binary searches.
        codes = group[by_group] * (len(order) + 1) + by_group
        place = np.clip(np.searchsorted(names, theirs), 0, max(len(names) - 1, 0))
        known = (theirs != 0) & (names[place] == theirs) if len(names) else np.zeros(len(theirs), bool)
        base = place * (len(order) + 1)
        self.first = np.where(known, np.searchsorted(codes, base), 0)
        self.last = np.where(known, np.searchsorted(codes, base + now), 0)

    def total(self, values: Array) -> Array:
        """Sum of ``values`` [N, k] over each task's slice: [n, k]."""
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values[self.members], 0)])
        result: Array = sums[self.last] - sums[self.first]
        return result

    def latest(self, size: int, tasks: Array | slice = slice(None)) -> Array:
        """The last ``size`` runs of each task's slice, latest first: int64 [n, size], -1 = none."""
        place = self.last[tasks, None] - 1 - np.arange(size)
        inside = place >= self.first[tasks, None]
        if not len(self.members):
            return np.full(place.shape, -1, np.int64)
        return np.where(inside, self.members[np.where(inside, place, 0)], -1)


def _scope_keys(runs: Runs) -> list[Array]:
    """One int64 key per run for each scope but "similar"; 0 = the run has no such scope."""
    source, kind, agent, group, _ = runs.keys.T
    request = _mix(*(_exact(runs.numbers[:, NUMBERS.index(name)]) for name in ("requested", "processors")))
    keys = [
        (source, source),
        (_mix(source, kind), kind),
        (_mix(source, kind, group), np.minimum(kind, group)),
        (_mix(source, agent), agent),
        (_mix(source, agent, kind, request), agent),
    ]
    return [np.where(needed != 0, key, 0) for key, needed in keys]


def _rank(past: Runs, tasks: Runs, pool: Array, length: int) -> tuple[Array, Array]:
    """Candidates [n, C] (-1 = none, repeats allowed) to the chosen ones [n, length] and the most alike [n, SIMILAR]."""
    pool = -np.sort(-pool, axis=1)  # a repeat now stands beside its twin: blank the second
    pool[:, 1:][pool[:, 1:] == pool[:, :-1]] = -1
    empty = pool < 0

    age = (tasks.decision[:, None] - past.end[pool]) / 86400e6
    like = -0.1 * np.log1p(np.maximum(age, 0))
    weights = {"task_type": 1.0, "agent": 1.0, "group": 0.5, "model": 0.5}
    for name, weight in weights.items():
        ours = tasks.keys[:, KEYS.index(name), None]
        like += weight * ((ours != 0) & (past.keys[pool, KEYS.index(name)] == ours))
    for column in (NUMBERS.index("requested"), NUMBERS.index("processors")):
        apart = np.abs(past.numbers[pool, column] - tasks.numbers[:, column, None])
        like += np.exp(-np.where(np.isnan(apart), np.inf, apart))
    like += 2 * np.einsum("nct,nt->nc", past.text[pool], tasks.text)

    like = np.where(empty, -np.inf, like)
    age = np.where(empty, np.inf, age)
    by_likeness = np.argsort(-like, axis=1, kind="stable")
    likeness_rank = np.argsort(by_likeness, axis=1, kind="stable")
    recency_rank = np.argsort(np.argsort(age, axis=1, kind="stable"), axis=1, kind="stable")
    place = np.where(empty, np.inf, np.minimum(likeness_rank, 3 * recency_rank) + 1e-3 * recency_rank)
    best = np.argsort(place, axis=1, kind="stable")[:, :length]
    chosen = np.full((len(pool), length), -1, np.int64)
    chosen[:, : best.shape[1]] = np.take_along_axis(pool, best, 1)
    return chosen, np.take_along_axis(pool, by_likeness[:, :SIMILAR], 1)


def _spread(duration: Array, window: Array) -> Array:
    """[n, W] runs, latest first, to [n, 4]: three quantiles of log1p duration and log1p of the last two's mean."""
    values = np.where(window >= 0, duration[window], np.nan).astype(np.float64)
    missing = np.isnan(values)
    known = (~missing).sum(1)
    ascending = np.sort(values, axis=1)  # NaN last
    result = np.full((len(values), 4), np.nan)
    rows = np.flatnonzero(known)
    for column, level in enumerate((0.1, 0.5, 0.9)):
        place = level * (known[rows] - 1)
        low = place.astype(np.int64)
        high = np.minimum(low + 1, known[rows] - 1)
        below, above = ascending[rows, low], ascending[rows, high]
        result[rows, column] = below + (place - low) * (above - below)
    latest = np.take_along_axis(values, np.argsort(missing, axis=1, kind="stable")[:, :2], 1)[rows]
    result[rows, 3] = np.log1p(np.nanmean(np.expm1(latest), axis=1))
    return result


def _names(text: Callable[[str], list[str]]) -> list[list[str]]:
    """The columns of a runs table that become KEYS.

    User names mean something only inside their own log, so a run with a user belongs to the source (format, log);
    a kind of task is whatever the log tells about it; the group is the project, or else the session.
    """
    source, user, agent, group, project = (text(name) for name in ("source", "user", "agent", "group", "project"))
    kinds = zip(*(text(name) for name in ("task_type", "executable", "queue", "partition")))
    return [
        [f"{s}/{g}" if u else s or "-" for s, u, g in zip(source, user, group)],
        [" ".join(kind).strip() for kind in kinds],
        [u or a for u, a in zip(user, agent)],
        [p or g for p, g in zip(project, group)],
        [m or a for m, a in zip(text("model"), text("agent_type"))],
    ]


def _exact(numbers: Array) -> Array:
    """Floats to integers that are equal where the floats are (all NaN are one)."""
    return np.where(np.isnan(numbers), np.float32(-1), numbers).astype(np.float32).view(np.int32)


def _codes(names: list[str]) -> Array:
    """Stable 63-bit hashes of names; 0 for the empty name."""
    unique = {name: zlib.crc32(name.encode()) * 2**30 + zlib.crc32(b"#" + name.encode()) % 2**30 for name in set(names)}
    unique[""] = 0
    return np.fromiter((unique[name] for name in names), np.int64, len(names))


def _mix(*keys: Array) -> Array:
    """Several int64 keys to one (wrapping multiply-add): equal inputs give equal outputs, others hardly ever."""
    result = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        result = (result ^ key.astype(np.int64).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    return (result >> np.uint64(1)).astype(np.int64) + 1


def _hashed(texts: list[str]) -> Array:
    """Hashed descriptions, each distinct one once."""
    vectors = {text: hash_text(text, TEXT_WIDTH) for text in set(texts)}
    return np.stack([vectors[text] for text in texts]) if texts else np.zeros((0, TEXT_WIDTH), np.float32)
