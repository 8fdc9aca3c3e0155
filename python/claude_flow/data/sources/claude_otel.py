"""Claude Code's OpenTelemetry as OTLP JSON: what a collector's file exporter, or a receiver, wrote down.

A file holds one export request per line, or one in all: ``{"resourceLogs": …}`` (events) or ``{"resourceMetrics": …}``;
source: https://code.claude.com/docs/en/monitoring-usage. The events of one prompt (``prompt.id``, else what follows a
``user_prompt`` in its session) are a run of the main thread: its requests give tokens, cost and model, its tool results
the steps. ``subagent_completed`` is the end of a subagent's run; older versions have only the result of its tool Task
or Agent. Metrics stand in for sessions without events: one run, with the session's tokens, cost and active time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from claude_flow.data.events import MAIN_THREAD, Record, Run, Step, moment, text
from claude_flow.data.lines import Head, Log
from claude_flow.data.sources.claude_code.steps import as_dict
from claude_flow.errors import InputError
from claude_flow.values import parse_json

KIND = "claude-otel"

_KINDS = ("resourceLogs", "resourceMetrics", "resourceSpans")
_PREFIX = "claude_code."
_SPAWN_TOOLS = ("Task", "Agent")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")

_Attributes = dict[str, Any]


def claims(head: Head) -> bool:
    """A file of export requests: the first line is one, or the document begins like one."""
    if any(kind in line for line in head.objects for kind in _KINDS):
        return True
    begin = "".join(head.lines[:3]).replace(" ", "").replace("\n", "").replace("\r", "")
    return begin.startswith(tuple(f'{{"{kind}"' for kind in _KINDS))


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield the runs of every session: its subagents', each with its steps, and its main thread's."""
    sessions: dict[str, _Session] = defaultdict(_Session)
    for file in files:
        for request in _requests(file, log):
            for name, at, told in _events(request):
                if (session := text(told.get("session.id"))) is not None and at is not None:
                    sessions[session].event(name, at, told)
                else:
                    log.notes["telemetry without a session or a time"] += 1
            for name, told, point, is_delta in _points(request):
                if (session := text(told.get("session.id"))) is not None:
                    sessions[session].point(name, told, point, is_delta)
                else:
                    log.notes["metrics without a session (OTEL_METRICS_INCLUDE_SESSION_ID)"] += 1
            if "resourceSpans" in request:
                log.notes["traces (not read: the events tell the same)"] += 1
    for session, known in sorted(sessions.items(), key=lambda item: (item[1].begin, item[0])):
        yield from known.records(session)


@dataclass(slots=True)
class _Turn:
    """What happened for one prompt."""

    identity: str
    at: datetime
    asked: str | None = None
    prompt_chars: int | None = None
    last: datetime | None = None
    tokens: int = 0
    cost: float = 0.0
    model: str | None = None
    retries: int = 0
    broke_at: datetime | None = None
    steps: list[tuple[str, float | None, bool]] = field(default_factory=list)  # tool, seconds, failed


class _Session:
    """What the telemetry of one session says."""

    def __init__(self) -> None:
        self.begin = datetime.max.replace(tzinfo=timezone.utc)
        self._end = datetime.min.replace(tzinfo=timezone.utc)
        self._turns: dict[str, _Turn] = {}
        self._current: _Turn | None = None
        self._completed: list[tuple[datetime, _Attributes]] = []
        self._results: list[tuple[datetime, _Attributes]] = []
        self._requests: list[tuple[datetime, _Attributes]] = []  # of subagents
        self._sums: dict[tuple[str, str], dict[tuple[Any, ...], float]] = defaultdict(dict)
        self._user: str | None = None
        self._seen: set[int] = set()

    def event(self, name: str, at: datetime, told: _Attributes) -> None:
        """Take in one event; one that was exported twice counts once."""
        mark = hash((name, at, str(sorted(told.items()))))
        if mark in self._seen:
            return
        self._seen.add(mark)
        self.begin, self._end = min(self.begin, at), max(self._end, at)
        self._user = text(told.get("user.id")) or self._user
        if name == "subagent_completed":
            self._completed.append((at, told))
            return
        turn = self._turn(name, at, told)
        if turn is None:
            return
        turn.last = at if turn.last is None else max(turn.last, at)
        if name == "user_prompt":
            turn.at, turn.prompt_chars = min(turn.at, at), _whole(told.get("prompt_length"))
            said = text(told.get("prompt"))
            turn.asked = None if said == "<REDACTED>" else said
        elif name == "api_request" and _is_subagent(told):
            self._requests.append((at, told))
        elif name == "api_request":
            turn.tokens += sum(_whole(told.get(token)) or 0 for token in _TOKENS)
            turn.cost += _number(told.get("cost_usd")) or 0.0
            turn.model = text(told.get("model")) or turn.model
        elif name == "api_error":
            turn.retries += 1
            turn.broke_at = at
        elif name == "tool_result":
            milliseconds = _number(told.get("duration_ms"))
            tool, failed = text(told.get("tool_name")) or "unknown", str(told.get("success")).lower() == "false"
            turn.steps.append((tool, None if milliseconds is None else milliseconds / 1000, failed))
            if tool in _SPAWN_TOOLS:
                self._results.append((at, told))

    def _turn(self, name: str, at: datetime, told: _Attributes) -> _Turn | None:
        identity = text(told.get("prompt.id"))
        if identity is None and name == "user_prompt":
            identity = f"{told.get('session.id')}/{len(self._turns)}"
        if identity is None:
            return self._current
        turn = self._turns.setdefault(identity, _Turn(identity, at))
        if name == "user_prompt" or self._current is None:
            self._current = turn
        return turn

    def point(self, name: str, told: _Attributes, point: dict[str, Any], is_delta: bool) -> None:
        """Take in one point of a counter: what was added, or what has added up since its start."""
        value = _number(point.get("asDouble", point.get("asInt")))
        since, at = _time(point.get("startTimeUnixNano")), _time(point.get("timeUnixNano"))
        if value is None or at is None:
            return
        self.begin = min(self.begin, since or at)
        self._end = max(self._end, at)
        series = tuple(sorted((key, str(value)) for key, value in told.items()))
        key = (series, since, at if is_delta else None)
        sums = self._sums[name, str(told.get("model") or "")]
        sums[key] = max(sums.get(key, 0.0), value)

    def records(self, session: str) -> Iterator[Run | Step]:
        """The session's runs, and their steps."""
        yield from self._subagents(session)
        for turn in sorted(self._turns.values(), key=lambda turn: (turn.at, turn.identity)):
            if turn.model is None and not turn.steps and turn.broke_at is None:
                continue  # a command that reached no model
            run = self._run(session, turn.identity, session, MAIN_THREAD)
            end = turn.last or turn.at
            run.description, run.prompt_chars, run.model = turn.asked, turn.prompt_chars, turn.model
            run.submitted, run.start, run.end = turn.at, turn.at, end
            run.duration_s = (end - turn.at).total_seconds()
            run.status = "interrupted" if turn.broke_at == turn.last else "completed"
            run.tokens, run.cost, run.retries = turn.tokens, round(turn.cost, 9), turn.retries
            run.steps, run.errors = len(turn.steps), sum(failed for _, _, failed in turn.steps)
            seconds = [taken for _, taken, _ in turn.steps if taken is not None]
            run.tool_s = round(sum(seconds), 6) if seconds else None
            yield run
            for index, (tool, taken, _) in enumerate(turn.steps):
                yield Step(run_id=run.run_id, index=index, action=tool, seconds=taken)
        if not self._turns and not self._completed and self._sums:
            yield self._measured(session)

    def _subagents(self, session: str) -> Iterator[Run]:
        ends = self._completed or self._results
        for number, (at, told) in enumerate(sorted(ends, key=lambda end: end[0])):
            identity = text(told.get("tool_use_id")) or text(told.get("agent_id")) or f"{session}/agent/{number}"
            asked = _parameters(told)
            kind = text(told.get("agent_type")) or text(asked.get("subagent_type")) or "general-purpose"
            run = self._run(session, identity, text(told.get("agent_id")) or identity, kind)
            milliseconds = _number(told.get("duration_ms"))
            run.parent, run.end, run.description = session, at, text(asked.get("description"))
            run.status = "completed"
            if str(told.get("success")).lower() == "false":
                run.status = "rejected" if str(told.get("decision")) == "reject" else "failed"
                run.success = None if run.status == "rejected" else False
            if milliseconds is not None and milliseconds < 1e12:
                run.duration_s = milliseconds / 1000
                run.start = run.submitted = at - timedelta(seconds=run.duration_s)
            run.context_tokens, run.tool_calls = _whole(told.get("total_tokens")), _whole(told.get("total_tool_uses"))
            run.model, run.background = text(told.get("model")), str(told.get("is_async")).lower() == "true"
            if (mine := self._own_requests(run, told, ends)) is not None:
                run.tokens = sum(_whole(request.get(token)) or 0 for request in mine for token in _TOKENS)
                run.cost = round(sum(_number(request.get("cost_usd")) or 0.0 for request in mine), 9)
                run.model = run.model or next((text(request.get("model")) for request in mine), None)
            yield run

    def _own_requests(self, run: Run, told: _Attributes, ends: list[tuple[datetime, _Attributes]]) -> list[Any] | None:
        """The API requests of a subagent: by its id, else by its type where no other of the type ran beside it."""
        if agent := text(told.get("agent_id")):
            return [request for _, request in self._requests if text(request.get("agent_id")) == agent] or None
        if run.start is None or run.end is None:
            return None
        kind = run.agent_type
        for at, other in ends:
            spent = (_number(other.get("duration_ms")) or 0.0) / 1000
            same = (text(other.get("agent_type")) or text(_parameters(other).get("subagent_type"))) == kind
            if other is not told and same and at > run.start and at - timedelta(seconds=min(spent, 1e9)) < run.end:
                return None
        names = (text(kind), f"agent:{kind}")
        return [
            request
            for at, request in self._requests
            if run.start <= at <= run.end
            and (request.get("agent.name") in names or request.get("query_source") in names)
        ] or None

    def _measured(self, session: str) -> Run:
        """The run of a session of which only metrics are known."""
        run = self._run(session, session, session, MAIN_THREAD)
        total: dict[str, float] = defaultdict(float)
        models: dict[str, float] = defaultdict(float)
        for (name, model), sums in self._sums.items():
            total[name] += sum(sums.values())
            models[model] += sum(sums.values()) if name == "cost.usage" else 0.0
        run.start, run.end = self.begin, self._end
        run.submitted, run.duration_s = run.start, (run.end - run.start).total_seconds()
        run.tokens = int(total["token.usage"]) if "token.usage" in total else None
        run.cost = round(total["cost.usage"], 9) if "cost.usage" in total else None
        if "active_time.total" in total:
            run.active_s = min(total["active_time.total"], run.duration_s)
        run.model = max(models, key=models.__getitem__, default=None) or None
        return run

    def _run(self, session: str, identity: str, agent: str, kind: str) -> Run:
        task_type = "request" if kind == MAIN_THREAD else kind
        return Run(
            run_id=identity,
            source=KIND,
            group=session,
            agent=agent,
            agent_type=kind,
            task=identity,
            task_type=task_type,
            user=self._user,
        )


def _requests(file: Path, log: Log) -> Iterator[dict[str, Any]]:
    """The export requests of a file: one per line, or one written over several lines."""
    whole: list[str] | None = None
    for number_, content in log.lines(file):
        if whole is None and number_ == 1 and not content.rstrip().endswith("}"):
            whole = []
        if whole is not None:
            whole.append(content)
            continue
        value = log.parsed(file, number_, content)
        if isinstance(value, dict):
            yield value
        elif value != ():
            log.reject(file, number_, f"a JSON object is wanted, this is a {type(value).__name__}")
    if whole is not None:
        try:
            value = parse_json("\n".join(whole))
        except InputError as error:
            log.reject(file, 1, str(error))
            return
        if isinstance(value, dict):
            yield value


def _events(request: dict[str, Any]) -> Iterator[tuple[str, datetime | None, _Attributes]]:
    """(name without prefix, time, attributes) of each of Claude Code's events."""
    for resource in _list(request.get("resourceLogs")):
        common = _attributes(as_dict(resource.get("resource")).get("attributes"))
        for scope in _list(resource.get("scopeLogs")):
            for record in _list(scope.get("logRecords")):
                told = {**common, **_attributes(record.get("attributes"))}
                body = as_dict(record.get("body")).get("stringValue")
                name = str(told.get("event.name") or record.get("eventName") or body or "")
                at = _time(record.get("timeUnixNano")) or moment(told.get("event.timestamp"))
                yield name.removeprefix(_PREFIX), at or _time(record.get("observedTimeUnixNano")), told


def _points(request: dict[str, Any]) -> Iterator[tuple[str, _Attributes, dict[str, Any], bool]]:
    """(name without prefix, attributes, point, whether it is a difference) of each of Claude Code's counters."""
    for resource in _list(request.get("resourceMetrics")):
        common = _attributes(as_dict(resource.get("resource")).get("attributes"))
        for scope in _list(resource.get("scopeMetrics")):
            for metric in _list(scope.get("metrics")):
                name, counter = str(metric.get("name")), as_dict(metric.get("sum"))
                if not name.startswith(_PREFIX):
                    continue
                is_delta = counter.get("aggregationTemporality") in (1, "1", "AGGREGATION_TEMPORALITY_DELTA")
                for point in _list(counter.get("dataPoints")):
                    told = {**common, **_attributes(point.get("attributes"))}
                    yield name.removeprefix(_PREFIX), told, point, is_delta


def _attributes(listed: Any) -> _Attributes:
    """OTLP's list of keys and typed values as a dictionary."""
    found: _Attributes = {}
    for entry in _list(listed):
        value = as_dict(entry.get("value"))
        if isinstance(entry.get("key"), str) and value:
            kind, plain = next(iter(value.items()))
            found[entry["key"]] = plain if kind != "intValue" else _number(plain)
    return found


def _parameters(told: _Attributes) -> dict[str, Any]:
    """What a tool was given, where the telemetry is set up to tell."""
    for name in ("tool_parameters", "tool_input"):
        if isinstance(said := told.get(name), str) and said.startswith("{"):
            try:
                return as_dict(parse_json(said))
            except InputError:
                continue
    return {}


def _is_subagent(told: _Attributes) -> bool:
    source = str(told.get("query_source") or "main")
    return bool(told.get("agent_id") or told.get("agent.name")) or not source.startswith(
        ("main", "repl", "sdk", "compact")
    )


def _list(value: Any) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """A finite number of 0 or more, which may come as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= 0 else None


def _whole(value: Any) -> int | None:
    found = _number(value)
    return int(found) if found is not None and found <= 2**53 else None


def _time(nanoseconds: Any) -> datetime | None:
    found = _number(nanoseconds)
    return datetime.fromtimestamp(found / 1e9, timezone.utc) if found and found < 2.2e20 else None
