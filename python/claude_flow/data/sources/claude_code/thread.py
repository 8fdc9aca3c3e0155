"""What is read of sessions that refer to each other: spawns, their results, and what every thread's lines add up to."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from claude_flow.data.events import moment, text
from claude_flow.data.lines import Log
from claude_flow.data.sources.claude_code.index import Transcript, agent_of, member_of
from claude_flow.data.sources.claude_code.steps import InnerSteps, as_dict, blocks, plain

__all__ = ["LAUNCHED", "TYPES", "Notice", "Request", "Result", "Spawn", "Threads", "is_spawn", "notices"]

TYPES = frozenset(
    (
        *("assistant", "user", "system", "progress", "queue-operation", "attachment", "file-history-snapshot"),
        *("last-prompt", "summary", "pr-link", "custom-title", "ai-title", "agent-name", "agent-color", "mode"),
        *("permission-mode", "frame-link", "saved_hook_context", "worktree-state", "content-replacement"),
    )
)
LAUNCHED = ("async_launched", "remote_launched")  # returns at once; the end comes as a notification
_NAMES = ("Task", "Agent")
_NO_SPAWNS = frozenset(("SendMessage", "TaskOutput", "AgentOutputTool", "TaskStop", "Workflow", "Skill"))
_INTERNAL = ("acompact", "aprompt_suggestion", "aside_question")  # agents of Claude Code's own, with no task
_ASKED = ("description", "subagent_type", "model", "run_in_background", "name", "team_name")
_TOLD = (
    *("status", "agentId", "agent_id", "teammate_id", "taskId", "name", "team_name", "totalDurationMs", "totalTokens"),
    *("totalToolUseCount", "agentType", "agent_type", "resolvedModel"),
)
_SHORTENED = re.compile(r"…\[(\d{1,9}) chars\]$")  # exports that cut texts leave their length there
_NO_REQUEST = re.compile(
    r"\s*(?:<(?:task-notification|agent-notification|teammate-message|system-reminder|local-command|bash-)"
    r"|Caveat: The messages below|\[Request interrupted|This session is being continued)"
)


@dataclass(slots=True)
class Result:
    """What came back from a call: ``body`` is the result object without its texts, or the text of an error."""

    at: datetime | None
    body: Any
    is_error: bool
    said: str  # how its text begins
    ends: str = ""  # ... and how it begins and ends


@dataclass(slots=True)
class Notice:
    """What a ``<task-notification>`` says of the end of an agent."""

    at: datetime
    status: str
    usage: dict[str, int]
    said: str


@dataclass(slots=True)
class Spawn:
    """A call that hands a task to an agent."""

    identity: str
    at: datetime
    asked: dict[str, Any]
    session: str
    parent: str
    batch: str | None
    agent: str | None = None
    result: Result | None = None
    inner: InnerSteps = field(default_factory=InnerSteps)
    team: tuple[str, str] | None = None  # (team, name) of a teammate
    is_own_session: bool = False  # ... whose transcript is known: its end is the end of that


@dataclass(slots=True)
class Request:
    """What the user of a session asked for."""

    at: datetime
    uuid: str
    text: str


class Threads:
    """Takes in the lines of sessions; in the end knows their spawns and threads.

    ``inner`` holds the agents' threads by (session, agent), ``main`` those of the sessions themselves.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.spawns: dict[str, Spawn] = {}
        self.results: dict[str, Result] = {}
        self.inner: dict[tuple[str, str], InnerSteps] = defaultdict(InnerSteps)
        self.main: dict[str, InnerSteps] = defaultdict(InnerSteps)
        self.requests: dict[str, dict[str, Request]] = defaultdict(dict)
        self.interrupts: dict[str, list[datetime]] = defaultdict(list)
        self.members: dict[str, tuple[str, str]] = {}  # session -> (team, name)
        self.openings: dict[tuple[str, str], int] = {}  # thread -> hash of its first prompt
        self.names: dict[tuple[str, str], str] = {}  # thread -> name within its team
        self.notices: dict[str, list[Notice]] = defaultdict(list)  # by spawn and by agent
        self.outputs: dict[str, datetime] = {}  # agent -> when its output was fetched
        self.agents: dict[str, str] = {}  # spawn -> agent, as progress lines tell
        self.workflows: dict[str, list[tuple[datetime, str]]] = defaultdict(list)  # session -> launches: when, id
        self.cwds: dict[str, tuple[bool, float, str]] = {}  # session -> an agent's, when and where it first worked
        self.mentions: set[tuple[str, ...]] = set()  # what other transcripts may be about
        self._maybe: dict[str, Spawn] = {}  # calls of tools that no one knows, until their results

    def read(self, transcript: Transcript) -> None:
        """Take in every line of one transcript."""
        for number, line in self._log.objects(transcript.path):
            kind = line.get("type")
            if not isinstance(kind, str) or kind not in TYPES:
                self._log.notes[f"type {str(kind)[:40]}"] += 1
                continue
            at = moment(line.get("timestamp"))
            if at is None and kind in ("assistant", "user", "progress"):
                self._log.reject(transcript.path, number, f"a line of type {kind} without a valid timestamp")
                continue
            agent = agent_of(line)
            if agent is not None and agent.startswith(_INTERNAL):
                continue
            self.line(line, kind, at, text(line.get("sessionId")) or transcript.session, agent)

    def line(self, line: dict[str, Any], kind: str, at: datetime | None, session: str, agent: str | None) -> None:
        """Take in one line, of a session or of its ``agent``."""
        self.mentions.add(("session", session))
        if at is not None and (cwd := text(line.get("cwd"))) is not None:
            here = (agent is not None, at.timestamp(), cwd)
            self.cwds[session] = min(self.cwds.get(session, here), here)
        if agent is not None:
            thread = self.inner[session, agent]
            thread.has_own_file = True
            thread.add(line, None if at is None else at.timestamp())
            if name := text(line.get("agentName")):
                self.names[session, agent] = name
        elif line.get("isSidechain") is not True and kind in ("assistant", "user", "system"):
            self.main[session].add(line, None if at is None else at.timestamp())
            if member := member_of(line):
                self.members.setdefault(session, member)
        if kind == "assistant" and at is not None:
            self._assistant(line, at, session, agent)
        elif kind == "user" and at is not None:
            self._user(line, at, session, agent)
        elif kind == "progress" and at is not None:
            self._progress(line, at, session)
        elif kind == "queue-operation" and line.get("operation") == "enqueue":
            self._notice(line.get("content"), at)
        elif kind == "attachment":
            for value in as_dict(line.get("attachment")).values():
                self._notice(value, at)

    def _assistant(self, line: dict[str, Any], at: datetime, session: str, agent: str | None) -> None:
        message = as_dict(line.get("message"))
        for block in blocks(message):
            identity, name = text(block.get("id")), text(block.get("name")) or ""
            if block.get("type") != "tool_use" or identity is None or identity in self.spawns:
                continue
            asked = as_dict(block.get("input"))
            if name == "Workflow":
                self.workflows[session].append((at, identity))
            named = is_spawn(name, asked)
            if not named and (name in _NO_SPAWNS or not isinstance(asked.get("prompt"), str)):
                continue
            kept = {key: asked.get(key) for key in _ASKED}
            kept["prompt_chars"] = _length(asked.get("prompt"))
            kept["prompt"] = _opening(asked.get("prompt"))
            spawn = Spawn(identity, at, kept, session, agent or session, text(message.get("id")))
            if named or _about_agent(self.results[identity].body if identity in self.results else None):
                self._spawned(spawn)
            else:
                self._maybe[identity] = spawn

    def _spawned(self, spawn: Spawn) -> None:
        self.spawns[spawn.identity] = spawn
        if (name := text(spawn.asked["name"])) and (team := text(spawn.asked["team_name"])):
            spawn.team = (team, name)
            self.mentions.add(("member", team, name))

    def _user(self, line: dict[str, Any], at: datetime, session: str, agent: str | None) -> None:
        message = as_dict(line.get("message"))
        body = line.get("toolUseResult")
        parts = blocks(message)
        results = [block for block in parts if block.get("type") == "tool_result"]
        for block in results:
            if isinstance(identity := block.get("tool_use_id"), str):
                thread = self.main[session] if agent is None else self.inner[session, agent]
                self._result(identity, body, block, at, is_early=identity not in thread.called)
        if isinstance(body, dict):
            task = as_dict(body.get("task"))
            if task.get("task_type") in ("local_agent", "remote_agent") and task.get("status") == "completed":
                self.outputs.setdefault(str(task.get("task_id")), at)
        if results:
            return
        said = plain(message.get("content")) or ""
        self._notice(said, at)
        if agent is not None:
            self.openings.setdefault((session, agent), _opening(said) or 0)
        elif "[Request interrupted" in said[:200]:
            self.interrupts[session].append(at)
        elif line.get("isMeta") is not True and line.get("isCompactSummary") is not True and said.strip():
            self.openings.setdefault((session, ""), _opening(said) or 0)
            uuid = text(line.get("uuid"))
            if uuid and line.get("isSidechain") is not True and not _NO_REQUEST.match(said):
                self.requests[session].setdefault(uuid, Request(at, uuid, said[:2000]))

    def _result(self, identity: str, body: Any, block: dict[str, Any], at: datetime, is_early: bool) -> None:
        """``is_early``: the call itself was not seen yet, as lines may come in any order."""
        about_agent = _about_agent(body)
        if (spawn := self._maybe.pop(identity, None)) is not None and about_agent:
            self._spawned(spawn)
        if identity in self.results or not (identity in self.spawns or about_agent or is_early):
            return
        said = plain(block.get("content")) or ""
        if isinstance(body, dict):
            value: Any = {name: body[name] for name in _TOLD if name in body}
            if agent := text(body.get("agentId")) or text(body.get("teammate_id")):
                self.mentions.add(("agent", agent))
            if (team := text(body.get("team_name"))) and (name := text(body.get("name"))):
                self.mentions.add(("member", team, name))
        else:
            value = "\n".join(filter(None, (said, plain(body))))[:400]
        ends = f"{said[:400]} … {said[-800:]}"
        self.results[identity] = Result(at, value, block.get("is_error") is True, said[:400], ends)

    def _progress(self, line: dict[str, Any], at: datetime, session: str) -> None:
        data, spawn = as_dict(line.get("data")), text(line.get("parentToolUseID"))
        if data.get("type") == "agent_progress" and spawn is not None:
            agent = text(data.get("agentId")) or spawn
            self.agents.setdefault(spawn, agent)
            inner = as_dict(data.get("message"))
            when = moment(inner.get("timestamp"))
            self.inner[session, agent].add(inner, None if when is None else when.timestamp())
            if when is not None and inner.get("type") == "assistant":
                self._assistant(inner, when, session, agent)
            elif when is not None and inner.get("type") == "user":
                self._user(inner, when, session, agent)

    def _notice(self, content: Any, at: datetime | None) -> None:
        if at is not None:
            for ids, notice in notices(content, at):
                for identity in ids:
                    self.notices[identity].append(notice)


def is_spawn(name: str, asked: dict[str, Any]) -> bool:
    """Whether a tool call hands out a task: by the tool's name, wrapped or not, or by what it is given.

    >>> is_spawn("proxy_Task", {"prompt": "look", "description": "Look"}), is_spawn("TaskCreate", {"subject": "x"})
    (True, False)
    """
    if name in _NAMES:
        return True
    if not isinstance(asked.get("prompt"), str) or name in _NO_SPAWNS or not re.fullmatch(r"[\w.:-]+", name):
        return False
    return isinstance(asked.get("subagent_type"), str) or (
        name.endswith(_NAMES) and isinstance(asked.get("description"), str)
    )


def notices(content: Any, at: datetime) -> list[tuple[list[str], Notice]]:
    """The notifications in a text, each with the spawn and the agent that it is about."""
    if not isinstance(content, str) or "-notification>" not in content:
        return []
    found = []
    for part in re.split(r"<(?:task|agent)-notification>", content)[1:]:
        # The agent's own words may quote tags: read the head before them and the last <usage>.
        head, _, said = part.partition("<summary>")
        head = head.partition("<result>")[0]
        usage = part[part.rfind("<usage>") :] if "<usage>" in part else ""
        ids = [word for name in ("tool-use-id", "task-id") if (word := _tag(head, name))]
        status = _tag(head, "status") or _tag(part, "status") or ""
        counts = {k: int(v) for k, v in re.findall(r"(\w+)\W{1,3}(\d{1,15})\b", usage)}
        found.append((ids, Notice(at, status, counts, said[:400])))
    return found


def _about_agent(body: Any) -> bool:
    """Whether a result says that an agent was handed a task."""
    if not isinstance(body, dict):
        return False
    status = body.get("status")
    if status in ("teammate_spawned", "remote_launched"):
        return "teammate_id" in body or "taskId" in body
    return isinstance(body.get("agentId"), str) and (isinstance(status, str) or "totalDurationMs" in body)


def _opening(prompt: Any) -> int | None:
    """The hash of a prompt, whether or not it came as a team mate's message."""
    if not isinstance(prompt, str) or not prompt.strip():
        return None
    if (match := re.match(r"\s*<teammate-message[^>]*>(.*?)(?:</teammate-message>|\Z)", prompt, re.DOTALL)) is not None:
        prompt = match.group(1)
    return hash(prompt.strip()[:2000])


def _tag(content: str, name: str) -> str | None:
    match = re.search(rf"<{name}>\s*([^<]{{1,200}}?)\s*</{name}>", content)
    return match.group(1) if match else None


def _length(prompt: Any) -> int | None:
    if not isinstance(prompt, str):
        return None
    match = _SHORTENED.search(prompt)
    return int(match.group(1)) if match else len(prompt)
