"""What ``claude -p --output-format stream-json`` prints (or ``json``), saved to a file.

The lines are those of a transcript in another envelope, and without times: durations come from the results of
subagents, from the notifications of background ones, and from the ``result`` line for the main thread, whose cost is
told too. Where lines do carry a ``timestamp``, times are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from claude_flow.data.events import MAIN_THREAD, Record, Run, Step, count, moment, number, text
from claude_flow.data.lines import Head, Log
from claude_flow.data.sources.claude_code.index import project_names
from claude_flow.data.sources.claude_code.runs import is_api_error, runs
from claude_flow.data.sources.claude_code.steps import as_dict
from claude_flow.data.sources.claude_code.thread import Notice, Threads

KIND = "claude-stream"

_TYPES = ("system", "assistant", "user", "result", "stream_event", "rate_limit_event", "control_request", "keep_alive")
_NO_TIME = datetime(1970, 1, 1, tzinfo=timezone.utc)  # from here on lines are counted where they carry no time
_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def claims(head: Head) -> bool:
    """A file of which one of the first lines has a ``session_id`` and a type of message."""
    begin = head.lines[0].lstrip()[:1] if head.lines else ""
    return any(map(_is_message, head.objects)) or (begin == "[" and '"session_id"' in head.lines[0])


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield the runs of each session, each followed by its steps."""
    for file in files:
        sessions: dict[str, _Session] = {}
        for line in _messages(file, log):
            kind, session = line.get("type"), text(line.get("session_id"))
            if kind not in _TYPES:
                log.notes[f"type {str(kind)[:40]}"] += 1
            elif session is not None:
                sessions.setdefault(session, _Session(session, log)).take(line)
        for told in sessions.values():
            yield from told.records()


def _messages(file: Path, log: Log) -> Iterator[dict[str, Any]]:
    """The messages of a file: one per line, or one list of them all."""
    first = True
    for number_, content in log.lines(file):
        value = log.parsed(file, number_, content)
        if isinstance(value, dict):
            yield value
        elif first and isinstance(value, list):
            yield from (message for message in value if isinstance(message, dict))
        elif value != ():
            log.reject(file, number_, f"a JSON object is wanted, this is a {type(value).__name__}")
        first = False


class _Session:
    """One session, whose lines become those of a transcript."""

    def __init__(self, name: str, log: Log) -> None:
        self._name, self._log, self._threads = name, log, Threads(log)
        self._clock, self._has_times = _NO_TIME, False
        self._own: list[Run] = []
        self._cost = 0.0
        self._steps_before = self._errors_before = 0
        self._cwd: str | None = None

    def take(self, line: dict[str, Any]) -> None:
        """Take in one message."""
        at = moment(line.get("timestamp"))
        self._has_times = self._has_times or at is not None
        self._clock = at if at is not None else self._clock + timedelta(seconds=not self._has_times)
        kind, subtype = str(line["type"]), line.get("subtype")
        if kind == "result":
            self._result(line)
        elif kind == "system" and subtype == "init":
            self._cwd = text(line.get("cwd")) or self._cwd
        elif kind == "system" and subtype == "task_notification":
            usage = {
                name: size for name, value in as_dict(line.get("usage")).items() if (size := count(value)) is not None
            }
            notice = Notice(self._clock, str(line.get("status")), usage, str(line.get("summary"))[:400])
            for identity in filter(None, (text(line.get("tool_use_id")), text(line.get("task_id")))):
                self._threads.notices[identity].append(notice)
        elif kind in ("assistant", "user"):
            message = {**line, "timestamp": self._clock.isoformat(), "toolUseResult": line.get("tool_use_result")}
            if (parent := text(line.get("parent_tool_use_id"))) is not None:
                data = {"type": "agent_progress", "message": message}
                message, kind = {"data": data, "parentToolUseID": parent}, "progress"
            self._threads.line(message, kind, self._clock, self._name, None)

    def _result(self, line: dict[str, Any]) -> None:
        """The end of a turn of the main thread."""
        main, how = self._threads.main[self._name], str(line.get("subtype"))
        milliseconds, usage = number(line.get("duration_ms")), as_dict(line.get("usage"))
        total = number(line.get("total_cost_usd"))
        failed = how.startswith("error") or line.get("is_error") is True
        status = "completed" if not failed else "timeout" if how.startswith("error_max") else "failed"
        identity = text(line.get("uuid")) or f"{self._name}/{len(self._own)}"
        run = Run(
            run_id=identity,
            source=KIND,
            group=self._name,
            agent=self._name,
            agent_type=MAIN_THREAD,
            task=identity,
            task_type="request",
            status="interrupted" if is_api_error(line.get("result")) else status,
            duration_s=None if milliseconds is None else milliseconds / 1000,
            cost=None if total is None else round(max(total - self._cost, 0.0), 9),
            tokens=sum(count(usage.get(name)) or 0 for name in _TOKENS) if usage else None,
            steps=len(main.called) - self._steps_before,
            errors=main.errors - self._errors_before,
            model=main.model,
            background=False,
        )
        if self._has_times and run.duration_s is not None:
            run.end = self._clock
            run.start = run.submitted = self._clock - timedelta(seconds=min(run.duration_s, 1e9))
        self._cost = max(self._cost, total or 0.0)
        self._steps_before, self._errors_before = len(main.called), main.errors
        self._own.append(run)

    def records(self) -> Iterator[Run | Step]:
        """The session's runs."""
        project = project_names([self._cwd])[self._cwd] if self._cwd else None
        for run, steps in runs(self._threads, {}, set(), {}, self._log):
            if run.agent_type == MAIN_THREAD:
                continue  # the result lines say more of it
            run.source, run.project = KIND, project
            if not self._has_times:
                self._forget_times(run)
                for step in steps:
                    step.seconds = None
            yield run
            yield from steps
        calls = list(self._threads.main[self._name].steps(""))
        for run in self._own:
            run.project = project
            yield run
            for index, step in enumerate(calls[: run.steps or 0]):
                yield Step(
                    run_id=run.run_id, index=index, action=step.action, seconds=step.seconds if run.end else None
                )
            del calls[: run.steps or 0]

    def _forget_times(self, run: Run) -> None:
        """Leave of a run's times only what a result or a notification says."""
        spawn = self._threads.spawns[run.run_id]
        body = spawn.result.body if spawn.result is not None else None
        ends = [*self._threads.notices.get(spawn.identity, ()), *self._threads.notices.get(spawn.agent or "", ())]
        is_told = "totalDurationMs" in as_dict(body) or any("duration_ms" in end.usage for end in ends)
        run.duration_s = run.duration_s if is_told else None
        run.submitted = run.start = run.end = run.queue_s = run.active_s = run.tool_s = None


def _is_message(line: dict[str, Any]) -> bool:
    return line.get("type") in _TYPES and isinstance(line.get("session_id"), str) and "sessionId" not in line
