"""The project's own event log: one JSON object per line, documented with an example in docs/events.md.

``run`` is a whole run in one line; ``start``, ``step`` and ``end`` report one as it happens; ``task``
describes a task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claude_flow import schema
from claude_flow.data.events import (
    MOMENT,
    NUMBER,
    REAL,
    TEXT,
    Record,
    Run,
    Step,
    Task,
    column_kind,
    column_types,
    text,
)
from claude_flow.data.lines import Head, Log

KIND = "jsonl"

EVENTS = ("run", "start", "step", "end", "task")
_FEATURES = schema.Table(schema.Either(REAL, schema.Fixed(None, "it is unknown")))
_ENVELOPE = frozenset(("event", "time", "source"))
_RUN = {name: column_kind(Run, name) for name in column_types(Run) if name not in _ENVELOPE}
_TASK = {name: column_kind(Task, name) for name in column_types(Task)}


def claims(head: Head) -> bool:
    """A file of which one of the first lines is one of our events."""
    return any(event.get("event") in EVENTS for event in head.objects)


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield the runs, their steps, and the tasks. A run without its ``end`` is censored."""
    open_runs: dict[str, tuple[Run, list[Step]]] = {}
    for file in files:
        for line, event in log.objects(file):
            try:
                yield from _records(event, open_runs, log)
            except ValueError as error:
                log.reject(file, line, str(error))
    for run, steps in open_runs.values():
        run.status = "censored"
        yield run
        yield from steps


def _records(event: dict[str, Any], open_runs: dict[str, tuple[Run, list[Step]]], log: Log) -> Iterator[Record]:
    kind = event.get("event")
    if kind == "run":
        yield _updated(Run(run_id=TEXT.take(event.get("run_id"), "run_id"), source=KIND), event, log)
    elif kind == "start":
        run_id = TEXT.take(event.get("run_id"), "run_id")
        if run_id in open_runs:
            raise ValueError("this run has started already")
        run = Run(run_id=run_id, source=KIND, start=MOMENT.take(event.get("time"), "time"))
        open_runs[run_id] = _updated(run, event, log), []
    elif kind == "step":
        run, steps = _opened(event, open_runs)
        seconds = event.get("seconds")
        seconds = None if seconds is None else NUMBER.take(seconds, "seconds")
        action, detail = TEXT.take(event.get("action"), "action"), text(event.get("detail"))
        steps.append(Step(run_id=run.run_id, index=len(steps), action=action, detail=detail, seconds=seconds))
    elif kind == "end":
        run, steps = _opened(event, open_runs)
        counted = run.steps if run.steps is not None or not steps else len(steps)
        run = _updated(dataclasses.replace(run, end=MOMENT.take(event.get("time"), "time"), steps=counted), event, log)
        if run.status is None:
            raise ValueError("status is missing")
        del open_runs[run.run_id]
        yield run
        yield from steps
    elif kind == "task":
        yield _task(event, log)
    else:
        log.notes[f"event {str(kind)[:40]}"] += 1


def _updated(run: Run, event: dict[str, Any], log: Log) -> Run:
    """The same run, with the event's fields and what follows from its times.

    :raises ValueError: a field has the wrong type.
    """
    for name, value in event.items():
        if name in _RUN:
            if value is not None:
                setattr(run, name, _RUN[name].take(value, name))
        elif name not in _ENVELOPE:
            log.notes[f"field {name[:40]}"] += 1
    if run.duration_s is None and run.start is not None and run.end is not None and run.end >= run.start:
        run.duration_s = (run.end - run.start).total_seconds()
    if run.queue_s is None and run.submitted is not None and run.start is not None and run.start >= run.submitted:
        run.queue_s = (run.start - run.submitted).total_seconds()
    return run


def _task(event: dict[str, Any], log: Log) -> Task:
    task = Task(task=TEXT.take(event.get("task"), "task"))
    for name, value in event.items():
        if name == "features":
            known = {} if value is None else schema.check(value, _FEATURES, "features")
            task.features.update({TEXT.take(feature, "features"): amount for feature, amount in known.items()})
        elif name in _TASK:
            setattr(task, name, None if value is None else _TASK[name].take(value, name))
        elif name not in _ENVELOPE:
            log.notes[f"field {name[:40]}"] += 1
    return task


def _opened(event: dict[str, Any], open_runs: dict[str, tuple[Run, list[Step]]]) -> tuple[Run, list[Step]]:
    run_id = TEXT.take(event.get("run_id"), "run_id")
    if run_id not in open_runs:
        raise ValueError("no start of this run came before")
    return open_runs[run_id]
