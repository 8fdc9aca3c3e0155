"""What begins a retraining: drift of the requests, worse outcomes, or enough that is new."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from claude_flow import registry
from claude_flow import requests as lines
from claude_flow.watch import audit, drift, outcomes, samples
from claude_flow.watch.policies import Policy

__all__ = ["fall", "triggers", "volume"]

FEWEST = 20  # outcomes, of either half
_NEWEST = 400  # outcomes that count
_SURE = 0.05  # chance of a fall that is none


def triggers(policy: Policy) -> list[dict[str, Any]]:
    """Every condition: its value (None = cannot be told), its limit, whether it is met, and what it rests on."""
    found = []
    own = [entry for entry in outcomes.logged(0.0) if entry.request.asks(policy.network)]
    for name, limit in policy.conditions.items():
        value, told = _VALUES[name](policy, own)
        met = value is not None and value >= limit
        found.append({"condition": name, "value": value, "limit": limit, "met": met, "note": told})
    return found


def _drift(policy: Policy, own: Sequence[outcomes.Logged]) -> tuple[float | None, str]:
    if len(own) < drift.FEWEST:
        return None, f"{len(own)} requests are logged: {drift.FEWEST} are the fewest that are tested"
    asked = [entry.request for entry in own][-2000:]
    before = samples.before("training-distribution", policy.network)
    now = samples.of_requests(asked, f"{len(asked)} requests", lambda request: request.input)
    found = drift.compare(before, now, "kolmogorov-smirnov", jointly=False)
    return found["distance"], drift.verdict(found)


def _degradation(policy: Policy, own: Sequence[outcomes.Logged]) -> tuple[float | None, str]:
    """Among the newest outcomes of the answers of all versions: a new one that is as bad as the one before it has not
    mended the fall."""
    names = {policy.family, policy.model.partition("/")[0]}
    answered = [e for e in own if str((e.request.answer or {}).get("model", "")).partition("/")[0] in names]
    scores = np.array(outcomes.known(answered)[-_NEWEST:])
    if len(scores) < 2 * FEWEST:
        return None, f"{len(scores)} outcomes of its answers have arrived: {2 * FEWEST} are needed"
    older, newer = scores[: len(scores) // 2], scores[len(scores) // 2 :]
    lost, p = fall(older, newer)
    return (lost if p < _SURE else 0.0), f"{older.mean():.3f} to {newer.mean():.3f}, p {p:.2g}"


def fall(older: Any, newer: Any) -> tuple[float, float]:
    """How far the mean fell, and the chance of that without a change (normal, one-sided)."""
    fall = float(older.mean() - newer.mean())
    spread = math.sqrt(older.var() / len(older) + newer.var() / len(newer))
    if spread == 0:
        return fall, 0.0 if fall > 0 else 1.0
    return fall, 1 - NormalDist().cdf(fall / spread)


def _volume(policy: Policy, own: Sequence[outcomes.Logged]) -> tuple[float | None, str]:
    count = volume()
    seen = [
        entry["detail"]["volume"]
        for entry in audit.entries(policy.model)
        if entry["step"] == "train" and entry["state"] == "done"
    ]
    return float(max(0, count - (seen[-1] if seen else 0))), f"{count} in all"


def volume() -> int:
    """How many events and requests the workspace has logged."""
    files_ = [*(registry.workspace() / "events").glob("*.jsonl"), *lines.log_files()]
    return sum(chunk.count(b"\n") for file in files_ for chunk in [file.read_bytes()])


_VALUES: dict[str, Callable[[Policy, Sequence[outcomes.Logged]], tuple[float | None, str]]] = {
    "data-drift": _drift,
    "performance-degradation": _degradation,
    "new-data-volume": _volume,
}
