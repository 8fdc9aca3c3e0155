"""The workspace's record of alerts, ``alerts/log.jsonl``: one JSON object a line, appended and synced, never rewritten.

``{"time", "source", "key", "level", "message"}``: ``level`` is warning, critical or recovered; two alerts of the same
source and key are about the same thing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from claude_flow import registry
from claude_flow.files import locked
from claude_flow.values import plain

__all__ = ["FREQUENCIES", "append_line", "entries", "raise_alert", "read_lines"]

#: how often the same alert may be raised, in seconds
FREQUENCIES = {"always": 0.0, "hourly": 3600.0, "daily": 86400.0, "weekly": 7 * 86400.0}


def path() -> Path:
    """The file of the record; it need not exist."""
    return registry.workspace() / "alerts" / "log.jsonl"


def append_line(file: Path, value: dict[str, Any]) -> None:
    """Append an object as a line and sync it, so that it survives whatever ends the process. A line that a killed
    process left unfinished keeps to itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_name(f".{file.name}.lock")), file.open("ab+") as out:
        text = json.dumps(plain(value), allow_nan=False) + "\n"
        if out.tell() and (out.seek(-1, 2), out.read(1))[1] != b"\n":
            text = "\n" + text
        out.write(text.encode("utf-8"))
        out.flush()
        os.fsync(out.fileno())


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file that :func:`append_line` wrote, oldest first; what was cut off is left out."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def entries() -> Iterator[dict[str, Any]]:
    """All alerts, oldest first."""
    return read_lines(path())


def raise_alert(source: str, key: str, level: str, message: str, every: float = 0.0) -> dict[str, Any] | None:
    """Record an alert, unless the same one (source, key, level) was recorded less than ``every`` seconds ago: then
    None."""
    now = datetime.now(timezone.utc)
    for entry in reversed(list(entries())):
        if (entry.get("source"), entry.get("key")) == (source, key):
            age = (now - datetime.fromisoformat(entry["time"])).total_seconds()
            if entry["level"] == level and age < every:
                return None
            break
    alert = {
        "time": now.isoformat(timespec="seconds"),
        "source": source,
        "key": key,
        "level": level,
        "message": message,
    }
    append_line(path(), alert)
    return alert
