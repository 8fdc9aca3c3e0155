"""Claude Code transcripts: one run per subagent that a session spawned.

Reads ``~/.claude/projects`` trees, folders of sessions and single files, versions 2.0.60 to 2.1.222. A spawn
is a ``tool_use`` named Task or Agent. Its inner steps come from ``agent_progress`` lines and from
``<session>/subagents/agent-<id>.jsonl``. What the numbers mean where the log misleads:

* One API message is several lines that repeat ``usage``: the maximum per ``message.id`` counts, once.
* ``totalTokens`` is the last request's context (``context_tokens``), not the sum over requests (``tokens``).
* Durations include idle time; ``active_s`` leaves out gaps above 300 s between inner steps.
* A background spawn returns at once; its end is the first ``<task-notification>``. ``TaskOutput`` gives only
  an upper bound, so it sets ``end`` but no duration.
* "completed" says that the agent returned, not that it succeeded: ``success`` stays None.
* Resumed and forked sessions repeat history: spawns are told apart by ``tool_use.id`` over the whole tree.
* Lines are not in time order: nothing here depends on the order of a file's lines except ties.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from claude_flow.data.events import Record, Run, Step, count, moment, number, text
from claude_flow.data.lines import Log, peek
from claude_flow.data.sources.claude_code_steps import InnerSteps, as_dict, blocks
from claude_flow.errors import InputError
from claude_flow.values import parse_json

KIND = "claude-code"

_SPAWN_TOOLS = ("Task", "Agent")
_TYPES = (
    "assistant",
    "user",
    "system",
    "progress",
    "queue-operation",
    "attachment",
    "file-history-snapshot",
    "last-prompt",
    "summary",
    "pr-link",
    "custom-title",
    "ai-title",
    "agent-name",
    "agent-color",
    "mode",
    "permission-mode",
    "frame-link",
)
_RESULT_STATUS = {
    "completed": "completed",
    "failed": "failed",
    "error": "failed",
    "killed": "killed",
    "cancelled": "killed",
    "stopped": "killed",
    "interrupted": "interrupted",
    "async_launched": None,
    "teammate_spawned": None,
}
_ERROR_STATUS = (  # what an error says within its first words; exports may cut it after a dozen characters
    ("Request interrupted", "interrupted"),
    ("User reject", "rejected"),
    ("The user doesn't want", "rejected"),
    ("Agent type '", "launch_error"),
    ("InputVal", "launch_error"),
)
_SHORTENED = re.compile(r"…\[(\d{1,9}) chars\]$")  # exports that cut texts leave their length there


def files(path: Path) -> list[Path]:
    """Every ``*.jsonl`` and ``*.jsonl.gz`` below a folder, or one session with the agent files beside it."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*.jsonl*") if p.name.endswith((".jsonl", ".jsonl.gz")) and p.is_file())
        decided = (_looks_right(p) for p in found[:20])
        return found if any(decided) else []
    if not path.name.endswith((".jsonl", ".jsonl.gz")) or not _looks_right(path):
        return []
    beside = path.with_name(_stem(path)) / "subagents"
    return [path, *sorted(p for p in beside.glob("agent-*.jsonl*"))]


def read(path: Path, files: list[Path], log: Log) -> Iterator[Record]:
    """Yield every subagent run once, each followed by its inner steps."""
    sessions: list[Path] = []
    agent_files: dict[str, list[Path]] = {}
    for file in files:
        if not file.name.startswith("agent-"):
            sessions.append(file)
        elif not file.name.startswith("agent-acompact-"):  # compaction runs are no tasks
            agent_files.setdefault(_session_of(file), []).append(file)
    seen: set[str] = set()
    unfinished: dict[str, list[Record]] = {}  # a copy of the session elsewhere may hold the end
    for file in sessions:
        session = _Session(file, log)
        session.read(agent_files.pop(_stem(file), []))
        for run, steps in session.runs():
            if run.run_id in seen:
                continue
            if run.status == "censored":
                unfinished.setdefault(run.run_id, [run, *steps])
            else:
                seen.add(run.run_id)
                unfinished.pop(run.run_id, None)
                yield run
                yield from steps
    for records in unfinished.values():
        yield from records
    for orphans in agent_files.values():
        log.notes["agent transcript without its session"] += len(orphans)


@dataclass(slots=True)
class _Result:
    at: datetime | None
    body: Any  # the toolUseResult object without its texts, or the text of an error
    is_error: bool


@dataclass(slots=True)
class _Spawn:
    identity: str
    at: datetime
    asked: dict[str, Any]
    parent: str
    batch: str | None
    agent: str | None = None
    agent_type: str | None = None
    result: _Result | None = None
    inner: InnerSteps = field(default_factory=InnerSteps)


class _Session:
    """One main transcript with its agents' transcripts."""

    def __init__(self, path: Path, log: Log) -> None:
        self._path, self._log, self._name = path, log, _stem(path)
        self._spawns: dict[str, _Spawn] = {}
        self._results: dict[str, _Result] = {}
        self._inner: dict[str, InnerSteps] = {}
        self._notices: list[dict[str, Any]] = []
        self._outputs: dict[str, datetime] = {}

    def read(self, agent_files: list[Path]) -> None:
        for number_, line in self._log.objects(self._path):
            self._line(self._path, number_, line, [])
        waiting = {file.name.removeprefix("agent-").split(".")[0]: file for file in agent_files}
        self._link()
        # An agent's own file may spawn further agents, whose files become known only then.
        while ready := [a for a in waiting if any(s.agent == a for s in self._spawns.values())]:
            for agent in ready:
                file = waiting.pop(agent)
                mine = sorted((s for s in self._spawns.values() if s.agent == agent), key=lambda s: s.at)
                for number_, line in self._log.objects(file):
                    self._line(file, number_, line, mine)
            self._link()
        for file in waiting.values():
            self._log.notes["agent transcript that no line of its session spawned"] += 1
            for _ in self._log.objects(file):
                pass  # counted, hashed and checked like every other file

    def _line(self, file: Path, number_: int, line: dict[str, Any], spawns: list[_Spawn]) -> None:
        """Take in one line; ``spawns``: of the agent that the file belongs to, in time order, [] for the session."""
        kind = line.get("type")
        if kind not in _TYPES:
            self._log.notes[f"type {str(kind)[:40]}"] += 1
            return
        at = moment(line.get("timestamp"))
        if kind in ("assistant", "user", "progress") and at is None:
            self._log.reject(file, number_, f"a line of type {kind} without a valid timestamp")
            return
        if spawns:
            # Resumed agents share an id, and so a file: a line belongs to the last spawn before it.
            inner = next((s for s in reversed(spawns) if at is None or s.at <= at), spawns[0]).inner
            inner.retries = inner.retries or 0  # an agent's own file would show them
            inner.add(line)
        if kind == "assistant" and at is not None:
            self._assistant(line, at, spawns[0].agent if spawns else None)
        elif kind == "user":
            self._user(line, at)
        elif kind == "progress":
            data = as_dict(line.get("data"))
            if data.get("type") == "agent_progress" and isinstance(line.get("parentToolUseID"), str):
                message = as_dict(data.get("message"))
                self._inner.setdefault(line["parentToolUseID"], InnerSteps()).add(message)
        elif kind == "queue-operation" and line.get("operation") == "enqueue":
            self._notice(line.get("content"), at)
        elif kind == "attachment":
            for value in as_dict(line.get("attachment")).values():
                self._notice(value, at)

    def _assistant(self, line: dict[str, Any], at: datetime, agent: str | None) -> None:
        message = as_dict(line.get("message"))
        for block in blocks(message):
            identity = text(block.get("id"))
            if block.get("type") != "tool_use" or block.get("name") not in _SPAWN_TOOLS or identity is None:
                continue
            asked = as_dict(block.get("input"))
            if identity not in self._spawns:
                kept = {k: asked.get(k) for k in ("description", "subagent_type", "model", "run_in_background")}
                kept["prompt_chars"] = _length(asked.get("prompt"))
                parent = agent or text(line.get("sessionId")) or self._name
                batch = text(message.get("id"))
                self._spawns[identity] = _Spawn(identity, at, kept, parent, batch)

    def _user(self, line: dict[str, Any], at: datetime | None) -> None:
        message = as_dict(line.get("message"))
        body = line.get("toolUseResult")
        parts = blocks(message)
        for block in parts:
            identity = block.get("tool_use_id")
            if block.get("type") == "tool_result" and isinstance(identity, str):
                about_agent = isinstance(body, dict) and ("agentId" in body or "teammate_id" in body)
                if (identity in self._spawns or about_agent) and identity not in self._results:
                    value = _without_texts(body) if isinstance(body, dict) else body
                    if not isinstance(value, dict):
                        value = "\n".join(filter(None, (_plain(block.get("content")), _plain(value))))
                    self._results[identity] = _Result(at, value, block.get("is_error") is True)
        if isinstance(body, dict) and at is not None:
            task = as_dict(body.get("task"))
            if task.get("task_type") == "local_agent" and task.get("status") == "completed":
                self._outputs.setdefault(str(task.get("task_id")), at)
        if not any(block.get("type") == "tool_result" for block in parts):
            self._notice(_plain(message.get("content")), at)

    def _notice(self, content: Any, at: datetime | None) -> None:
        if isinstance(content, str) and "<task-notification>" in content and at is not None:
            for part in content.split("<task-notification>")[1:]:
                # The agent's own words may quote tags: read the head before them and the last <usage>.
                head = re.split(r"<(?:summary|result)>", part, maxsplit=1)[0]
                usage = part[part.rfind("<usage>") :] if "<usage>" in part else ""
                self._notices.append(
                    {
                        "at": at,
                        "agent": _tag(head, "task-id"),
                        "spawn": _tag(head, "tool-use-id"),
                        "status": _tag(head, "status") or _tag(part, "status"),
                        "usage": {k: int(v) for k, v in re.findall(r"(\w+)\W{1,3}(\d{1,15})\b", usage)},
                    }
                )

    def _link(self) -> None:
        """Give each spawn its result and its agent's id."""
        for identity, spawn in self._spawns.items():
            if spawn.result is None and (result := self._results.get(identity)) is not None:
                spawn.result = result
                if isinstance(result.body, dict):
                    spawn.agent = text(result.body.get("agentId")) or text(result.body.get("teammate_id"))
                    spawn.agent_type = text(result.body.get("agentType"))
            if identity in self._inner and not spawn.inner.lines and not spawn.inner.times:
                spawn.inner = self._inner[identity]

    def runs(self) -> Iterator[tuple[Run, list[Step]]]:
        self._link()
        batches = Counter(spawn.batch for spawn in self._spawns.values() if spawn.batch)
        for spawn in sorted(self._spawns.values(), key=lambda s: s.at):
            run = self._run(spawn, batches)
            yield run, list(spawn.inner.steps(run.run_id))

    def _run(self, spawn: _Spawn, batches: Counter[str]) -> Run:
        asked, inner, result = spawn.asked, spawn.inner, spawn.result
        body = result.body if result is not None and isinstance(result.body, dict) else {}
        kind = text(asked["subagent_type"]) or spawn.agent_type or "general-purpose"
        launched = body.get("status") == "async_launched"
        run = Run(
            run_id=spawn.identity,
            source=KIND,
            group=self._name,
            agent=spawn.agent or spawn.identity,
            agent_type=kind,
            task=spawn.identity,
            task_type=kind,
            description=text(asked["description"]),
            parent=spawn.parent,
            submitted=spawn.at,
            start=spawn.at,
            status="censored",
            project=text(self._path.parent.name),
            model=text(body.get("resolvedModel")) or inner.model or text(asked["model"]),
            background=launched or asked["run_in_background"] is True,
            batch=spawn.batch,
            batch_size=batches.get(spawn.batch or "", 1),
            prompt_chars=asked["prompt_chars"],
        )
        if launched:
            self._background_end(run, spawn, result.at if result else None)
        elif result is not None:
            self._foreground_end(run, result, body)
        if inner.times:
            run.tokens = sum(map(sum, inner.usage.values()))
            run.errors = sum(failed for _, failed in inner.answered.values())
            run.steps = len(inner.called)
            seconds = [step.seconds for step in inner.steps(run.run_id) if step.seconds is not None]
            run.tool_s = sum(seconds) if seconds else None
            if run.duration_s is not None:
                run.active_s = max(run.duration_s - inner.gaps_s(), 0.0)
        run.retries = inner.retries
        if run.status in ("failed", "launch_error"):
            run.success = False
        return run

    def _foreground_end(self, run: Run, result: _Result, body: dict[str, Any]) -> None:
        run.status = self._status(result, body)
        if run.status == "censored":
            return
        run.end = result.at
        milliseconds = number(body.get("totalDurationMs"))
        run.context_tokens = count(body.get("totalTokens"))
        run.tool_calls = count(body.get("totalToolUseCount"))
        if milliseconds is not None and milliseconds < 1e12:
            run.duration_s = milliseconds / 1000
            if run.end is not None and run.submitted is not None:
                # Permission prompts come before the start, so end - duration is the truer start.
                run.start = max(run.submitted, run.end - timedelta(seconds=run.duration_s))
                run.queue_s = (run.start - run.submitted).total_seconds()

    def _status(self, result: _Result, body: dict[str, Any]) -> str:
        if body:
            word = str(body.get("status"))
            if word not in _RESULT_STATUS:
                self._log.notes[f"agent status {word[:40]}"] += 1
            return _RESULT_STATUS.get(word) or "censored"
        if not result.is_error and not str(result.body).startswith("Error"):
            return "completed"
        return next((status for words, status in _ERROR_STATUS if words in str(result.body)[:300]), "failed")

    def _background_end(self, run: Run, spawn: _Spawn, launched: datetime | None) -> None:
        later = [s.at for s in self._spawns.values() if s.agent == spawn.agent and s.at > spawn.at]
        until = min(later, default=None)
        notices = [
            notice
            for notice in self._notices
            if (notice["spawn"] == spawn.identity or notice["agent"] == spawn.agent)
            and notice["at"] >= spawn.at
            and (until is None or notice["at"] < until)
            and notice["status"] in ("completed", "failed", "killed")
        ]
        if launched is not None and launched >= spawn.at:
            run.start = launched
            run.queue_s = (launched - spawn.at).total_seconds()
        if notices:
            first = min(notices, key=lambda notice: notice["at"])
            usage = first["usage"]
            run.status, run.end = first["status"], first["at"]
            run.context_tokens = usage.get("total_tokens", usage.get("subagent_tokens"))
            run.tool_calls = usage.get("tool_uses")
            if "duration_ms" in usage:
                run.duration_s = usage["duration_ms"] / 1000
            elif run.end is not None and run.submitted is not None:
                run.duration_s = (run.end - run.submitted).total_seconds()
        elif spawn.agent in self._outputs and self._outputs[spawn.agent] >= spawn.at:
            run.status, run.end = "completed", self._outputs[spawn.agent]


def _looks_right(path: Path) -> bool:
    for line in peek(path):
        try:
            value = parse_json(line)
        except InputError:
            continue
        if isinstance(value, dict) and "event" not in value and value.get("type") in _TYPES:
            return True
    return False


def _session_of(file: Path) -> str:
    """The session of an agent's file: the folder above ``subagents``, or in old trees what its lines say."""
    if file.parent.name == "subagents":
        return file.parent.parent.name
    for line in peek(file):
        try:
            value = parse_json(line)
        except InputError:
            continue
        if isinstance(value, dict) and isinstance(value.get("sessionId"), str):
            return str(value["sessionId"])
    return ""


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".jsonl")


def _plain(content: Any) -> str | None:
    """The text of a message's content, be it a string or a list of blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(b["text"]) for b in content if isinstance(b, dict) and "text" in b)
    return None


def _without_texts(body: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in body.items() if k not in ("content", "prompt", "usage", "toolStats")}


def _tag(content: str, name: str) -> str | None:
    match = re.search(rf"<{name}>\s*([^<]{{1,200}}?)\s*</{name}>", content)
    return match.group(1) if match else None


def _length(prompt: Any) -> int | None:
    if not isinstance(prompt, str):
        return None
    match = _SHORTENED.search(prompt)
    return int(match.group(1)) if match else len(prompt)
