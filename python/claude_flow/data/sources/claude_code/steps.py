"""What the lines of one Claude Code thread add up to: tokens, errors, times, actions."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from claude_flow.data.events import Step, count, text
from claude_flow.data.sources.claude_code.words import is_check, names_fault, passed

__all__ = ["SYNTHETIC", "InnerSteps", "as_dict", "blocks", "is_cancelled", "plain"]

SYNTHETIC = "<synthetic>"  # the model of what Claude Code itself put into the assistant's mouth: errors, fillers
_IDLE_S = 300.0
_USAGE = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_WRITES = frozenset(("Edit", "MultiEdit", "Write", "NotebookEdit"))


@dataclass(slots=True)
class InnerSteps:
    """What the lines of one thread add up to; memory grows with their number, not with their text.

    Times are seconds since 1970. ``words``: time and model of each line that a model said; ``usage``: message id ->
    time and four counts; ``called``: tool call -> name and time; ``answered``: tool call -> time, whether it failed;
    ``written``: time and file of each edit; ``retries``, ``breaks``: when the API failed, when it gave out for good;
    ``checks``: time of each test, build or lint whose outcome can be read, and whether it passed; ``texts``: time of
    each text of the model's, and whether it names a fault.
    """

    seen: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    words: list[tuple[float, str]] = field(default_factory=list)
    usage: dict[str, list[float]] = field(default_factory=dict)
    called: dict[str, tuple[str, float]] = field(default_factory=dict)
    answered: dict[str, tuple[float, bool]] = field(default_factory=dict)
    written: list[tuple[float, str]] = field(default_factory=list)
    retries: list[float] = field(default_factory=list)
    breaks: list[float] = field(default_factory=list)
    checks: list[tuple[float, bool]] = field(default_factory=list)
    texts: list[tuple[float, bool]] = field(default_factory=list)
    checking: dict[str, str] = field(default_factory=dict)  # call -> command, until it is answered
    has_own_file: bool = False  # which would show retries; without one nothing is known of them

    def add(self, line: dict[str, Any], at: float | None) -> None:
        """Take in one line; a line seen before changes nothing."""
        uuid = line.get("uuid")
        if isinstance(uuid, str):
            if uuid in self.seen:
                return
            self.seen.add(uuid)
        kind, subtype = line.get("type"), line.get("subtype")
        if kind == "system" and subtype == "api_error":
            self.retries.append(at or 0.0)
        if at is None or not (kind in ("assistant", "user") or (kind == "system" and subtype == "turn_duration")):
            return
        self.times.append(at)
        message = as_dict(line.get("message"))
        if kind == "assistant":
            self._says(message, at, line.get("isApiErrorMessage") is True)
        for block in blocks(message):
            if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                name = text(block.get("name")) or "unknown"
                self.called.setdefault(block["id"], (name, at))
                asked = as_dict(block.get("input"))
                path = asked.get("file_path") or asked.get("notebook_path")
                if name in _WRITES and isinstance(path, str):
                    self.written.append((at, path[:300]))
                if isinstance(command := asked.get("command"), str) and is_check(command):
                    self.checking[block["id"]] = command[:2000]
            elif block.get("type") == "tool_result" and isinstance(block.get("tool_use_id"), str):
                failed = block.get("is_error") is True and not is_cancelled(plain(block.get("content")))
                self.answered.setdefault(block["tool_use_id"], (at, failed))
                if (command := self.checking.pop(block["tool_use_id"], None)) is not None:
                    verdict = passed(command, plain(block.get("content")) or "", failed)
                    if verdict is not None:
                        self.checks.append((at, verdict))
            elif kind == "assistant" and block.get("type") == "text" and isinstance(block.get("text"), str):
                self.texts.append((at, names_fault(block["text"])))

    def _says(self, message: dict[str, Any], at: float, is_error: bool) -> None:
        model = text(message.get("model")) or ""
        if is_error:
            self.breaks.append(at)
        elif model != SYNTHETIC:
            self.words.append((at, model))
            if isinstance(identity := message.get("id"), str) and isinstance(message.get("usage"), dict):
                latest = [at, *(count(message["usage"].get(name)) or 0 for name in _USAGE)]
                known = self.usage.setdefault(identity, latest)
                known[1:] = map(max, known[1:], latest[1:])

    def split(self, moments: Sequence[float]) -> list[InnerSteps]:
        """The parts from each of the ascending ``moments`` to the next; what comes before the first goes with it."""
        if len(moments) < 2:
            return [self]
        parts = [InnerSteps(has_own_file=self.has_own_file) for _ in moments]

        def of(at: float) -> InnerSteps:
            return parts[max(bisect_right(moments, at) - 1, 0)]

        for name in ("times", "retries", "breaks"):
            for at in getattr(self, name):
                getattr(of(at), name).append(at)
        for name in ("words", "written", "checks", "texts"):
            for entry in getattr(self, name):
                getattr(of(entry[0]), name).append(entry)
        for identity, usage in self.usage.items():
            of(usage[0]).usage[identity] = usage
        for identity, call in self.called.items():
            of(call[1]).called[identity] = call
        for identity, answer in self.answered.items():
            of(self.called.get(identity, ("", answer[0]))[1]).answered[identity] = answer
        return parts

    @property
    def model(self) -> str | None:
        """The model that spoke last."""
        return max(self.words, default=(0.0, ""))[1] or None

    @property
    def gave_out(self) -> bool:
        """The last that was heard is that the API failed."""
        return bool(self.breaks) and max(self.breaks) >= max(self.words, default=(0.0, ""))[0]

    @property
    def is_done(self) -> bool:
        """The thread spoke and every call was answered: nothing says that it was cut off."""
        return bool(self.words) and self.called.keys() <= self.answered.keys()

    @property
    def tokens(self) -> int:
        """Of all requests together, every kind of token."""
        return int(sum(sum(usage[1:]) for usage in self.usage.values()))

    @property
    def context_tokens(self) -> int | None:
        """Context and output of the last request."""
        last = max(self.usage.values(), key=lambda usage: usage[0], default=None)
        return None if last is None else int(sum(last[1:]))

    @property
    def errors(self) -> int:
        """Calls that failed; one that was cancelled because another failed did not."""
        return sum(failed for _, failed in self.answered.values())

    def gaps_s(self) -> float:
        """Seconds in gaps above 300 s between neighbouring lines."""
        gaps = (b - a for a, b in itertools.pairwise(sorted(self.times)))
        return sum(gap for gap in gaps if gap > _IDLE_S)

    def steps(self, run_id: str) -> Iterator[Step]:
        """The calls, in their order."""
        for index, (identity, (name, began)) in enumerate(self.called.items()):
            ended = self.answered.get(identity, (-1.0, False))[0]
            seconds = round(ended - began, 6) if ended >= began else None
            yield Step(run_id=run_id, index=index, action=name, seconds=seconds)


def is_cancelled(said: str | None) -> bool:
    """Whether a call never ran because one beside it failed.

    >>> is_cancelled("<tool_use_error>Sibling tool call errored</tool_use_error>")
    True
    """
    low = (said or "")[:300].lower()
    return "sibling tool call" in low or ("parallel tool call" in low and ("cancel" in low or "errored" in low))


def as_dict(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of a message."""
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def plain(content: Any) -> str | None:
    """The text of a message's content, be it a string or a list of blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(b["text"]) for b in content if isinstance(b, dict) and "text" in b)
    return None
