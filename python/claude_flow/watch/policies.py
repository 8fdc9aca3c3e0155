"""When a model is trained again, and how far that goes without a person: ``maintain/schedules.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from claude_flow import files, networks, registry
from claude_flow.errors import InputError
from claude_flow.values import did_you_mean, read_json
from claude_flow.watch import audit

__all__ = ["CONDITIONS", "Policy", "conditions", "known", "schedule", "schedules", "stop"]

#: name: what it is
CONDITIONS = {
    "data-drift": "largest distance of a feature of the logged requests from the training data, if it is no chance",
    "performance-degradation": "fall of the mean outcome from the older to the newer half, if it is no chance",
    "new-data-volume": "events and requests that were logged since the last training",
}


@dataclass(frozen=True)
class Policy:
    """When to retrain a model and how far to go without a person.

    A new version answers ``canary_share`` of the requests until ``canary_outcomes`` of its answers are known to be
    good or not, at most ``canary_time`` seconds; a share of 0 leaves that out. ``window``: how far back from the newest
    event it learns, such as 60d; all, if empty.
    """

    model: str
    network: str
    conditions: dict[str, float]
    strategy: str = "incremental"
    validation: str = "automated"
    approval: str = "automated-with-rollback"
    canary_share: float = 0.1
    canary_outcomes: int = 40
    canary_time: float = 86400.0
    window: str = ""

    @property
    def family(self) -> str:
        """The name that is retrained: coordination of coordination-v3."""
        return networks.family(self.model)


def conditions(given: Mapping[str, Any]) -> dict[str, float]:
    """The trigger conditions, each known and above 0. :class:`InputError` otherwise, or for none."""
    if not given:
        raise InputError(f"--trigger-conditions names none: {', '.join(CONDITIONS)}")
    for name, value in given.items():
        if name not in CONDITIONS:
            known = ", ".join(CONDITIONS)
            raise InputError(f"--trigger-conditions: there is no {name!r}{did_you_mean(name, CONDITIONS)}: {known}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise InputError(f"--trigger-conditions.{name}: a number above 0 is wanted")
    return {name: float(value) for name, value in given.items()}


def _path() -> Path:
    return registry.workspace() / "maintain" / "schedules.json"


def schedules() -> dict[str, Policy]:
    """The policies by model."""
    path = _path()
    found = read_json(path) if path.is_file() else {}
    try:
        return {name: Policy(**policy) for name, policy in found.items()}
    except (TypeError, AttributeError):
        raise InputError(f"{path}: damaged: set the schedules again with  maintain retrain-schedule") from None


def schedule(policies: Sequence[Policy]) -> None:
    """Keep policies; one of the same model is replaced."""
    with files.locked(_path().with_name(".lock")):
        kept = {**schedules(), **{policy.model: policy for policy in policies}}
        _write(kept)
    for policy in policies:
        audit.note(policy.model, "schedule", "set", asdict(policy))


def stop(model: str) -> None:
    """End the schedule of a model; :class:`InputError` if it has none."""
    with files.locked(_path().with_name(".lock")):
        kept = schedules()
        known(model, kept)
        del kept[model]
        _write(kept)
    audit.note(model, "schedule", "stopped")


def known(model: str, kept: Mapping[str, Policy]) -> Policy:
    """The policy of a model among ``kept``; :class:`InputError` if it has none."""
    if model not in kept:
        there = ", ".join(kept) or "none"
        raise InputError(f"{model} has no schedule{did_you_mean(model, kept)}: scheduled: {there}")
    return kept[model]


def _write(kept: Mapping[str, Policy]) -> None:
    text = json.dumps({name: asdict(policy) for name, policy in kept.items()}, indent=1)
    files.atomic_write(_path(), text + "\n")
