"""Is a dataset fit to learn from? Findings about its tables, each an error, a warning or a piece of information.

Three checks: *completeness* (columns, types, what is unknown), *consistency* (duplicates, impossible times and
numbers, references to nothing, labels given away by a feature) and *anomalies* (drift from the older half of the
runs to the newer, runs unlike the others). An error makes a dataset unfit; a warning is for its owner to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import SIGNALS, STATUSES, Fold, Run, Step, Task
from claude_flow.data.frame import Column, Frame, load
from claude_flow.data.leakage import KNOWN_AFTER, measure
from claude_flow.data.rules import broken
from claude_flow.data.tables import read_manifest
from claude_flow.errors import InputError, require
from claude_flow.statistics import holm, kolmogorov_smirnov, total_variation

__all__ = ["CHECKS", "SEVERITIES", "validate"]

CHECKS = ("completeness", "consistency", "anomalies")
SEVERITIES = ("error", "warning", "info")

_FEW_ROWS = 10  # fewer runs than this teach nothing, and no distribution can be judged
_LONGEST_DAYS = 30  # a run of an agent, or of a batch system with its usual limits, is over long before
_LEAK = 0.98  # AUC or |rank correlation| of a single column from which it "tells" the label
_DRIFT_P = 0.01  # after Holm's correction over the columns
_DRIFT_DISTANCE = 0.2  # with many rows every difference is significant: below this it is no warning
_DRIFT_WORDS = 30  # the most frequent values of a text column; the others count together
_ISOLATED = 0.65  # Liu, Ting, Zhou 2008: well above 0.5 the point is an anomaly
_OUTLYING = 6.0  # ... and some column of it lies this many robust deviations off the median
_EXAMPLES = 5
_BINS = 20

_NAMES = ("run_id", "source", "group", "task", "description", "parent", "batch")  # of rows, not properties
_KEYS: dict[str, tuple[str, ...]] = {
    "runs": ("source", "run_id"),
    "tasks": ("group", "task"),
    "steps": ("run_id", "index"),
}
_KEYS["folds"] = ("group", "task", "repetition")

_Mask = NDArray[np.bool_]


def validate(
    folder: Path,
    checks: tuple[str, ...] = CHECKS,
    *,
    seed: int = 0,
    now: datetime | None = None,
    rules: Path | None = None,
) -> dict[str, Any]:
    """Check a dataset of tables; the schema is looked at whatever ``checks`` names.

    Returned keys: ``dataset``, ``path``, ``checks``, ``rows`` (per table), ``errors``, ``warnings``, ``infos``
    (counts of findings), ``findings``, ``columns``, ``drift``, ``leakage``, ``anomalies`` (lists, the last three
    empty when not checked). A finding has ``severity``, ``check``, ``name`` (stable), ``table``, ``column`` (or
    None), ``count`` of ``of`` rows or columns, ``message`` and ``examples`` (run ids; in other tables task or run).

    :param seed: of the permutations and of the isolation forest: same seed, same answer.
    :param now: what counts as the present; runs that start a day later are from the future.
    :param rules: a pandera schema for the runs (:mod:`claude_flow.data.rules`); each rule that is broken is an error.
    :raises InputError: not a dataset of tables, or a file of it cannot be read.
    :raises MissingExtra: anomalies are checked and scikit-learn is not installed.
    """
    if unknown := [check for check in checks if check not in CHECKS]:
        raise InputError(f"check {unknown[0]!r} is unknown: choose from {', '.join(CHECKS)}")
    manifest = read_manifest(folder)
    frames = {frame.name: frame for frame in (load(folder, kind) for kind in (Run, Task, Step, Fold))}
    runs = frames["runs"]
    findings = list(_schema(frames, manifest))
    if rules is not None:
        for column, rule, rows in broken(folder, rules):
            mask = np.isin(np.arange(runs.rows), rows)
            findings.append(_finding("error", "rules", "rule", runs, column, f"breaks your rule: {rule}", mask))
    answer: dict[str, Any] = {"columns": [], "drift": [], "leakage": [], "anomalies": []}
    if "completeness" in checks:
        findings += _completeness(runs)
        answer["columns"] = [_describe(frame, c) for frame in frames.values() if frame.rows for c in _in_file(frame)]
    if "consistency" in checks:
        findings += _duplicates(frames)
        findings += _times(runs, now or datetime.now(timezone.utc))
        findings += _numbers(frames)
        findings += _references(frames)
        answer["leakage"] = sorted(measure(runs, frames["tasks"]), key=lambda leak: -leak["value"])
        findings += _leakage_findings(runs, answer["leakage"])
    if "anomalies" in checks:
        answer["drift"], found = _drift(runs, seed)
        findings += found
        answer["anomalies"], found = _anomalies(runs, seed)
        findings += found
    findings.sort(key=lambda finding: SEVERITIES.index(finding["severity"]))
    counts = {f"{s}s": sum(finding["severity"] == s for finding in findings) for s in SEVERITIES}
    about = {"dataset": folder.resolve().name, "path": str(folder), "checks": list(checks), "seed": seed}
    return {**about, "rows": {f.name: f.rows for f in frames.values()}, **counts, "findings": findings, **answer}


# Completeness -------------------------------------------------------------------------------------------


def _schema(frames: dict[str, Frame], manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, frame in frames.items():
        described = manifest["tables"].get(name)
        if described is None:
            continue
        for column in frame.missing:
            yield _finding("error", "schema", "missing-column", frame, column, "the column is not in the file")
        for column, why in frame.mistyped.items():
            yield _finding("error", "schema", "wrong-type", frame, column, f"its type is {why}")
        for column in frame.extra:
            yield _finding(
                "warning", "schema", "unknown-column", frame, column, "no column of this table: nothing reads it"
            )
        stated = described.get("rows") if isinstance(described, dict) else None
        if stated != frame.rows:
            message = f"the manifest says {stated} rows, the file holds {frame.rows}: collect the dataset again"
            yield _finding("error", "schema", "row-count", frame, None, message)
    if not frames["runs"].rows:
        yield _finding(
            "error", "schema", "empty", frames["runs"], None, "the dataset holds no run: nothing to learn from"
        )


def _completeness(runs: Frame) -> Iterator[dict[str, Any]]:
    def finding(severity: str, name: str, column: str | None, message: str, rows: _Mask | int = 0) -> dict[str, Any]:
        return _finding(severity, "completeness", name, runs, column, message, rows)

    if not runs.rows:
        return
    if runs.rows < _FEW_ROWS:
        yield finding("warning", "few-rows", None, f"fewer than {_FEW_ROWS} runs: too few to learn from", runs.rows)
    for name, severity in (("run_id", "error"), ("source", "error"), ("agent", "warning"), ("task", "warning")):
        if not runs[name].known.all():
            yield finding(
                severity, "unknown-key", name, "unknown in some runs, which cannot be told apart", ~runs[name].known
            )
    judged = [runs[name].known for name in ("duration_s", "success", "utility")]
    if not np.any(judged):
        message = "no run has a known duration, success or utility: there is no label to learn"
        yield finding("error", "no-outcome", None, message, runs.rows)
    success = runs["success"]
    if success.known.any() and not _varies(success):
        which = "succeeded" if success.values[success.known][0] else "failed"
        message = f"every run whose success is known {which}: with one class only nothing tells success from failure"
        yield finding("warning", "one-class", "success", message, success.known)
    yield from _signals(runs)
    columns = [c for c in _in_file(runs) if c.name != "success" and c.name not in SIGNALS]
    absent = [c.name for c in columns if not c.known.any()]
    constant = [c.name for c in columns if runs.rows > 1 and c.known.all() and not _varies(c)]
    partial = [c.name for c in columns if c.known.any() and c.known.mean() < 0.5]
    for name, names, why in (
        ("unknown-columns", absent, "known in no run"),
        ("constant-columns", constant, "the same value in every run, which teaches nothing"),
        ("mostly-unknown-columns", partial, "known in fewer than half of the runs"),
    ):
        if names:
            message = f"{why}: {', '.join(names)}"
            yield finding("info", name, None, message, len(names)) | {"of": len(columns)}


def _signals(runs: Frame) -> Iterator[dict[str, Any]]:
    """What followed the runs that wrote files: shown, and no outcome."""
    found = {name: runs.columns[name] for name in SIGNALS if name in runs.columns and name not in runs.missing}
    wrote = np.any([column.known for column in found.values()], axis=0) if found else np.zeros(runs.rows, bool)
    if not wrote.any():
        return
    count = dict.fromkeys(SIGNALS, 0)
    count |= {name: int((column.known & (column.values > 0)).sum()) for name, column in found.items()}
    message = (
        f"runs wrote files: the parent's next checks passed after {count['checks_passed']} and failed after "
        f"{count['checks_failed']}, it named a fault after {count['fault_named']}, edited the same files again after "
        f"{count['edited_again']}; {count['admits_failure']} answers admit failure. Evidence, no outcomes; "
        "claude-flow neural record-outcome says what held"
    )
    yield _finding("info", "completeness", "outcome-signals", runs, "checks_failed", message, wrote)


def _in_file(frame: Frame) -> list[Column]:
    return [c for c in frame.columns.values() if c.name not in frame.missing and c.name not in frame.mistyped]


def _describe(frame: Frame, column: Column) -> dict[str, Any]:
    values = column.values[column.known]
    found: dict[str, Any] = {"table": frame.name, "column": column.name, "type": column.plain.__name__}
    found |= {"known": len(values), "missing": frame.rows - len(values), "missing_share": 1 - len(values) / frame.rows}
    found |= {"distinct": len(np.unique(values))}
    if column.is_number and len(values):
        low, middle, high = np.quantile(values, [0, 0.5, 1], method="lower")
        found |= {"min": low, "median": middle, "max": high}
    return found


# Consistency --------------------------------------------------------------------------------------------


def _duplicates(frames: dict[str, Frame]) -> Iterator[dict[str, Any]]:
    for name, key in _KEYS.items():
        frame = frames[name]
        again = _repeated(frame, key) & np.all([frame[c].known for c in key if c not in ("group", "source")], axis=0)
        if again.any():
            message = f"{' and '.join(key)} name more than one row"
            yield _finding("error", "consistency", "duplicate", frame, key[-1], message, again)
    runs = frames["runs"]
    again = _repeated(runs, ("group", "task", "agent")) & runs["task"].known & runs["agent"].known
    if again.any():
        message = "an agent attempted a task again: keep the attempts on one side of a split"
        yield _finding("warning", "consistency", "repeated-attempt", runs, "task", message, again)


def _repeated(frame: Frame, key: tuple[str, ...]) -> _Mask:
    """The rows after the first with the same key."""
    place = np.zeros(frame.rows, dtype=np.int64)
    for name in key:
        codes = frame[name].codes()
        place = np.unique(place * (codes.max(initial=0) + 2) + codes + 1, return_inverse=True)[1]
    repeated = np.ones(frame.rows, dtype=np.bool_)
    repeated[np.unique(place, return_index=True)[1]] = False
    return repeated


def _times(runs: Frame, now: datetime) -> Iterator[dict[str, Any]]:
    submitted, start, end, duration, active, parent = (
        runs[c] for c in ("submitted", "start", "end", "duration_s", "active_s", "parent")
    )
    latest = (now + timedelta(days=1)).timestamp()
    span = end.values - start.values
    far = np.abs(span - duration.values) > np.maximum(60, 0.1 * np.abs(span))
    too_long = duration.values > _LONGEST_DAYS * 86400
    starts: dict[str, float] = {}  # when a parent, named by its run or its agent, was first seen to run
    for name in ("run_id", "agent"):
        for place in np.flatnonzero(runs[name].known & start.known):
            word = runs[name].words[int(runs[name].values[place])]
            starts[word] = min(starts.get(word, np.inf), float(start.values[place]))
    began = np.array([starts.get(word, -np.inf) for word in parent.words] or [-np.inf])
    early = start.values < began[parent.values.astype(int)]
    in_future = np.any([c.known & (c.values > latest) for c in (submitted, start, end)], axis=0)
    backwards = _both(submitted, start) & (start.values < submitted.values)
    disagrees = _both(start, end) & duration.known & (span >= 0) & far
    overactive = _both(active, duration) & (active.values > duration.values + 1)
    found = (
        ("error", "ends-before-start", end, "ends before it starts", _both(start, end) & (span < 0)),
        ("error", "clock-backwards", start, "starts before it was handed over: a clock ran backwards", backwards),
        ("error", "future", start, "lies in the future", in_future),
        ("warning", "endless", duration, f"takes more than {_LONGEST_DAYS} days", duration.known & too_long),
        ("warning", "duration-disagrees", duration, "differs from end - start by over a minute and 10 %", disagrees),
        ("warning", "active-beyond-duration", active, "was active for longer than it took", overactive),
        (
            "warning",
            "starts-before-parent",
            start,
            "starts before the agent that handed it out",
            _both(start, parent) & early,
        ),
    )
    for severity, name, column, message, wrong in found:
        if wrong.any():
            yield _finding(severity, "consistency", name, runs, column.name, message, wrong)


def _both(one: Column, other: Column) -> _Mask:
    return one.known & other.known


def _numbers(frames: dict[str, Frame]) -> Iterator[dict[str, Any]]:
    for frame in frames.values():
        for column in frame.columns.values():
            if column.not_finite:
                message = "not a finite number: write unknown as null"
                yield _finding("error", "consistency", "not-finite", frame, column.name, message, column.not_finite)
            signed = column.name == "utility" or column.name.startswith("x:")
            if column.is_number and not signed and (below := column.known & (column.values < 0)).any():
                yield _finding("error", "consistency", "negative", frame, column.name, "is below 0", below)
    runs = frames["runs"]
    status, success = runs["status"], runs["success"]
    named = np.array([word in STATUSES for word in status.words] or [True])
    never_ran = np.array([word in ("rejected", "launch_error") for word in status.words] or [False])
    place = status.values.astype(int)
    if (wrong := status.known & ~named[place]).any():
        yield _finding(
            "error", "consistency", "unknown-status", runs, "status", f"not one of {', '.join(STATUSES)}", wrong
        )
    if (wrong := status.known & never_ran[place] & success.known & (success.values > 0)).any():
        yield _finding(
            "error", "consistency", "success-without-run", runs, "success", "succeeded, yet never ran", wrong
        )


def _references(frames: dict[str, Frame]) -> Iterator[dict[str, Any]]:
    runs = frames["runs"]
    known = {word for name in ("run_id", "agent", "group") for word in runs[name].words}
    if (lost := _outside(runs["parent"], known)).any():
        message = "handed out by a parent that is no session, agent or run of this dataset (filtered out, or lost)"
        yield _finding("warning", "consistency", "orphaned-subagent", runs, "parent", message, lost)
    if (lost := _outside(frames["steps"]["run_id"], set(runs["run_id"].words))).any():
        yield _finding("error", "consistency", "orphaned-step", frames["steps"], "run_id", "no run has this id", lost)
    for name in ("tasks", "folds"):
        if (lost := _outside(frames[name]["task"], set(runs["task"].words))).any():
            severity = "info" if name == "tasks" else "error"
            message = "no run attempted this task"
            yield _finding(severity, "consistency", f"unattempted-{name}", frames[name], "task", message, lost)


def _outside(column: Column, known: set[str]) -> _Mask:
    lost: _Mask = np.array([word not in known for word in column.words] or [False])
    found: _Mask = column.known & lost[column.values.astype(int)]
    return found


def _leakage_findings(runs: Frame, leakage: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for leak in leakage:
        if leak["value"] >= _LEAK:
            after = leak["column"] in KNOWN_AFTER
            why = (
                "is known only after the run: no feature may use it"
                if after
                else "should be known before: find out how"
            )
            told = f"tells {leak['label']} almost by itself ({leak['measure']} {leak['value']:.3f})"
            message = f"{told} and {why}" if after else f"{told}, though it {why}"
            finding = _finding("warning", "consistency", "leakage", runs, leak["column"], message, leak["rows"])
            yield finding | {"table": leak["table"]}
    one, other = runs["task_type"], runs["agent_type"]
    both = _both(one, other)
    names = [np.array([*c.words, ""])[c.codes()][both] for c in (one, other)]
    if both.sum() >= _FEW_ROWS and len(np.unique(names[0])) > 1 and (same := np.mean(names[0] == names[1])) >= _LEAK:
        message = f"is the agent_type in {same:.0%} of the runs: it gives away who was chosen"
        yield _finding("warning", "consistency", "leakage", runs, "task_type", message, both)


# Drift and anomalies ------------------------------------------------------------------------------------


def _drift(runs: Frame, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each column's change from the older half of the dated runs to the newer, and findings about the large ones."""
    at, dated = np.zeros(runs.rows), np.zeros(runs.rows, dtype=np.bool_)
    for name in ("end", "submitted", "start"):
        at, dated = np.where(runs[name].known, runs[name].values, at), dated | runs[name].known
    order = np.flatnonzero(dated)[np.argsort(at[dated], kind="stable")]
    if len(order) < 2 * _FEW_ROWS:
        message = f"drift is not judged: fewer than {2 * _FEW_ROWS} runs carry a time"
        return [], [_finding("info", "anomalies", "drift-not-judged", runs, None, message, len(order))]
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    drift = []
    for column in runs.columns.values():
        older, newer = (column.values[half[column.known[half]]] for half in halves)
        if column.plain is datetime or column.name in _NAMES or not _varies(column):
            continue
        if min(len(older), len(newer)) < _FEW_ROWS:
            continue
        found: dict[str, Any] = {"column": column.name}
        if column.is_number:
            found["measure"] = "Kolmogorov-Smirnov"
            found["distance"], found["p"] = kolmogorov_smirnov(older, newer)
            found |= _histograms(older, newer)
        else:
            found["measure"] = "total variation"
            labels, first, second = _counts(column, older, newer)
            found["distance"], found["p"] = total_variation(first, second, seed)
            found |= {"labels": labels, "older": first.tolist(), "newer": second.tolist()}
        drift.append(found)
    for found, corrected in zip(drift, holm([found["p"] for found in drift]), strict=True):
        found["p_corrected"] = corrected
    drift.sort(key=lambda found: -found["distance"])
    findings = []
    for found in drift:
        if found["p_corrected"] < _DRIFT_P and found["distance"] >= _DRIFT_DISTANCE:
            told = f"{found['measure']} {found['distance']:.2f}, corrected p {found['p_corrected']:.2g}"
            message = f"differs between the older and the newer half of the runs ({told})"
            findings.append(_finding("warning", "anomalies", "drift", runs, found["column"], message, len(order)))
    return drift, findings


def _histograms(older: NDArray[np.float64], newer: NDArray[np.float64]) -> dict[str, Any]:
    """Counts of both halves in bins that are equally wide on a logarithmic scale; ``labels`` are their lower ends."""
    scaled = _logarithmic(older), _logarithmic(newer)
    everything = np.concatenate(scaled)
    edges = np.linspace(everything.min(), everything.max(), _BINS + 1)
    counts = [np.histogram(part, edges)[0].tolist() for part in scaled]
    labels = [f"{edge:.3g}" for edge in np.sign(edges[:-1]) * np.expm1(np.abs(edges[:-1]))]
    return {"labels": labels, "older": counts[0], "newer": counts[1]}


def _counts(
    column: Column, older: NDArray[np.float64], newer: NDArray[np.float64]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    names = column.words if column.is_text else ["no", "yes"]
    counts = np.array([np.bincount(part.astype(int), minlength=len(names)) for part in (older, newer)])
    often = np.argsort(-counts.sum(axis=0), kind="stable")
    kept, rest = often[:_DRIFT_WORDS], counts[:, often[_DRIFT_WORDS:]].sum(axis=1)
    older_counts, newer_counts = (np.append(counts[half, kept], rest[half]) for half in (0, 1))
    return [*(names[i] for i in kept), "(others)"], older_counts, newer_counts


def _anomalies(runs: Frame, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Runs that an isolation forest over the numbers of all runs singles out, most unusual first."""
    IsolationForest = require("sklearn.ensemble", "validate").IsolationForest
    columns = [c for c in runs.columns.values() if c.is_number and c.known.sum() >= max(_FEW_ROWS, runs.rows / 2)]
    columns = [c for c in columns if _varies(c)]
    if not columns:
        message = f"anomalies are not judged: no number that varies is known in {_FEW_ROWS} runs and half of them"
        return [], [_finding("info", "anomalies", "anomalies-not-judged", runs, None, message, runs.rows)]
    deviations = np.stack([_deviations(c) for c in columns], axis=1)
    forest = IsolationForest(n_estimators=100, random_state=seed).fit(deviations)
    scores = -forest.score_samples(deviations)
    worst = np.abs(deviations).argmax(axis=1)
    unusual = (scores > _ISOLATED) & (np.abs(deviations).max(axis=1) > _OUTLYING)
    anomalies = []
    for row in sorted(np.flatnonzero(unusual), key=lambda row: -scores[row])[:100]:
        column = columns[worst[row]]
        about = {"run_id": _names(runs, np.array([row]))[0], "score": float(scores[row]), "column": column.name}
        anomalies.append({**about, "value": float(column.values[row]), "median": _median(column)})
    if not anomalies:
        return [], []
    message = f"unlike the others in {', '.join(c.name for c in columns)} (isolation forest): look at them one by one"
    finding = _finding("warning", "anomalies", "anomalous-run", runs, None, message, unusual)
    return anomalies, [finding | {"examples": [anomaly["run_id"] for anomaly in anomalies[:_EXAMPLES]]}]


def _deviations(column: Column) -> NDArray[np.float64]:
    """Distances from the median in robust standard deviations, on a logarithmic scale; 0 where unknown."""
    scaled = _logarithmic(column.values)
    known = scaled[column.known]
    middle = np.median(known)
    spread = 1.4826 * np.median(np.abs(known - middle)) or known.std() or 1.0
    return np.where(column.known, np.clip((scaled - middle) / spread, -1e6, 1e6), 0.0)


def _logarithmic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.log1p(np.abs(values))


def _median(column: Column) -> float:
    return float(np.quantile(column.values[column.known], 0.5, method="lower"))


def _varies(column: Column) -> bool:
    known = column.values[column.known]
    return bool((known != known[:1]).any())


# Findings -----------------------------------------------------------------------------------------------


def _finding(
    severity: str, check: str, name: str, frame: Frame, column: str | None, message: str, rows: _Mask | int = 0
) -> dict[str, Any]:
    """``rows``: which rows are meant, or how many of them."""
    is_mask = isinstance(rows, np.ndarray)
    examples = _names(frame, np.flatnonzero(rows)[:_EXAMPLES]) if is_mask else []
    about = {"severity": severity, "check": check, "name": name, "table": frame.name, "column": column}
    return {**about, "count": int(np.sum(rows)), "of": frame.rows, "message": message, "examples": examples}


def _names(frame: Frame, rows: NDArray[np.int64]) -> list[str]:
    """What identifies rows to a person: the run, else the task, else the row's number."""
    key = frame.columns.get("run_id") or frame["task"]
    return [key.words[int(key.values[row])] if key.known[row] else f"row {row + 1}" for row in rows]
