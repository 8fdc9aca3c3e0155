"""Small synthetic logs, written in code: nothing here is copied from a real one."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

T0 = datetime(2026, 3, 2, 9, 0, 0, tzinfo=timezone.utc)


class Transcript:
    """Builds Claude Code lines; times are seconds after 2026-03-02T09:00Z."""

    def __init__(self, session: str = "5e55-1", agent: str | None = None) -> None:
        self.session, self.agent, self.lines, self._serial = session, agent, [], 0

    def line(self, kind: str, at: float, **fields: Any) -> dict[str, Any]:
        self._serial += 1
        stamp = (T0 + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = {
            "type": kind,
            "uuid": f"{self.session}-{self.agent}-{self._serial}",
            "sessionId": self.session,
            "timestamp": stamp,
            "version": "2.1.80",
            "cwd": "/home/mira/shop",
            **fields,
        }
        if self.agent:
            made |= {"isSidechain": True, "agentId": self.agent}
        self.lines.append(made)
        return made

    def says(self, at: float, message: str, *blocks: dict[str, Any], usage: dict[str, int] | None = None) -> dict:
        body = {"id": message, "model": "claude-sonnet-9", "role": "assistant", "content": list(blocks)}
        return self.line("assistant", at, message=body | ({"usage": usage} if usage else {}))

    def spawns(self, at: float, tool_id: str, message: str = "msg_1", name: str = "Agent", **asked: Any) -> dict:
        asked = {"description": "Check the cart", "prompt": "p" * 300, "subagent_type": "Explore"} | asked
        return self.says(at, message, {"type": "tool_use", "id": tool_id, "name": name, "input": asked})

    def answers(self, at: float, tool_id: str, result: Any = None, *, said: str = "ok", error: bool = False) -> dict:
        block = {"type": "tool_result", "tool_use_id": tool_id, "content": said, "is_error": error}
        fields = {} if result is None else {"toolUseResult": result}
        return self.line("user", at, message={"role": "user", "content": [block]}, **fields)

    def completes(self, at: float, tool_id: str, agent: str, ms: int, tokens: int = 900, tools: int = 2) -> dict:
        result = {"status": "completed", "agentId": agent, "totalDurationMs": ms, "totalTokens": tokens}
        return self.answers(at, tool_id, result | {"totalToolUseCount": tools})

    def launches(self, at: float, tool_id: str, agent: str) -> dict:
        return self.answers(at, tool_id, {"status": "async_launched", "isAsync": True, "agentId": agent})

    def notifies(self, at: float, agent: str, status: str = "completed", usage: str | None = None) -> None:
        """A notification appears twice: when it is queued and when it is delivered."""
        usage = usage or "<usage>total_tokens: 700\ntool_uses: 3\nduration_ms: 45000</usage>"
        said = (
            f"<task-notification>\n<task-id>{agent}</task-id>\n<status>{status}</status>\n"
            f"<summary>Agent finished</summary>\n<result>All good</result>\n{usage}\n</task-notification>"
        )
        self.line("queue-operation", at, operation="enqueue", content=said)
        self.line("user", at + 5, message={"role": "user", "content": said})

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = "".join(json.dumps(line) + "\n" for line in self.lines).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path


@pytest.fixture
def transcript() -> type[Transcript]:
    return Transcript


@pytest.fixture
def after():
    """``after(3)`` is 2026-03-02T09:00:03Z."""
    return lambda seconds: T0 + timedelta(seconds=seconds)


@pytest.fixture
def gather():
    """Read a path with its own source: the records by kind, and the log's account."""
    from claude_flow.data.lines import Log
    from claude_flow.data.sources import detect

    def read(path: Path) -> tuple[dict[str, list[Any]], Log]:
        source, files = detect(path)
        log = Log()
        found: dict[str, list[Any]] = {"Run": [], "Step": [], "Task": [], "Fold": []}
        for record in source.read(path, files, log):
            found[type(record).__name__].append(record)
        return found, log

    return read
