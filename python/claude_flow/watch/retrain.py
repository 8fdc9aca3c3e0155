"""Retraining on a schedule: triggers, a cycle of steps, deployment through versions, rollback. ``neural maintain``.

A cycle's steps are commands of this program in processes of their own, and the audit log ``maintain/audit.jsonl`` is
its memory: every step is written down, and synced, before it begins and after it ended. A cycle that was killed at any
moment goes on at the step that had not ended. Models change through the registry alone, whose changes are whole or not
there, so no moment leaves half a version.

Steps: trigger, collect, validate, preprocess, train, test regression, shadow, approval, deploy, watch.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from claude_flow import files, modelfile, networks, registry
from claude_flow import requests as lines
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.evaluate import compatibility
from claude_flow.model import load
from claude_flow.values import did_you_mean, read_json
from claude_flow.watch import alerts, drift, production, samples

__all__ = [
    *("CONDITIONS", "STEPS", "Policy", "approve", "audit", "check", "conditions", "known", "schedule", "schedules"),
    *("state", "stop", "triggers"),
]

#: name: what it is
CONDITIONS = {
    "data-drift": "largest distance of a feature of the logged requests from the training data, if it is no chance",
    "performance-degradation": "fall of the mean outcome from the older to the newer half, if it is no chance",
    "new-data-volume": "events and requests that were logged since the last training",
}
STEPS = ("collect", "validate", "preprocess", "train", "test regression", "shadow", "approval", "deploy")
STRATEGIES = ("incremental", "full", "transfer")
APPROVALS = ("automated-with-rollback", "automated", "manual")
_FEWEST = 20  # outcomes, of either half
_SHADOWED = 200  # requests that the candidate answers beside the current model
_SURE = 0.05  # chance of a fall that is none
#: how much slower a candidate may answer, as a ratio of medians
_SLOWER = 2.0


@dataclass(frozen=True)
class Policy:
    """When to retrain a model and how far to go without a person."""

    model: str
    network: str
    conditions: dict[str, float]
    strategy: str = "incremental"
    validation: str = "automated"
    approval: str = "automated-with-rollback"

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


def _folder() -> Path:
    return registry.workspace() / "maintain"


def schedules() -> dict[str, Policy]:
    """The policies by model."""
    path = _folder() / "schedules.json"
    found = read_json(path) if path.is_file() else {}
    try:
        return {name: Policy(**policy) for name, policy in found.items()}
    except (TypeError, AttributeError):
        raise InputError(f"{path}: damaged: set the schedules again with  maintain retrain-schedule") from None


def schedule(policies: Sequence[Policy]) -> None:
    """Keep policies; one of the same model is replaced."""
    with files.locked(_folder() / ".lock"):
        kept = {**schedules(), **{policy.model: policy for policy in policies}}
        _write(kept)
    for policy in policies:
        note(policy.model, "schedule", "set", asdict(policy))


def stop(model: str) -> None:
    """End the schedule of a model; :class:`InputError` if it has none."""
    with files.locked(_folder() / ".lock"):
        kept = schedules()
        known(model, kept)
        del kept[model]
        _write(kept)
    note(model, "schedule", "stopped")


def known(model: str, kept: Mapping[str, Policy]) -> Policy:
    """The policy of a model among ``kept``; :class:`InputError` if it has none."""
    if model not in kept:
        there = ", ".join(kept) or "none"
        raise InputError(f"{model} has no schedule{did_you_mean(model, kept)}: scheduled: {there}")
    return kept[model]


def _write(kept: Mapping[str, Policy]) -> None:
    text = json.dumps({name: asdict(policy) for name, policy in kept.items()}, indent=1)
    files.atomic_write(_folder() / "schedules.json", text + "\n")


# The audit log --------------------------------------------------------------------------------------------


def audit(model: str | None = None) -> list[dict[str, Any]]:
    """What was done, oldest first."""
    return [entry for entry in alerts.read_lines(_folder() / "audit.jsonl") if model in (None, entry.get("model"))]


def note(model: str, step: str, state: str, detail: Any = None, cycle: str | None = None) -> dict[str, Any]:
    """Write a step down."""
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    entry = {"time": moment, "model": model, "cycle": cycle, "step": step, "state": state, "detail": detail}
    alerts.append_line(_folder() / "audit.jsonl", entry)
    return entry


def state(model: str) -> dict[str, Any]:
    """Where a model's newest cycle is: ``cycle`` (None = there was none), ``done`` (step -> detail),
    ``ended`` (deployed, rolled back, failed, rejected, or None) and ``waiting`` for an approval."""
    found: dict[str, Any] = {
        "cycle": None,
        "done": {},
        "ended": None,
        "waiting": False,
        "approved": False,
        "since": None,
    }
    for entry in audit(model):
        if entry["step"] == "cycle" and entry["state"] == "begun":
            found = {"cycle": entry["cycle"], "done": {"trigger": entry["detail"]}, "ended": None, "waiting": False,
                     "approved": False, "since": entry["time"]}  # fmt: skip
        elif entry["cycle"] == found["cycle"] and found["cycle"]:
            if entry["state"] == "done":
                found["done"][entry["step"]] = entry["detail"]
            elif entry["step"] == "approval":
                found["waiting"], found["approved"] = entry["state"] == "waiting", entry["state"] == "approved"
            elif entry["step"] == "cycle":
                found["ended"] = entry["state"]
    return found


def approve(model: str, yes: bool = True) -> dict[str, Any]:
    """Say yes or no to a candidate that waits. :class:`InputError` if none does."""
    known(model, schedules())
    now = state(model)
    if not now["waiting"] or now["ended"]:
        raise InputError(f"no candidate of {model} waits for approval")
    if not yes:
        note(model, "cycle", "rejected", cycle=now["cycle"])
    else:
        note(model, "approval", "approved", cycle=now["cycle"])
    return state(model)


# Triggers -------------------------------------------------------------------------------------------------


def triggers(policy: Policy) -> list[dict[str, Any]]:
    """Every condition: its value (None = cannot be told), its limit, whether it is met, and what it rests on."""
    found = []
    own = [entry for entry in production.logged(0.0) if entry.request.asks(policy.network)]
    for name, limit in policy.conditions.items():
        value, told = _VALUES[name](policy, own)
        met = value is not None and value >= limit
        found.append({"condition": name, "value": value, "limit": limit, "met": met, "note": told})
    return found


def _drift(policy: Policy, own: Sequence[production.Logged]) -> tuple[float | None, str]:
    if len(own) < drift.FEWEST:
        return None, f"{len(own)} requests are logged: {drift.FEWEST} are the fewest that are tested"
    asked = [entry.request for entry in own][-2000:]
    before = samples.before("training-distribution", policy.network)
    now = samples.of_requests(asked, f"{len(asked)} requests", lambda request: request.input)
    found = drift.compare(before, now, "kolmogorov-smirnov", jointly=False)
    return found["distance"], drift.verdict(found)


def _degradation(policy: Policy, own: Sequence[production.Logged]) -> tuple[float | None, str]:
    told = production.outcomes()
    scores = np.array([next(told[i] for i in e.ids if i in told) for e in own if any(i in told for i in e.ids)])
    if len(scores) < 2 * _FEWEST:
        return None, f"{len(scores)} outcomes have arrived: {2 * _FEWEST} are needed"
    older, newer = scores[: len(scores) // 2], scores[len(scores) // 2 :]
    fall, p = _fall(older, newer)
    return (fall if p < _SURE else 0.0), f"{older.mean():.3f} to {newer.mean():.3f}, p {p:.2g}"


def _fall(older: Any, newer: Any) -> tuple[float, float]:
    """How far the mean fell, and the chance of that without a change (normal, one-sided)."""
    fall = float(older.mean() - newer.mean())
    spread = math.sqrt(older.var() / len(older) + newer.var() / len(newer))
    if spread == 0:
        return fall, 0.0 if fall > 0 else 1.0
    return fall, 1 - NormalDist().cdf(fall / spread)


def _volume(policy: Policy, own: Sequence[production.Logged]) -> tuple[float | None, str]:
    count = volume()
    seen = [
        entry["detail"]["volume"]
        for entry in audit(policy.model)
        if entry["step"] == "train" and entry["state"] == "done"
    ]
    return float(max(0, count - (seen[-1] if seen else 0))), f"{count} in all"


def volume() -> int:
    """How many events and requests the workspace has logged."""
    files_ = [*(registry.workspace() / "events").glob("*.jsonl"), *lines.log_files()]
    return sum(chunk.count(b"\n") for file in files_ for chunk in [file.read_bytes()])


_VALUES: dict[str, Callable[[Policy, Sequence[production.Logged]], tuple[float | None, str]]] = {
    "data-drift": _drift,
    "performance-degradation": _degradation,
    "new-data-volume": _volume,
}


# The cycle ------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """The cycle ends here: how, and why."""

    def __init__(self, how: str, why: str) -> None:
        super().__init__(why)
        self.how = how


def check(
    policy: Policy,
    *,
    force: bool = False,
    deadline: float | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Look at a model once: go on with its cycle, watch what it deployed, or begin a cycle if a trigger (or ``force``)
    says so. One process at a time; returns ``triggers``, the ``state``, and ``did`` in words.

    Raises:
        ClaudeFlowError: another process works on this model.
    """
    busy = f"another process is retraining {policy.model}: wait for it, or end it"
    with files.locked(_folder() / f".{policy.family}.lock", timeout=0, message=busy):
        now = state(policy.model)
        did, met = "nothing: no trigger is met", []
        watched = now["ended"] == "deployed" and policy.approval == "automated-with-rollback"
        if watched and (why := _worse(policy, now)):
            _roll_back(policy, now, why)
            return {"triggers": [], "state": state(policy.model), "did": f"rolled back: {why}"}
        if now["cycle"] is None or now["ended"] is not None:
            met = triggers(policy)
            reasons = [trigger["condition"] for trigger in met if trigger["met"]] or (["asked for"] if force else [])
            if not reasons:
                return {"triggers": met, "state": now, "did": did}
            cycle = f"{int(time.time() * 1000):x}"
            note(policy.model, "cycle", "begun", {"because": reasons, "triggers": met}, cycle)
            now = state(policy.model)
        did = _go_on(policy, now, deadline, progress)
        return {"triggers": met, "state": state(policy.model), "did": did}


def _go_on(policy: Policy, now: dict[str, Any], deadline: float | None, progress: Callable[[str], None]) -> str:
    cycle, done = now["cycle"], now["done"]
    try:
        for step in STEPS:
            if step in done:
                continue
            if deadline is not None and time.monotonic() >= deadline:
                return f"paused before {step}: the time is up"
            if step == "approval":
                if policy.approval == "manual" and not now["approved"]:
                    if not now["waiting"]:
                        note(
                            policy.model,
                            step,
                            "waiting",
                            {"approve": f"maintain approve --model {policy.model}"},
                            cycle,
                        )
                    return "waits for approval"
                note(policy.model, step, "done", policy.approval, cycle)
                continue
            progress(step)
            note(policy.model, step, "begun", cycle=cycle)
            detail = _STEPS[step](policy, done)
            done[step] = detail
            note(policy.model, step, "done", detail, cycle)
    except _Ended as end:
        note(policy.model, "cycle", end.how, str(end), cycle)
        alerts.raise_alert("maintain", policy.model, "warning", f"{policy.model}: {end.how}: {end}")
        return f"{end.how}: {end}"
    note(policy.model, "cycle", "deployed", done["deploy"], cycle)
    return f"deployed {policy.family} {done['deploy']['version']}"


def _run(*words: str, accepted: Sequence[int] = (0,)) -> tuple[int, Any]:
    """A command of this program; its exit code and JSON answer. A code that is not ``accepted`` ends the cycle."""
    command = [sys.executable, "-m", "claude_flow", "neural", *words]
    environment = {**os.environ, "CLAUDE_FLOW_FORMAT": "json", "CLAUDE_FLOW_HOME": str(registry.workspace().resolve())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in accepted:
        told = done.stderr.strip().splitlines()
        raise _Ended("failed", f"{' '.join(words[:2])}: {told[-1] if told else f'exit code {done.returncode}'}")
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise _Ended("failed", f"{' '.join(words[:2])}: its answer is no JSON") from None


def _collect(policy: Policy, done: Mapping[str, Any]) -> Any:
    _, answer = _run("data", "collect")
    return {"runs": answer.get("tables", {}).get("runs", {}).get("rows")}


def _validate(policy: Policy, done: Mapping[str, Any]) -> Any:
    _, answer = _run("data", "validate", accepted=(0, 1))
    if answer.get("errors"):
        worst = [found["message"] for found in answer["findings"] if found["severity"] == "error"]
        raise _Ended("failed", f"the collected data has {answer['errors']} errors: {worst[0] if worst else ''}")
    return {"errors": 0, "warnings": answer.get("warnings")}


def _preprocess(policy: Policy, done: Mapping[str, Any]) -> Any:
    _, answer = _run("data", "preprocess")
    if policy.network not in answer.get("made", {}):
        raise _Ended("failed", str(answer.get("skipped", {}).get(policy.network, "no data for this network")))
    return {"dataset": answer["made"][policy.network]["dataset"]}


def _candidate(policy: Policy) -> str:
    return f"{policy.family}-candidate"


def _train(policy: Policy, done: Mapping[str, Any]) -> Any:
    count, name = volume(), _candidate(policy)
    data = done["preprocess"]["dataset"]
    words = {
        "full": ("train", policy.network, "--data", data, "--output", name),
        "incremental": ("train", "incremental", "--model", _current(policy), "--new-data", data, "--compare", "false",
                        "--output", name),
        "transfer": ("transfer", "--source-model", _current(policy), "--target-domain", data, "--compare", "false",
                     "--output", name),
    }[policy.strategy]  # fmt: skip
    _run(*words)
    return {"candidate": f"{name}/{registry.versions(name)[-1]}", "volume": count}


def _current(policy: Policy) -> str:
    """The model that is in use: the family's current version, else the one that was named."""
    return f"{policy.family}/{registry.current(policy.family)}" if registry.versions(policy.family) else policy.model


def _regression(policy: Policy, done: Mapping[str, Any]) -> Any:
    if policy.validation != "automated":
        return {"skipped": "validation is manual"}
    candidate = done["train"]["candidate"]
    words = ("--baseline-model", _current(policy), "--candidate-model", candidate, "--test-dataset",
             done["preprocess"]["dataset"])  # fmt: skip
    code, answer = _run("test", "regression", *words, accepted=(0, 1))
    if code:
        raise _Ended("rejected", f"{candidate} is worse: {json.dumps(answer.get('regressions'))[:300]}")
    return {"regressions": answer.get("regressions"), "quality": len(answer.get("quality", []))}


def _shadow(policy: Policy, done: Mapping[str, Any]) -> Any:
    """Candidate and current model answer the newest logged requests side by side; no caller sees it."""
    asked = list(lines.logged(policy.network))[-_SHADOWED:]
    row = networks.get(policy.network)
    models = [load(registry.model_path(name)) for name in (_current(policy), done["train"]["candidate"])]
    seconds: list[list[float]] = [[], []]
    same = failed = 0
    for request in asked:
        answers: list[Any] = []
        for model, times in zip(models, seconds, strict=True):
            begin = time.perf_counter()
            try:
                answers.append({k: v for k, v in row.answer.answer(model, request.input).items() if k != "model"})
            except ClaudeFlowError:
                answers.append(None)
            times.append(time.perf_counter() - begin)
        failed += answers[1] is None and answers[0] is not None
        same += answers[0] == answers[1]
    if failed:
        raise _Ended("rejected", f"in shadow the candidate could not answer {failed} of {len(asked)} requests")
    slower = float(np.median(seconds[1]) / np.median(seconds[0])) if asked else None
    if slower is not None and len(asked) >= _FEWEST and slower > _SLOWER:
        raise _Ended("rejected", f"in shadow the candidate took {slower:.1f} times as long")
    return {"requests": len(asked), "same_answers": same, "time_ratio": slower}


def _deploy(policy: Policy, done: Mapping[str, Any]) -> Any:
    candidate = registry.model_path(done["train"]["candidate"])
    before = registry.current(policy.family) if registry.versions(policy.family) else None
    for entry in registry.history(policy.family):  # a cycle that was killed right after it deployed
        if str(entry.get("why")).endswith(f": {done['train']['candidate']}"):  # 1.0.1 is no 1.0.10
            return {"version": entry["version"], "before": before if before != entry["version"] else None}
    checks = compatibility.compare(candidate, registry.model_path(_current(policy)))
    broken = [c.name for c in checks if not c.ok and c.breaks]
    if broken:
        raise _Ended("rejected", f"{', '.join(broken)} would break callers of {policy.family}")
    if before is None:  # the family begins with the model that was named, so that a rollback has somewhere to go
        start = registry.model_path(policy.model)
        file = modelfile.read(start)
        card = registry.model_card(start) or {**file.provenance, "network": file.network}
        before = registry.add_model(policy.family, None, start, card).parent.name
    because = ", ".join(done["trigger"]["because"])
    card = {**registry.model_card(candidate), "made_from": done["train"]["candidate"]}
    path = registry.add_model(policy.family, None, candidate, card)
    version = path.parent.name
    registry.point(policy.family, version, f"retrained ({because}): {done['train']['candidate']}")
    return {"version": version, "before": before}


_STEPS: dict[str, Callable[[Policy, Mapping[str, Any]], Any]] = {
    "collect": _collect,
    "validate": _validate,
    "preprocess": _preprocess,
    "train": _train,
    "test regression": _regression,
    "shadow": _shadow,
    "deploy": _deploy,
}


def _worse(policy: Policy, now: Mapping[str, Any]) -> str:
    """Why the version that the last cycle deployed must go, by the outcomes of its answers; or nothing."""
    deployed = now["done"].get("deploy") or {}
    version, before = deployed.get("version"), deployed.get("before")
    if not before or registry.current(policy.family) != version:
        return ""
    told = production.outcomes()
    scores: dict[str, list[float]] = {version: [], before: []}
    for entry in production.logged(0.0):
        name, _, number = str((entry.request.answer or {}).get("model", "")).partition("/")
        known = [told[i] for i in entry.ids if i in told]
        if known and name == policy.family and number in scores:
            scores[number].append(known[0])
    older, newer = np.array(scores[before]), np.array(scores[version])
    if min(len(older), len(newer)) < _FEWEST:
        return ""
    fall, p = _fall(older, newer)
    if p < _SURE and fall > 0:
        return f"{version} has {newer.mean():.3f} good outcomes, {before} had {older.mean():.3f} (p {p:.2g})"
    return ""


def _roll_back(policy: Policy, now: Mapping[str, Any], why: str) -> None:
    before = now["done"]["deploy"]["before"]
    registry.point(policy.family, before, f"rolled back: {why}")
    note(policy.model, "cycle", "rolled back", why, now["cycle"])
    alerts.raise_alert("maintain", policy.model, "critical", f"{policy.family} is back at {before}: {why}")
