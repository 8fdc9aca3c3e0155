"""Retraining on a schedule: a cycle of steps, a canary, deployment through versions, rollback. ``neural maintain``.

A cycle's steps are commands of this program in processes of their own, and the audit log is its memory: every step is
written down, and synced, before it begins and after it ended. A cycle that was killed at any moment goes on at the step
that had not ended. Models change through the registry alone, whose changes are whole or not there, so no moment leaves
half a version.

Steps: trigger, collect, validate, preprocess, train, test regression, shadow, approval, canary, deploy; then watch.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import files, modelfile, networks, registry
from claude_flow import requests as lines
from claude_flow.data import events
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.evaluate import compatibility
from claude_flow.model import load
from claude_flow.values import duration
from claude_flow.watch import alerts, audit, outcomes, triggers
from claude_flow.watch.audit import note
from claude_flow.watch.policies import Policy, known, schedules

__all__ = ["APPROVALS", "STEPS", "STRATEGIES", "approve", "check"]

STEPS = ("collect", "validate", "preprocess", "train", "test regression", "shadow", "approval", "canary", "deploy")
STRATEGIES = ("incremental", "full", "transfer")
APPROVALS = ("automated-with-rollback", "automated", "manual")
_SHADOWED = 200  # requests that the candidate answers beside the current model
#: how much slower a candidate may answer, as a ratio of medians
_SLOWER = 2.0
#: chance of a fall that is none: of one look, and of a look that is repeated as outcomes arrive
_SURE, _SURE_AT_ANY_TIME = 0.05, 0.005
#: outcomes of either version, from the canary on, that are compared after a deployment: those before saw another world,
#: and a fall that comes later is the world's, which the triggers see
_WATCHED = 200
#: by how much the log must have grown since a cycle ended before another begins: what is still met was answered
_GROWN = 1.1


def approve(model: str, yes: bool = True) -> dict[str, Any]:
    """Say yes or no to a candidate that waits. :class:`InputError` if none does."""
    known(model, schedules())
    now = audit.state(model)
    if not now["waiting"] or now["ended"]:
        raise InputError(f"no candidate of {model} waits for approval")
    if not yes:
        note(model, "cycle", "rejected", cycle=now["cycle"])
    else:
        note(model, "approval", "approved", cycle=now["cycle"])
    return audit.state(model)


# The cycle ------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """The cycle ends here: how, and why."""

    def __init__(self, how: str, why: str) -> None:
        super().__init__(why)
        self.how = how


class _Waits(Exception):
    """The step goes on at another look: what it waits for."""


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
    with files.locked(registry.workspace() / "maintain" / f".{policy.family}.lock", timeout=0, message=busy):
        now = audit.state(policy.model)
        met: list[dict[str, Any]] = []
        if now["ended"] == "deployed" and policy.approval == "automated-with-rollback" and (why := _worse(policy, now)):
            _roll_back(policy, now, why)
            return {"triggers": [], "state": audit.state(policy.model), "did": f"rolled back: {why}"}
        if now["cycle"] is None or now["ended"] is not None:
            volume = triggers.volume()
            before = (now["done"].get("trigger") or {}).get("volume", 0)
            if not force and before and volume < _GROWN * before:
                did = f"nothing: the log has {volume} lines, and had {before} at the last cycle"
                return {"triggers": [], "state": now, "did": did}
            met = triggers.triggers(policy)
            reasons = [trigger["condition"] for trigger in met if trigger["met"]] or (["asked for"] if force else [])
            if not reasons:
                return {"triggers": met, "state": now, "did": "nothing: no trigger is met"}
            cycle = f"{int(time.time() * 1000):x}"
            note(policy.model, "cycle", "begun", {"because": reasons, "triggers": met, "volume": volume}, cycle)
            now = audit.state(policy.model)
        did = _go_on(policy, now, deadline, progress)
        return {"triggers": met, "state": audit.state(policy.model), "did": did}


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
                        how = {"approve": f"maintain approve --model {policy.model}"}
                        note(policy.model, step, "waiting", how, cycle)
                    return "waits for approval"
                note(policy.model, step, "done", policy.approval, cycle)
                continue
            progress(step)
            if step not in now["begun"]:
                note(policy.model, step, "begun", cycle=cycle)
            detail = _STEPS[step](policy, done, deadline)
            done[step] = detail
            note(policy.model, step, "done", detail, cycle)
    except _Waits as waits:
        return str(waits)
    except _Ended as end:
        note(policy.model, "cycle", end.how, str(end), cycle)
        level = "critical" if end.how == "rolled back" else "warning"
        alerts.raise_alert("maintain", policy.model, level, f"{policy.model}: {end.how}: {end}")
        return f"{end.how}: {end}"
    note(policy.model, "cycle", "deployed", done["deploy"], cycle)
    return f"deployed {policy.family} {done['deploy']['version']}"


def _end_with_parent() -> None:
    """In a child: be killed when the parent is (Linux). Else a step of a killed cycle runs on beside its repetition."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _environment(deadline: float | None) -> dict[str, str]:
    """What a step's command is given: this workspace, and the time that is left."""
    found = {**os.environ, "CLAUDE_FLOW_FORMAT": "json", "CLAUDE_FLOW_HOME": str(registry.workspace().resolve())}
    if deadline is not None:
        found["CLAUDE_FLOW_TIME_BUDGET"] = f"{max(1.0, deadline - time.monotonic()):.1f}s"
    return found


def _run(deadline: float | None, *words: str, accepted: Sequence[int] = (0,)) -> tuple[int, Any]:
    """A command of this program; its exit code and JSON answer. A code that is not ``accepted`` ends the cycle."""
    command = [sys.executable, "-m", "claude_flow", "neural", *words]
    ties: Any = _end_with_parent if sys.platform == "linux" else None
    done = subprocess.run(
        command, env=_environment(deadline), capture_output=True, encoding="utf-8", check=False, preexec_fn=ties
    )
    if done.returncode not in accepted:
        told = done.stderr.strip().splitlines()
        raise _Ended("failed", f"{' '.join(words[:2])}: {told[-1] if told else f'exit code {done.returncode}'}")
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise _Ended("failed", f"{' '.join(words[:2])}: its answer is no JSON") from None


def _collect(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    _, answer = _run(deadline, "data", "collect", *(("--timeframe", _since(policy.window)) if policy.window else ()))
    return {"runs": answer.get("tables", {}).get("runs", {}).get("rows")}


def _validate(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    _, answer = _run(deadline, "data", "validate", accepted=(0, 1))
    if answer.get("errors"):
        worst = [found["message"] for found in answer["findings"] if found["severity"] == "error"]
        raise _Ended("failed", f"the collected data has {answer['errors']} errors: {worst[0] if worst else ''}")
    return {"errors": 0, "warnings": answer.get("warnings")}


def _preprocess(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    _, answer = _run(deadline, "data", "preprocess", "--networks", policy.network)
    if policy.network not in answer.get("made", {}):
        raise _Ended("failed", str(answer.get("skipped", {}).get(policy.network, "no data for this network")))
    return {"dataset": answer["made"][policy.network]["dataset"]}


def _candidate(policy: Policy) -> str:
    return f"{policy.family}{registry.CANDIDATE}"


def _train(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    count, name = triggers.volume(), _candidate(policy)
    data = done["preprocess"]["dataset"]
    words = {
        "full": ("train", policy.network, "--data", data, "--output", name),
        "incremental": ("train", "incremental", "--model", _current(policy), "--new-data", data, "--compare", "false",
                        "--output", name),
        "transfer": ("transfer", "--source-model", _current(policy), "--target-domain", data, "--compare", "false",
                     "--output", name),
    }[policy.strategy]  # fmt: skip
    _run(deadline, *words)
    return {"candidate": f"{name}/{registry.versions(name)[-1]}", "volume": count}


def _current(policy: Policy) -> str:
    """The model that is in use: the family's current version, else the one that was named."""
    return f"{policy.family}/{registry.current(policy.family)}" if registry.versions(policy.family) else policy.model


def _regression(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    if policy.validation != "automated":
        return {"skipped": "validation is manual"}
    candidate = done["train"]["candidate"]
    words = ("--baseline-model", _current(policy), "--candidate-model", candidate, "--test-dataset",
             done["preprocess"]["dataset"])  # fmt: skip
    code, answer = _run(deadline, "test", "regression", *words, accepted=(0, 1))
    if code:
        raise _Ended("rejected", f"{candidate} is worse: {json.dumps(answer.get('regressions'))[:300]}")
    return {"regressions": answer.get("regressions"), "quality": len(answer.get("quality", []))}


def _shadow(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
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
    if slower is not None and len(asked) >= triggers.FEWEST and slower > _SLOWER:
        raise _Ended("rejected", f"in shadow the candidate took {slower:.1f} times as long")
    return {"requests": len(asked), "same_answers": same, "time_ratio": slower}


def _version(policy: Policy, done: Mapping[str, Any]) -> tuple[str, str]:
    """The candidate as a version of its family, which does not mean it yet; and the version that it means."""
    name = done["train"]["candidate"]
    candidate = registry.model_path(name)
    for version in registry.versions(policy.family):  # a step that was killed right after it made the version
        card = registry.model_card(registry.model_path(f"{policy.family}/{version}"))
        if card.get("made_from") == name:
            return version, _before(policy, version)
    broken = [
        c.name for c in compatibility.compare(candidate, registry.model_path(_current(policy))) if not c.ok and c.breaks
    ]
    if broken:
        raise _Ended("rejected", f"{', '.join(broken)} would break callers of {policy.family}")
    if not registry.versions(policy.family):  # so that a rollback has somewhere to go
        start = registry.model_path(policy.model)
        file = modelfile.read(start)
        card = registry.model_card(start) or {**file.provenance, "network": file.network}
        _add(policy, start, card, "the model that was named")
    before = registry.current(policy.family)
    if not registry.history(policy.family):
        registry.point(policy.family, before, "retraining begins")
    card = {**registry.model_card(candidate), "made_from": name}
    return _add(policy, candidate, card, "").parent.name, before


def _add(policy: Policy, model: Path, card: dict[str, Any], why: str) -> Path:
    with tempfile.TemporaryDirectory() as scratch:
        golden = Path(scratch) / compatibility.GOLDEN
        golden.write_text(compatibility.golden(model), "utf-8")
        path = registry.add_model(policy.family, None, model, card, [golden], points=False)
    if why:
        registry.point(policy.family, path.parent.name, why)
    return path


def _before(policy: Policy, version: str) -> str:
    """The version that the family meant before ``version``, or means."""
    meant = [entry["version"] for entry in registry.history(policy.family) if entry["version"] != version]
    return str(meant[-1])


def _canary(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    """The new version answers a share of the requests by name until outcomes say whether it may answer all."""
    version, before = _version(policy, done)
    found = {"version": version, "before": before, "share": policy.canary_share}
    if not policy.canary_share:
        return {**found, "skipped": "no share"}
    tried = [e for e in audit.entries(policy.model) if (e["step"], e["state"]) == ("canary", version)]
    trial = registry.canary(policy.family)
    if not tried:
        last = max((entry.place for entry in outcomes.logged(0.0)), default=("", 0))
        about = {"share": policy.canary_share, "beside": before, "after": last}
        registry.try_out(policy.family, version, policy.canary_share, f"retrained: {done['train']['candidate']}")
        note(policy.model, "canary", version, about)
        raise _Waits(f"{version} answers {policy.canary_share:.0%} of the requests")
    answers, scores = _outcomes(policy, (before, version), tuple(tried[-1]["detail"]["after"]))
    older, newer = scores[before], scores[version]
    found |= {"answers": answers[version], "of": sum(answers.values()), "outcomes": len(newer)}
    if min(len(older), len(newer)) >= triggers.FEWEST:
        fall, p = triggers.fall(older, newer)
        enough = len(newer) >= policy.canary_outcomes
        if fall > 0 and p < (_SURE if enough else _SURE_AT_ANY_TIME):
            registry.try_out(policy.family, None, 0, "worse")
            why = f"as a canary {version} had {newer.mean():.3f} good outcomes, {before} {older.mean():.3f} (p {p:.2g})"
            raise _Ended("rolled back", f"{why}; it answered {answers[version]} of {found['of']} requests")
        if enough:
            return {**found, "good": float(newer.mean()), "good_before": float(older.mean()), "p": p}
    if trial is None or trial["version"] != version:
        raise _Ended("rejected", f"the canary {version} was ended by hand")
    if time.time() - datetime.fromisoformat(trial["time"]).timestamp() < policy.canary_time:
        raise _Waits(f"the canary {version} answered {answers[version]} of {found['of']} requests; {len(newer)} of "
                     f"{policy.canary_outcomes} outcomes are known")  # fmt: skip
    return {**found, "skipped": "its time is over, and too few outcomes are known"}


def _outcomes(
    policy: Policy, versions: Sequence[str], after: tuple[str, int] = ("", 0)
) -> tuple[dict[str, int], dict[str, Any]]:
    """Of every version: how many requests it answered after that place of the log, and what became of them."""
    answers = dict.fromkeys(versions, 0)
    scores: dict[str, list[float]] = {version: [] for version in versions}
    entries = [entry for entry in outcomes.logged(0.0) if entry.place > after]
    for entry, score in zip(entries, outcomes.scores(entries), strict=True):
        name, _, version = str((entry.request.answer or {}).get("model", "")).partition("/")
        if name == policy.family and version in scores:
            answers[version] += 1
            scores[version] += [] if score is None else [score]
    return answers, {version: np.array(found) for version, found in scores.items()}


def _deploy(policy: Policy, done: Mapping[str, Any], deadline: float | None) -> Any:
    version, before = done["canary"]["version"], done["canary"]["before"]
    if registry.current(policy.family) != version:
        because = ", ".join(done["trigger"]["because"])
        registry.point(policy.family, version, f"retrained ({because}): {done['train']['candidate']}")
    return {"version": version, "before": before}


def _since(window: str) -> str:
    """The timeframe that ends with the newest event of the workspace and is ``window`` long."""
    newest = datetime(1970, 1, 1, tzinfo=timezone.utc)
    for file in (registry.workspace() / "events").glob("*.jsonl"):
        for entry in alerts.read_lines(file):
            for name in ("start", "submitted", "end"):
                newest = max(newest, events.moment(entry.get(name)) or newest)
    newest = newest if newest.year > 1970 else datetime.now(timezone.utc)
    return f"{newest - timedelta(seconds=duration(window)):%Y-%m-%d}..{newest + timedelta(days=1):%Y-%m-%d}"


_STEPS: dict[str, Callable[[Policy, Mapping[str, Any], float | None], Any]] = {
    "collect": _collect,
    "validate": _validate,
    "preprocess": _preprocess,
    "train": _train,
    "test regression": _regression,
    "shadow": _shadow,
    "canary": _canary,
    "deploy": _deploy,
}


def _worse(policy: Policy, now: Mapping[str, Any]) -> str:
    """Why the version that the last cycle deployed must go, by the outcomes of its answers; or nothing."""
    deployed = now["done"].get("deploy") or {}
    version, before = deployed.get("version"), deployed.get("before")
    if not before or registry.current(policy.family) != version:
        return ""
    tried = [e for e in audit.entries(policy.model) if (e["step"], e["state"]) == ("canary", version)]
    after = tuple(tried[-1]["detail"]["after"]) if tried else ("", 0)
    _, scores = _outcomes(policy, (before, version), after)
    older, newer = scores[before][-_WATCHED:], scores[version][:_WATCHED]
    if min(len(older), len(newer)) < triggers.FEWEST:
        return ""
    fall, p = triggers.fall(older, newer)
    if p < _SURE_AT_ANY_TIME and fall > 0:
        return f"{version} has {newer.mean():.3f} good outcomes, {before} had {older.mean():.3f} (p {p:.2g})"
    return ""


def _roll_back(policy: Policy, now: Mapping[str, Any], why: str) -> None:
    before = now["done"]["deploy"]["before"]
    registry.point(policy.family, before, f"rolled back: {why}")
    note(policy.model, "cycle", "rolled back", why, now["cycle"])
    alerts.raise_alert("maintain", policy.model, "critical", f"{policy.family} is back at {before}: {why}")
