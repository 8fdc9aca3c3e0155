"""What retraining did, step by step: ``maintain/audit.jsonl``, its memory as well.

One object a line, appended and synced before a step begins and after it ended, never rewritten.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from claude_flow import registry
from claude_flow.watch import alerts

__all__ = ["entries", "note", "state"]


def path() -> Path:
    """The file; it need not exist."""
    return registry.workspace() / "maintain" / "audit.jsonl"


def entries(model: str | None = None) -> list[dict[str, Any]]:
    """What was done, oldest first."""
    return [entry for entry in alerts.read_lines(path()) if model in (None, entry.get("model"))]


def note(model: str, step: str, state: str, detail: Any = None, cycle: str | None = None) -> dict[str, Any]:
    """Write a step down."""
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    entry = {"time": moment, "model": model, "cycle": cycle, "step": step, "state": state, "detail": detail}
    alerts.append_line(path(), entry)
    return entry


def state(model: str) -> dict[str, Any]:
    """Where a model's newest cycle is: ``cycle`` (None = there was none), ``done`` (step -> detail),
    ``begun`` (steps), ``ended`` (deployed, rolled back, failed, rejected, or None) and ``waiting`` for an approval."""
    found: dict[str, Any] = {"cycle": None, "done": {}, "begun": set(), "ended": None, "waiting": False,
                             "approved": False, "since": None}  # fmt: skip
    for entry in entries(model):
        if entry["step"] == "cycle" and entry["state"] == "begun":
            found = {"cycle": entry["cycle"], "done": {"trigger": entry["detail"]}, "begun": set(), "ended": None,
                     "waiting": False, "approved": False, "since": entry["time"]}  # fmt: skip
        elif entry["cycle"] == found["cycle"] and found["cycle"]:
            if entry["state"] == "done":
                found["done"][entry["step"]] = entry["detail"]
            elif entry["step"] == "approval":
                found["waiting"], found["approved"] = entry["state"] == "waiting", entry["state"] == "approved"
            elif entry["step"] == "cycle":
                found["ended"] = entry["state"]
            elif entry["state"] == "begun":
                found["begun"].add(entry["step"])
    return {**found, "begun": sorted(found["begun"])}
