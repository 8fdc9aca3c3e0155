"""A request for a forecast: checked, with the past that it goes by, as runs without an outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import registry, schema
from claude_flow.errors import InputError
from claude_flow.networks.prediction.features import QUANTILES
from claude_flow.networks.prediction.history import KEYS, Runs
from claude_flow.values import duration

__all__ = [
    "EXPERIENCE",
    "FIELDS",
    "iso",
    "now",
    "open_tasks",
    "parse_request",
    "parse_requests",
    "parsed",
    "past_of",
]

_SIMILAR = re.compile(r"similar-tasks-last-([0-9]+-[a-z]+)")
EXPERIENCE = {"junior": 0, "mid": 1, "intermediate": 1, "senior": 2}


def _moment(text: str) -> int:
    """Microseconds UTC."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InputError(f"{schema.shown(text)} is not ISO 8601 such as 2026-03-01T09:30:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp() * 1e6)


_CAPACITY = schema.Record(
    {
        "available-agents": schema.Number(1, 1e6),
        "average-productivity": schema.Number(0.01, 100),
        "experience-level": schema.Choice(*EXPERIENCE),
    }
)
_LEVEL = schema.Number(0, QUANTILES[-1] - QUANTILES[0] + 1e-9, above=True)  # what the network learned
_REQUEST = schema.Record(
    {
        "task-description": schema.Text(),
        "historical-context": schema.Text(),
        "current-team-capacity": _CAPACITY,
        "uncertainty-quantification": schema.Flag(),
        "confidence-intervals": schema.List(_LEVEL, "share", least=1),
        "task-type": schema.Text(),
        "agent": schema.Text(),
        "project": schema.Text(),
        "model": schema.Text(),
        "source": schema.Text(),
        "requested-time": schema.Number(0, 1e12),
        "processors": schema.Number(0, 1e12),
        "decision-time": schema.Parsed("an ISO 8601 time", _moment),
    },
    required=("task-description",),
    says='an object with "task-description"',
)
FIELDS = tuple(_REQUEST.fields)


_DEFAULTS = {"uncertainty-quantification": True, "confidence-intervals": [0.8, 0.95], "current-team-capacity": {}}


def parse_request(request: Any) -> dict[str, Any]:
    """The request, checked, with defaults filled in; null is as good as absent."""
    return parse_requests([request])[0]


def parse_requests(requests: Sequence[Any]) -> list[dict[str, Any]]:
    """:func:`parse_request` of each."""
    found = parsed(requests)
    for request in found:
        if isinstance(request, InputError):
            raise request
    return found  # type: ignore[return-value]  # no error is among them


def parsed(requests: Sequence[Any]) -> list[dict[str, Any] | InputError]:
    told = [
        {key: value for key, value in request.items() if value is not None}
        for request in requests
        if isinstance(request, Mapping)
    ]
    checked = iter(schema.check_many(told, _REQUEST))
    found: list[dict[str, Any] | InputError] = []
    own = _own_log()
    for request in requests:
        if not isinstance(request, Mapping):
            found.append(schema.refused("the request", _REQUEST.says, request))
        else:
            taken = next(checked)
            found.append(taken if isinstance(taken, InputError) else {**_DEFAULTS, **own, **taken})
    return found


def _own_log() -> dict[str, str]:
    """What a request goes by that says nothing of it: the workspace's log, if there is one."""
    from claude_flow.data import views  # a tenth of a command's start

    is_there = (registry.workspace() / "datasets" / views.TABLES_NAME).is_dir()
    return {"historical-context": views.TABLES_NAME} if is_there else {}


def now() -> int:
    return int(datetime.now(timezone.utc).timestamp() * 1e6)


def past_of(asked: dict[str, Any]) -> tuple[Runs, dict[str, Any], dict[str, int]]:
    """The runs that the request points at, how they were found, and the keys of their sources; none is said, never
    assumed."""
    context = asked.get("historical-context")
    nothing = Runs.from_columns({})
    if context in (None, "none"):
        why = "no historical-context given" if context is None else "historical-context is none"
        return nothing, {"note": f"{why}: the model's prior alone answers"}, {}
    from claude_flow.data import views  # a tenth of a command's start

    similar = _SIMILAR.fullmatch(context)
    name = views.TABLES_NAME if similar else context
    try:
        folder = views.find(name).folder
    except InputError:
        if not similar:
            raise
        missing = f"the workspace has no dataset {name} (make it with  claude-flow neural data collect)"
        return nothing, {"note": f"{missing}: the model's prior alone answers"}, {}
    from claude_flow.networks.prediction.prepare import read_runs

    runs, sources = read_runs(Path(folder))
    used: dict[str, Any] = {"dataset": str(folder), "order": "most similar and most recent first"}
    if similar:
        since = asked["decision"] - int(duration(similar.group(1).replace("-", " ")) * 1e6)
        used["since"] = iso(since)
        runs = runs.take(np.flatnonzero(runs.decision >= since))
    runs = runs.take(np.flatnonzero(runs.decision <= asked["decision"]))
    if not len(runs):
        used["note"] = "the dataset has no timed run before the decision in that span: the model's prior alone answers"
    return runs, used, {name: int(code) for code, name in sources.items()}


def open_tasks(asked: list[dict[str, Any]], past: Runs, codes: Mapping[str, int]) -> tuple[Runs, list[dict[str, Any]]]:
    """The open tasks as runs without an outcome; each one's source is the one named, else that of the latest run."""

    def column(name: str, unknown: Any = None) -> list[Any]:
        return [request.get(name, unknown) for request in asked]

    # Runs come in the order of their decisions: these keep their own.
    tasks = Runs.from_columns(
        {
            "submitted": [0] * len(asked),
            "description": column("task-description"),
            "task_type": column("task-type"),
            "agent": column("agent"),
            "project": column("project"),
            "model": column("model"),
            "requested_s": column("requested-time", np.nan),
            "requested_processors": column("processors", np.nan),
        }
    )
    keys, sources = tasks.keys.copy(), []
    for i, request in enumerate(asked):
        wanted = request.get("source")
        if wanted is not None and wanted not in codes:
            raise InputError(f"source {wanted!r} is not in the history; it has {', '.join(sorted(codes)) or 'no runs'}")
        if len(past):
            code = codes[wanted] if wanted is not None else past.keys[-1, KEYS.index("source")]
            keys[i, KEYS.index("source")] = code
            sources.append({"source": next(name for name, own in codes.items() if own == code)})
        else:
            sources.append({})
    return replace(tasks, keys=keys, decision=np.array(column("decision"), np.int64)), sources


def iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
