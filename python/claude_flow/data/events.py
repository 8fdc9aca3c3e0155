"""What a log says, in four kinds of record: the columns of every dataset, defined once.

Each log format (``data/sources``) turns its lines into these records, ``tables`` derives the parquet schemas
from their fields, and ``docs/events.md`` documents them as the project's own JSONL format. ``None`` means
unknown; an unknown number is never written as 0.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from claude_flow import schema

__all__ = [
    "COUNT",
    "MAIN_THREAD",
    "MOMENT",
    "NUMBER",
    "REAL",
    "SIGNALS",
    "STATUSES",
    "TEXT",
    "Fold",
    "Record",
    "Run",
    "Step",
    "Task",
    "column_kind",
    "column_types",
    "count",
    "moment",
    "number",
    "text",
    "utility",
]

MAIN_THREAD = "main-thread"  # the agent_type of a session itself, whose tasks are its user's requests

STATUSES = (
    "completed",  # it returned; whether the result was good is `success`
    "failed",
    "killed",  # stopped by the system or its owner
    "interrupted",  # stopped by a person while running
    "rejected",  # a person refused it, usually before it started
    "launch_error",  # it never started
    "censored",  # its end is not in the log
    "timeout",
)
#: columns of a run that say what followed it: shown, never learned from
SIGNALS = ("checks_passed", "checks_failed", "fault_named", "edited_again", "admits_failure")


_ENDED_WELL = {"completed": 1.0, "failed": 0.0, "killed": 0.0, "timeout": 0.0}


@dataclass(slots=True, kw_only=True)
class Run:
    """One attempt of one task by one agent. Times are UTC, seconds are wall-clock unless said otherwise."""

    run_id: str
    source: str  # the log format: claude-code, swebench-pro, swf, aslib, jsonl
    group: str | None = None  # session, scenario or log: runs of one group shared a setting
    agent: str | None = None
    agent_type: str | None = None
    task: str | None = None
    task_type: str | None = None
    description: str | None = None
    parent: str | None = None  # the session or the agent that handed the task out
    submitted: datetime | None = None  # handed over; start - submitted is the time in the queue
    start: datetime | None = None
    end: datetime | None = None
    duration_s: float | None = None
    active_s: float | None = None  # duration less idle gaps above 300 s, where inner steps were logged
    queue_s: float | None = None
    status: str | None = None  # one of STATUSES
    success: bool | None = None  # None where the log cannot tell: "completed" alone is not success
    utility: float | None = None  # higher is better, comparable within a group
    cost: float | None = None  # US dollars
    tokens: int | None = None  # all requests added up, every kind of token
    context_tokens: int | None = None  # context plus output of the last request
    tool_calls: int | None = None
    steps: int | None = None
    errors: int | None = None  # failed inner steps
    retries: int | None = None
    tool_s: float | None = None  # seconds spent inside tools
    cpu_s: float | None = None  # CPU seconds, all processors together
    memory_mb: float | None = None  # all processors together
    processors: float | None = None
    requested_s: float | None = None  # time limit asked for
    requested_processors: float | None = None
    requested_memory_mb: float | None = None
    user: str | None = None
    user_group: str | None = None
    executable: str | None = None
    queue: str | None = None
    partition: str | None = None
    project: str | None = None
    model: str | None = None
    background: bool | None = None
    batch: str | None = None  # runs handed out in one go share it
    batch_size: int | None = None
    prompt_chars: int | None = None
    # What followed a run that wrote files, of SIGNALS: evidence, no outcome.
    checks_passed: int | None = None  # tests, builds, lints that the parent ran before its next task
    checks_failed: int | None = None
    fault_named: bool | None = None  # the parent's next words name one
    edited_again: int | None = None  # of the files that it wrote, by the parent before its next task
    admits_failure: bool | None = None  # the answer itself does


@dataclass(slots=True, kw_only=True)
class Step:
    """One action inside a run. A source yields a run's steps right after the run."""

    run_id: str
    index: int
    action: str
    detail: str | None = None
    seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class Task:
    """A task's own properties, known before any attempt. ``features`` become columns ``x:<name>``."""

    task: str
    group: str | None = None
    description: str | None = None
    task_type: str | None = None
    feature_cost_s: float | None = None  # seconds it takes to compute the features
    features: dict[str, float | None] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Fold:
    """One task's place in a published cross-validation split."""

    group: str
    task: str
    repetition: int
    fold: int


Record = Run | Step | Task | Fold


def utility(run: Mapping[str, Any]) -> float:
    """How good a run was, in [0, 1] or NaN: its own utility, else its success, else how it ended.

    >>> utility({"utility": None, "success": None, "status": "failed"})
    0.0
    """
    for value in (run["utility"], run["success"]):
        if value is not None:
            return float(value)
    return _ENDED_WELL.get(run["status"], math.nan)


def column_types(kind: type[Record]) -> dict[str, type]:
    """Column name to Python type (``str``, ``int``, ``float``, ``bool``, ``datetime``), in column order.

    >>> column_types(Fold)
    {'group': <class 'str'>, 'task': <class 'str'>, 'repetition': <class 'int'>, 'fold': <class 'int'>}
    """
    return _COLUMN_TYPES[kind.__name__]


def _plain_types(kind: type[Record]) -> dict[str, type]:
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        if name != "features":
            options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            found[name] = next(option for option in options if option is not types.NoneType)
    return found


_COLUMN_TYPES = {kind.__name__: _plain_types(kind) for kind in (Run, Step, Task, Fold)}
_MOMENT = re.compile(
    r"(?P<year>\d{4})(?:-?(?P<month>\d\d)-?(?P<day>\d\d)|-?[Ww](?P<week>\d\d)-?(?P<weekday>[1-7])|-?(?P<ordinal>\d{3}))"
    r"(?:[Tt]|\s+)(?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d))?)?(?:[.,](?P<fraction>\d{1,18}))?"
    r"\s*(?:[Zz]|UTC|GMT|(?P<sign>[+\-−])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?)?(?:\[[\w/+-]+\])?",
    re.ASCII,
)
_LONGEST_TEXT = 2000


def moment(value: Any) -> datetime | None:
    """An ISO 8601 date and time from 1970 on, as UTC (no zone = UTC); None for anything else.

    Read are the extended and the basic form, dates by month, week or day of the year, times cut at the second or the
    minute, a comma for the point, small letters, and a space for the T. A date alone is no moment.

    >>> moment("2026-01-05T14:38:50.177Z").isoformat()
    '2026-01-05T14:38:50.177000+00:00'
    >>> moment("2026-01-05 14:38,5+01") == moment("20260105T133830Z") == moment("2026-w02-1t13:38:30z")
    True
    >>> moment("yesterday") is moment("2026-01-05") is moment("0001-01-01T00:00:00Z") is None
    True
    """
    if not isinstance(value, str):
        return None
    try:
        parsed = _usual(value) if value[10:11] == "T" and value[16:17] == ":" else None
        if parsed is None:
            match = _MOMENT.fullmatch(value.strip())
            if match is None:
                return None
            parsed = _parsed(match.groupdict()).replace(tzinfo=timezone.utc)
        # Within these years, adding or taking off a century of seconds cannot overflow.
        return parsed if 1970 <= parsed.year < 9000 else None
    except (ValueError, OverflowError):
        return None


def _usual(value: str) -> datetime | None:
    """A time as most logs write it, five times as fast as any form; None for another."""
    is_utc = value[-1:] == "Z"
    try:
        parsed = datetime.fromisoformat(value[:-1] if is_utc else value)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=timezone.utc)
    return None if is_utc else parsed.astimezone(timezone.utc)


def _parsed(part: dict[str, str | None]) -> datetime:
    """The time in UTC that the parts of an ISO 8601 text say. :raises ValueError: there is no such time."""
    year, hour, minute, second = (int(part[name] or 0) for name in ("year", "hour", "minute", "second"))
    if part["week"]:
        day = datetime.fromisocalendar(year, int(part["week"]), int(part["weekday"] or 0))
    elif part["ordinal"]:
        day = datetime(year, 1, 1) + timedelta(days=int(part["ordinal"]) - 1)
        if day.year != year:
            raise ValueError("no such day")
    else:
        day = datetime(year, int(part["month"] or 0), int(part["day"] or 0))
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        raise ValueError("no such time of day")
    clock = timedelta(hours=hour, minutes=minute, seconds=second)
    if digits := part["fraction"]:  # of the smallest unit that is told
        unit = 10**6 * (1 if part["second"] else 60 if part["minute"] else 3600)
        clock += timedelta(microseconds=int(digits) * unit // 10 ** len(digits))
    zone = timedelta(hours=int(part["zone_hour"] or 0), minutes=int(part["zone_minute"] or 0))
    if zone >= timedelta(days=1):
        raise ValueError("no such zone")
    return day + clock + (zone if part["sign"] in ("-", "−") else -zone)


def number(value: Any) -> float | None:
    """A finite number >= 0 as a float; None for anything else.

    >>> number(3), number(-1), number("3"), number(float("inf"))
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def count(value: Any) -> int | None:
    """A whole number in 0 ... 2**53 as an int; None for anything else.

    >>> count(7.0), count(7.5), count(10**30)
    (7, None, None)
    """
    value = number(value)
    return int(value) if value is not None and value <= 2**53 and value == int(value) else None


def text(value: Any) -> str | None:
    """A string that every file can hold: no lone surrogates, at most 2000 characters; else None.

    >>> text("a\\ud800b"), text(""), text(5)
    ('a?b', None, None)
    """
    if not isinstance(value, str) or not value:
        return None
    short = value[:_LONGEST_TEXT]
    return short if short.isascii() else short.encode("utf-8", "replace").decode("utf-8")


TEXT = schema.Read("a non-empty string", text)
MOMENT = schema.Read("an ISO 8601 time", moment)
COUNT = schema.Read("a whole number of at least 0", count)
NUMBER = schema.Read("a number of at least 0", number)
REAL = schema.Number(-1e300, 1e300)
_KINDS: dict[type, schema.Kind] = {str: TEXT, int: COUNT, float: NUMBER, bool: schema.Flag(), datetime: MOMENT}


def column_kind(kind: type[Record], name: str) -> schema.Kind:
    """What a value of the column ``name`` may be in the project's own events."""
    if name == "status":
        return schema.Choice(*STATUSES)
    return REAL if name == "utility" else _KINDS[column_types(kind)[name]]
