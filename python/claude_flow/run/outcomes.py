"""How work ended, as agents and people tell it: a line in the workspace's events, which ``data collect`` reads."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from claude_flow import registry, schema
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import locked

__all__ = ["FIELDS", "RECORD", "Field", "record", "verified"]


@dataclass(frozen=True)
class Field:
    """One thing to tell: its name, what it may be, its JSON type, and what it means."""

    name: str
    kind: schema.Kind
    type: str
    help: str
    required: bool = False


FIELDS = (
    Field("agent", schema.Text(), "string", "Who did it.", required=True),
    Field("task", schema.Text(), "string", "The task's id or name.", required=True),
    Field("success", schema.Flag(), "boolean", "Whether the result was good.", required=True),
    Field("agent_type", schema.Text(), "string", "The agent's kind, such as coder."),
    Field("task_type", schema.Text(), "string", "The task's kind, such as bug-fix."),
    Field("description", schema.Text(blank=True), "string", "The task in words."),
    Field("group", schema.Text(), "string", "The session or project."),
    Field("duration_s", schema.Number(0, above=True), "number", "Seconds it took; the end is now."),
    Field("tokens", schema.Whole(0), "integer", "Of all requests together."),
    Field("cost", schema.Number(0), "number", "US dollars."),
    Field(
        "request",
        schema.Text(),
        "string",
        "The id of the logged answer that was followed (X-Request-Id, or file and line such as 000001-17). Without it "
        "the answer is known by task and agent.",
    ),
)
RECORD = schema.Record({f.name: f.kind for f in FIELDS}, required=tuple(f.name for f in FIELDS if f.required))


def record(told: Mapping[str, Any], by: str = "mcp") -> dict[str, Any]:
    """Append a run to ``events/BY.jsonl`` of the workspace: its id, and where it stands. A ``request`` that is named
    gets its outcome in ``outcomes/BY.jsonl``.

    Raises:
        InputError: what is told cannot be.
        ClaudeFlowError: it cannot be written.
    """
    given = schema.check(told, RECORD, "the outcome")
    now = datetime.now(timezone.utc)
    answered = given.pop("request", None)
    event = {"event": "run", "run_id": f"{by}-{uuid.uuid4().hex}", **given, "end": _iso(now)}
    event["status"] = "completed" if given["success"] else "failed"
    if "duration_s" in given:
        event["start"] = event["submitted"] = _iso(now - timedelta(seconds=given["duration_s"]))
    path = registry.workspace() / "events" / f"{by}.jsonl"
    if answered is not None:
        outcome = {"id": answered, "correct": given["success"], "run_id": event["run_id"]}
        _append(registry.workspace() / "outcomes" / path.name, outcome)
    _append(path, event)
    return {"run_id": event["run_id"], "recorded_in": str(path)}


def _append(path: Path, value: Mapping[str, Any]) -> None:
    try:
        with locked(path.with_name(f".{path.name}.lock")), path.open("ab+") as file:
            torn = file.tell() and (file.seek(-1, 2), file.read(1))[1] != b"\n"  # a full disk cut the last line off
            file.write((b"\n" if torn else b"") + json.dumps(value).encode("utf-8") + b"\n")
    except OSError as error:
        raise ClaudeFlowError(f"{path}: {error.strerror or error}: the outcome is not recorded") from None


def verified(command: str) -> bool:
    """Whether the user's own check holds: its shell command ends with 0. What it prints goes to standard error.

    Raises:
        InputError: the shell does not find it, which says nothing of the work.
    """
    code = subprocess.run(command, shell=True, stdout=sys.stderr, check=False).returncode
    if code in (126, 127, 9009):  # the last one is what cmd.exe says
        raise InputError(f"--verify: {command}: the shell cannot run it, so nothing is recorded")
    return code == 0


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
