"""Claude Code transcripts, written in code line by line: nothing here is copied from a real one."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

T0 = datetime(2026, 3, 2, 9, 0, 0, tzinfo=timezone.utc)


class Transcript:
    """Builds the lines of a session, or of one of its agents; times are seconds after ``begin``."""

    def __init__(
        self,
        session: str = "5e55-1",
        agent: str | None = None,
        begin: datetime = T0,
        cwd: str = "/home/mira/shop",
        **always: Any,
    ) -> None:
        self.session, self.agent, self.begin, self.cwd, self.always = session, agent, begin, cwd, always
        self.lines: list[dict[str, Any]] = []

    def line(self, kind: str, at: float, **fields: Any) -> dict[str, Any]:
        stamp = (self.begin + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = {
            "type": kind,
            "uuid": f"{self.session}-{self.agent}-{len(self.lines) + 1}",
            "sessionId": self.session,
            "timestamp": stamp,
            "version": "2.1.80",
            "cwd": self.cwd,
            **self.always,
            **fields,
        }
        if self.agent:
            made |= {"isSidechain": True, "agentId": self.agent}
        self.lines.append(made)
        return made

    def says(self, at: float, message: str, *blocks: dict[str, Any], usage: dict[str, int] | None = None) -> dict:
        body = {"id": message, "model": "claude-sonnet-9", "role": "assistant", "content": list(blocks)}
        return self.line("assistant", at, message=body | ({"usage": usage} if usage else {}))

    def asks(self, at: float, words: str) -> dict:
        return self.line("user", at, message={"role": "user", "content": words})

    def works(self, at: float, until: float, *, model: str = "claude-haiku-9", tokens: int = 10) -> None:
        """One call from ``at`` to ``until``, and a last word a second later."""
        call = {"type": "tool_use", "id": f"call-{self.session}-{self.agent}-{at}", "name": "Read", "input": {}}
        usage = {"input_tokens": tokens}
        self.says(at, f"m{at}", call, usage=usage)["message"]["model"] = model
        self.answers(until, call["id"])
        self.says(until + 1, f"m{until}", {"type": "text", "text": "done"}, usage=usage)["message"]["model"] = model

    def spawns(self, at: float, tool_id: str, message: str = "msg_1", name: str = "Agent", **asked: Any) -> dict:
        asked = {"description": "Check the cart", "prompt": "p" * 300, "subagent_type": "Explore"} | asked
        return self.says(at, message, {"type": "tool_use", "id": tool_id, "name": name, "input": asked})

    def answers(self, at: float, tool_id: str, result: Any = None, *, said: str = "ok", error: bool = False) -> dict:
        block = {"type": "tool_result", "tool_use_id": tool_id, "content": said, "is_error": error}
        fields = {} if result is None else {"toolUseResult": result}
        return self.line("user", at, message={"role": "user", "content": [block]}, **fields)

    def completes(
        self, at: float, tool_id: str, agent: str, ms: int, tokens: int = 900, tools: int = 2, status: str = "completed"
    ) -> dict:
        result = {"status": status, "agentId": agent, "totalDurationMs": ms, "totalTokens": tokens}
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
