"""Runs of the past, and what of them was known at the moment when a task was about to start.

The one rule: a run enters the history of a task only when it had **ended** by the task's decision time (its
submission, or its start where that is unknown). What is still running then has no duration, status or cost yet. All
of this is sorted-array arithmetic, so 70 000 runs take seconds; ``tests/networks/prediction``
compares it with a loop that does nothing clever.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.networks.coded import Coded, combined
from claude_flow.networks.text import hash_text

__all__ = [
    "CHUNK",
    "KEYS",
    "LATEST",
    "NO_TIME",
    "NUMBERS",
    "RECENT",
    "SCOPES",
    "TARGETS",
    "History",
    "Runs",
    "as_of",
    "as_of_parts",
    "source_names",
]

Array = NDArray[Any]

TARGETS = ("duration", "steps", "cpu", "memory", "cost", "tokens", "retries", "queue")
_TARGET_COLUMNS = ("", "steps", "cpu_s", "memory_mb", "cost", "tokens", "retries", "queue_s")
# Everything below is kept as log1p: targets first, two more outcomes, then what is known at submission.
NUMBERS = (*TARGETS, "tool_calls", "requested", "processors", "prompt", "batch")
_OTHER_COLUMNS = ("tool_calls", "requested_s", "requested_processors", "prompt_chars", "batch_size")
KEYS = ("source", "task_type", "agent", "group", "model", "task")
SCOPES = ("source", "type", "type in group", "agent", "same request", "similar")
RECENT = ("agent", "same request")  # scopes whose latest runs are told one by one, as LATEST
LATEST = ("duration", "requested apart", "processors apart", "failed", "age")
_OWN = ("agent", "task_type", "group")
NO_TIME = np.iinfo(np.int64).min

TEXT_WIDTH = 64  # of the description, for similarity only
SIMILAR = 16  # the runs behind the scope "similar"
_SINGLE = 3  # runs of each scope in RECENT
# Latest runs of each scope that count. Habits change: with 8 instead of all runs of an agent or a request, the
# anchor's error of log1p duration on two cluster logs falls from 1.54 to 1.22 and from 1.77 to 1.28.
_WINDOWS = (64, 64, 64, 8, 8)
_POOL = (256, 64, 64, 64, 64)  # latest runs of each scope among which the sequence is chosen
CHUNK = 512
_FEW_TASKS = 32  # whose candidates' texts, 4 MB, stay in the cache while they are compared
_DISTINCT = 8192  # texts hashed at a time
_LARGEST = 1e12  # a larger number (30 000 years, a million million tokens) is no measurement: unknown

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
    def from_columns(cls, columns: Mapping[str, Sequence[Any] | Array | Coded]) -> Runs:
        """Columns of a runs table to arrays; an absent column is unknown throughout.

        Times are int64 microseconds (``NO_TIME`` = unknown), numbers floats (NaN or None = unknown), the rest
        strings or None, or a :class:`Coded` of them. A run whose recorded duration is zero or less is left out: the
        clock was wrong.

        >>> runs = Runs.from_columns({"start": [0], "duration_s": [9.0], "status": ["completed"], "agent": ["a"]})
        >>> float(np.expm1(runs.numbers[0, 0])), float(runs.failed[0]), int(runs.end[0])
        (9.0, 0.0, 9000000)
        """
        size = _size(columns)

        def number(name: str) -> Array:
            values = np.asarray(columns.get(name, np.full(size, np.nan)), dtype=np.float64)
            return np.where(np.abs(values) < _LARGEST, values, np.nan)

        def text(name: str) -> Coded:
            return _text(columns, name, size)

        def time(name: str) -> Array:
            return np.asarray(columns.get(name, np.full(size, NO_TIME)), dtype=np.int64)

        rows, decision, end, active = _clock(number, time)
        status = text("status").take(rows)
        numbers = np.empty((len(rows), len(NUMBERS)), np.float32)
        for i, name in enumerate((*_TARGET_COLUMNS, *_OTHER_COLUMNS)):
            values = number(name)[rows] if name else np.where(status.among(_NO_DURATION), np.nan, active)
            numbers[:, i] = np.log1p(np.where(values >= 0, values, np.nan))

        keys = np.empty((len(rows), len(KEYS)), np.int64)
        for i, names in enumerate(_names(text)):
            keys[:, i] = _codes(names.take(rows))
            del names  # of a large log's tasks they take as much as all its numbers
        success = number("success")[rows]
        completed = status.among(frozenset({"completed"}))
        failed = np.where(status.among(_FAILED), 1.0, np.where(completed, 0.0, np.nan))
        failed = np.where(np.isnan(success), failed, 1 - success).astype(np.float32)
        return cls(
            row=rows,
            decision=decision,
            end=end,
            numbers=numbers,
            failed=failed,
            stopped=status.among(_STOPPED).astype(np.float32),
            keys=keys,
            text=_hashed(text("description").take(rows)),
        )


def _clock(number: Callable[[str], Array], time: Callable[[str], Array]) -> tuple[Array, Array, Array, Array]:
    """The rows that can be used, in the order of their decisions, and for each its decision, end and active seconds."""
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
    usable = np.flatnonzero(~((duration <= 0) | (active <= 0)))
    rows = usable[np.argsort(decision[usable], kind="stable")]
    return rows, decision[rows], end[rows], active[rows]


@dataclass(frozen=True)
class History:
    """What was known at the decision time of n open tasks, out of N runs. Everything here is as of that time.

    ``index`` int32 [n, K]: runs to show to the network, most useful first, -1 = none; ``finished`` int64 [n]: how
    many runs had ended; ``seen`` float32 [n, scopes]: how many of the scope had. Of the scope's latest runs:
    ``count`` and ``mean`` float32 [n, scopes, targets], known values and the mean of their log1p (0 without any);
    ``spread`` float32 [n, scopes, 4], 10 %, 50 %, 90 % quantile of log1p duration and log1p of the mean duration
    of the last two; ``failures`` float32 [n, scopes, 2], known outcomes and failed ones; ``latest`` float32
    [n, len(RECENT), 3, len(LATEST)], the last three runs one by one: log1p duration, log ratios of their requested
    time and processors to the task's, whether they failed, log1p of the seconds since they ended (NaN = unknown).
    """

    index: Array
    finished: Array
    seen: Array
    count: Array
    mean: Array
    spread: Array
    failures: Array
    latest: Array

    def take(self, rows: Array) -> History:
        """The given open tasks, in the given order."""
        return History(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def means(self) -> History:
        """The same tasks with only ``finished``, ``seen``, ``count`` and ``mean``, which an encoder is fitted on."""
        kept = ("finished", "seen", "count", "mean")
        nothing = np.empty((len(self.finished), 0), np.float32)  # no view, which would keep the whole array
        return History(**{f.name: getattr(self, f.name) if f.name in kept else nothing for f in fields(self)})

    def forgotten(self) -> History:
        """The same tasks with no history at all."""
        empty = {f.name: np.zeros_like(getattr(self, f.name)) for f in fields(self)}
        blank = {name: np.full_like(getattr(self, name), np.nan) for name in ("spread", "latest")}
        return History(**{**empty, **blank, "index": np.full_like(self.index, -1)})


def as_of(past: Runs, tasks: Runs, length: int) -> History:
    """History of every task in ``tasks`` (only its decision time, names, request and text are read) out of ``past``.

    Candidates for the sequence are the latest 64 runs of each scope and the latest 256 of the source. Three
    rankings choose among them in turn: likeness to the task, recency among the runs of the same agent (or, of an
    agent without a history, of the same kind and group), and, for every sixth place, recency alone.
    """
    found = list(as_of_parts(past, tasks, length))
    return History(**{f.name: np.concatenate([getattr(part, f.name) for part in found]) for f in fields(History)})


def as_of_parts(past: Runs, tasks: Runs, length: int) -> Iterator[History]:
    """The same, some hundred tasks at a time: the history of all of a large log need not fit into memory."""
    order = np.argsort(past.end, kind="stable")
    order = order[past.end[order] != NO_TIME]
    # How many runs had ended by the decision; none when its time is unknown.
    now = np.searchsorted(past.end[order], tasks.decision, side="right")
    scopes = [
        _Scope(ours, theirs, order, now) for ours, theirs in zip(_scope_keys(past), _scope_keys(tasks), strict=True)
    ]
    for first in range(0, max(len(tasks), 1), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(tasks)))
        yield _as_of(past, tasks.take(rows), scopes, now[rows], rows, length)


def _as_of(past: Runs, tasks: Runs, scopes: list[_Scope], now: Array, rows: Array, length: int) -> History:
    pools = [scope.latest(size, rows) for scope, size in zip(scopes, _POOL, strict=True)]
    index, alike = _rank(past, tasks, np.concatenate(pools, axis=1), length)
    windows = [pool[:, :size] for pool, size in zip(pools, _WINDOWS, strict=True)] + [alike]
    seen = [scope.last[rows] - scope.first[rows] for scope in scopes] + [(alike >= 0).sum(1)]
    count, mean, failures = [], [], []
    for window in windows:
        there = (window >= 0)[..., None]
        values = np.where(there, past.numbers[window, : len(TARGETS)], np.nan).astype(np.float64)
        known = (~np.isnan(values)).sum(1)
        count.append(known)
        mean.append(np.nansum(values, 1) / np.maximum(known, 1))
        outcome = np.where(there[..., 0], past.failed[window], np.nan)
        failures.append(np.stack([(~np.isnan(outcome)).sum(1), np.nansum(outcome, 1)], 1))
    arrays = {"seen": seen, "count": count, "mean": mean, "failures": failures}
    stacked = {name: np.stack(values, 1).astype(np.float32) for name, values in arrays.items()}
    spread = np.stack([_spread(past.numbers[:, 0], window[:, :20]) for window in windows], 1).astype(np.float32)
    single = np.stack([_singly(past, tasks, pools[SCOPES.index(scope)][:, :_SINGLE]) for scope in RECENT], 1)
    return History(index=index.astype(np.int32), finished=now.astype(np.int64), spread=spread, latest=single, **stacked)


def _singly(past: Runs, tasks: Runs, window: Array) -> Array:
    """Runs [n, W] one by one: float32 [n, W, len(LATEST)]."""
    age = np.maximum((tasks.decision[:, None] - past.end[window]) / 1e6, 0)
    apart = past.numbers[window] - tasks.numbers[:, None]
    columns = [past.numbers[window, 0], *(apart[..., NUMBERS.index(name)] for name in ("requested", "processors"))]
    columns += [past.failed[window], np.log1p(age)]
    return np.where(window[..., None] >= 0, np.stack(columns, -1), np.nan).astype(np.float32)


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

    def latest(self, size: int, tasks: Array) -> Array:
        """The last ``size`` runs of the slices of ``tasks`` [n], latest first: int64 [n, size], -1 = none."""
        place = self.last[tasks, None] - 1 - np.arange(size)
        inside = place >= self.first[tasks, None]
        if not len(self.members):
            return np.full(place.shape, -1, np.int64)
        return np.where(inside, self.members[np.where(inside, place, 0)], -1)


def _scope_keys(runs: Runs) -> Iterator[Array]:
    """One int64 key per run for each scope but "similar"; 0 = the run has no such scope."""
    source, kind, agent, group, *_ = runs.keys.T
    yield source
    yield np.where(kind != 0, _mix(source, kind), 0)
    yield np.where(np.minimum(kind, group) != 0, _mix(source, kind, group), 0)
    yield np.where(agent != 0, _mix(source, agent), 0)
    request = _mix(*(_exact(runs.numbers[:, NUMBERS.index(name)]) for name in ("requested", "processors")))
    yield np.where(agent != 0, _mix(source, agent, kind, request), 0)


def _rank(past: Runs, tasks: Runs, pool: Array, length: int) -> tuple[Array, Array]:
    """Candidates [n, C] (-1 = none, repeats allowed) to the chosen ones [n, length] and the most alike [n, SIMILAR]."""
    pool = -np.sort(-pool, axis=1)  # a repeat now stands beside its twin: blank the second
    pool[:, 1:][pool[:, 1:] == pool[:, :-1]] = -1
    empty = pool < 0
    # Neighbouring tasks share most candidates: looked up among those alone, they stay in the cache.
    named = np.zeros(len(past), np.bool_)
    named[pool[~empty]] = True
    own_rows = np.flatnonzero(named)
    place_of = np.zeros(len(past), np.int64)
    place_of[own_rows] = np.arange(len(own_rows))
    candidates, whole = np.where(empty, 0, place_of[pool]), pool
    past, pool = past.take(own_rows if len(own_rows) else np.arange(min(len(past), 1))), candidates

    age = (tasks.decision[:, None] - past.end[pool]) / 86400e6
    like = -0.1 * np.log1p(np.maximum(age, 0))
    weights = {"task_type": 1.0, "agent": 1.0, "group": 0.5, "model": 0.5}
    for name, weight in weights.items():
        ours = tasks.keys[:, KEYS.index(name), None]
        like += weight * ((ours != 0) & (past.keys[pool, KEYS.index(name)] == ours))
    for column in (NUMBERS.index("requested"), NUMBERS.index("processors")):
        apart = np.abs(past.numbers[pool, column] - tasks.numbers[:, column, None])
        like += np.exp(-np.where(np.isnan(apart), np.inf, apart))
    for first in range(0, len(pool), _FEW_TASKS):
        part = slice(first, first + _FEW_TASKS)
        like[part] += 2 * np.einsum("nct,nt->nc", past.text[pool[part]], tasks.text[part])

    like = np.where(empty, -np.inf, like)
    age = np.where(empty, np.inf, age)
    agent, kind, group = (past.keys[pool, i] == tasks.keys[:, i, None] for i in map(KEYS.index, _OWN))
    agent &= tasks.keys[:, KEYS.index("agent"), None] != 0
    own = np.where((agent & ~empty).any(1, keepdims=True), agent, kind & group)
    by_likeness = np.argsort(-like, axis=1, kind="stable")
    places = (
        6 * _ranks(age),
        2 * _ranks(np.where(own, age, np.inf)) + 1 + np.where(own, 0, 1e6),
        2 * _inverse(by_likeness),
    )
    place = np.where(empty, np.inf, np.minimum.reduce(places))
    best = np.argsort(place, axis=1, kind="stable")[:, :length]
    chosen = np.full((len(pool), length), -1, np.int64)
    chosen[:, : best.shape[1]] = np.take_along_axis(whole, best, 1)
    return chosen, np.take_along_axis(whole, by_likeness[:, :SIMILAR], 1)


def _ranks(values: Array) -> Array:
    """Rank of each value in its row, from 0."""
    return _inverse(np.argsort(values, axis=1, kind="stable"))


def _inverse(order: Array) -> Array:
    """The place of each column in a row's order."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    return places


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


def _size(columns: Mapping[str, Sequence[Any] | Array | Coded]) -> int:
    """How many runs the columns tell of: all are equally long, and the first is looked at."""
    return len(next((columns[name] for name in columns), ()))


def _text(columns: Mapping[str, Sequence[Any] | Array | Coded], name: str, size: int) -> Coded:
    column = columns.get(name)
    if column is None:
        return Coded(np.zeros(size, np.int32), [""])
    return column if isinstance(column, Coded) else Coded.of(column)


def _names(text: Callable[[str], Coded]) -> Iterator[Coded]:
    """The columns of a runs table that become KEYS, one after the other.

    A kind of task is whatever the log tells about it; the group is the project, or else the session.
    """
    yield _sources(text)
    kinds = [text(name) for name in ("task_type", "executable", "queue", "partition")]
    yield combined(kinds, lambda *kind: " ".join(kind).strip())
    for first, second in (("user", "agent"), ("project", "group"), ("model", "agent_type")):
        yield combined([text(first), text(second)], lambda one, other: one or other)
    yield text("task")


def _sources(text: Callable[[str], Coded]) -> Coded:
    """Whose log a run is of: user names mean something only inside it, so a log with users is a source of its own."""
    source, group, user = text("source"), text("group"), text("user")
    both = combined([source, group], "{}/{}".format)
    shared = np.zeros(len(both.words), np.bool_)
    shared[both.codes[~user.among(frozenset({""}))]] = True
    first = np.unique(both.codes, return_index=True)[1]
    alone = [source.words[source.codes[row]] or "-" for row in first]
    return Coded(both.codes, [w if s else a for w, s, a in zip(both.words, shared, alone, strict=True)])


def source_names(columns: Mapping[str, Sequence[Any] | Array | Coded]) -> dict[str, str]:
    """Names of the sources of a runs table by their key, as text (JSON has no integer keys)."""
    size = _size(columns)
    names = sorted(set(_sources(lambda name: _text(columns, name, size)).words))
    return {str(code): name for code, name in zip(_codes(Coded.of(names)).tolist(), names, strict=True)}


def _exact(numbers: Array) -> Array:
    """Floats to integers that are equal where the floats are (all NaN are one)."""
    return np.where(np.isnan(numbers), np.float32(-1), numbers).astype(np.float32).view(np.int32)


def _codes(names: Coded) -> Array:
    """Stable 52-bit hashes of names (JSON numbers hold them exactly); 0 for the empty name."""
    hashes = (
        zlib.crc32(name.encode()) * 2**20 + zlib.crc32(b"#" + name.encode()) % 2**20 if name else 0
        for name in names.words
    )
    codes: Array = np.fromiter(hashes, np.int64, len(names.words))[names.codes]
    return codes


def _mix(*keys: Array) -> Array:
    """Several int64 keys to one (wrapping multiply-add): equal inputs give equal outputs, others hardly ever."""
    result = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        result = (result ^ key.astype(np.int64).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    mixed: Array = (result >> np.uint64(1)).astype(np.int64) + 1
    return mixed


def _hashed(texts: Coded) -> Array:
    """Hashed descriptions float32 [n, TEXT_WIDTH], each distinct one once."""
    vectors = np.zeros((len(texts), TEXT_WIDTH), np.float32)
    order = np.argsort(texts.codes, kind="stable").astype(np.int32)
    sorted_codes = texts.codes[order]
    used = np.unique(sorted_codes)
    for first in range(0, len(used), _DISTINCT):
        codes = used[first : first + _DISTINCT]
        table = np.stack([hash_text(texts.words[code], TEXT_WIDTH) for code in codes])
        low, high = np.searchsorted(sorted_codes, (codes[0], codes[-1] + 1))
        for begin in range(low, high, _DISTINCT):
            end = min(begin + _DISTINCT, high)
            vectors[order[begin:end]] = table[np.searchsorted(codes, sorted_codes[begin:end])]
    return vectors
