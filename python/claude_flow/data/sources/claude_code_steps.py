"""What the inner steps of one Claude Code subagent add up to: tokens, errors, times, actions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from claude_flow.data.events import Step, count, moment, text

__all__ = ["InnerSteps", "as_dict", "blocks"]

_IDLE_S = 300.0


@dataclass(slots=True)
class InnerSteps:
    """What the inner steps of one run add up to; memory grows with their number, not with their text."""

    lines: set[str] = field(default_factory=set)
    times: list[datetime] = field(default_factory=list)
    usage: dict[str, list[int]] = field(default_factory=dict)
    called: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    answered: dict[str, tuple[datetime | None, bool]] = field(default_factory=dict)
    retries: int | None = None
    model: str | None = None

    def add(self, line: dict[str, Any]) -> None:
        uuid = line.get("uuid")
        if isinstance(uuid, str):
            if uuid in self.lines:
                return
            self.lines.add(uuid)
        at = moment(line.get("timestamp"))
        if line.get("type") == "system" and line.get("subtype") == "api_error":
            self.retries = (self.retries or 0) + 1
        if line.get("type") not in ("assistant", "user"):
            return
        if at is not None:
            self.times.append(at)
        message = as_dict(line.get("message"))
        if isinstance(identity := message.get("id"), str) and isinstance(message.get("usage"), dict):
            usage = message["usage"]
            latest = [
                count(usage.get(name)) or 0
                for name in (
                    "input_tokens",
                    "cache_creation_input_tokens",
                    "cache_read_input_tokens",
                    "output_tokens",
                )
            ]
            known = self.usage.get(identity, latest)
            self.usage[identity] = [max(a, b) for a, b in zip(known, latest, strict=True)]
            self.model = text(message.get("model")) or self.model
        for block in blocks(message):
            if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                self.called.setdefault(block["id"], (text(block.get("name")) or "unknown", at))
            elif block.get("type") == "tool_result" and isinstance(block.get("tool_use_id"), str):
                self.answered.setdefault(block["tool_use_id"], (at, block.get("is_error") is True))

    def gaps_s(self) -> float:
        """Seconds in gaps above 300 s between neighbouring inner lines."""
        times = sorted(self.times)
        gaps = ((b - a).total_seconds() for a, b in itertools.pairwise(times))
        return sum(gap for gap in gaps if gap > _IDLE_S)

    def steps(self, run_id: str) -> Iterator[Step]:
        for index, (identity, (name, began)) in enumerate(self.called.items()):
            ended, _ = self.answered.get(identity, (None, False))
            seconds = None
            if began is not None and ended is not None and ended >= began:
                seconds = (ended - began).total_seconds()
            yield Step(run_id=run_id, index=index, action=name, seconds=seconds)


def as_dict(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of a message."""
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
