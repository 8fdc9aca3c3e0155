"""When a task will be done and how sure we are: a description and a log in, calibrated intervals out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.errors import InputError
from claude_flow.model import Model
from claude_flow.networks.network import Option
from claude_flow.networks.prediction import online
from claude_flow.networks.prediction.features import QUANTILES, TARGETS, UNITS, WIDTH, Encoder, shifted, shifts, slots
from claude_flow.networks.prediction.history import KEYS, SCOPES, History, Runs, as_of
from claude_flow.networks.prediction.request import (
    EXPERIENCE,
    FIELDS,
    iso,
    now,
    open_tasks,
    parse_request,
    parse_requests,
    parsed,
    past_of,
)

__all__ = [
    "EXAMPLES",
    "FIELDS",
    "HELP",
    "INPUTS",
    "OPTIONS",
    "Encoded",
    "answer",
    "answers",
    "encoded",
    "outcome",
    "parse_request",
    "parse_requests",
    "render",
    "tasks",
]

HELP = ""
EXAMPLES = (
    """\
claude-flow neural infer prediction \\
  --task-description "implement authentication microservice" \\
  --historical-context "similar-tasks-last-6-months" \\
  --current-team-capacity '{
    "available-agents": 4,
    "average-productivity": 0.85,
    "experience-level": "senior"
  }' \\
  --uncertainty-quantification true \\
  --confidence-intervals "80%,95%\"""",
    "claude-flow neural infer prediction --task-description 'fix a flaky test' --task-type bugfix --agent coder-1",
)
OPTIONS = (
    Option("task-description", "text", "What is to be done, in words.", required=True),
    Option(
        "historical-context",
        "text",
        "The past runs to learn from: a dataset of tables; similar-tasks-last-6-months for those in the workspace's "
        "swarm-training-data; none: the model's prior. Default: the workspace's swarm-training-data, if there is one.",
        metavar="CONTEXT",
    ),
    Option("current-team-capacity", "object", 'The team, such as {"available-agents": 4}.'),
    Option("uncertainty-quantification", "switch", "Give intervals beside the median.", default=True),
    Option("confidence-intervals", "shares", "Their levels, up to 95%.", default="80%,95%"),
    Option("task-type", "text", "The kind of task, as the history names it."),
    Option("agent", "text", "Who would do it, as the history names them."),
    Option("source", "text", "Whose log the task belongs to; by default that of the latest run."),
    Option("requested-time", "duration", "The time reserved for it, such as 2h."),
    Option("processors", "number", "The processors reserved for it.", limits=(0, float("inf"))),
    Option("decision-time", "text", "ISO 8601; only what was known then counts. Default: now.", metavar="TIME"),
)


Array = NDArray[Any]

_TOGETHER = 256  # requests that are encoded at a time
_NORMAL = NormalDist()
#: Inputs that are blanked together when an answer is explained: name -> beginnings of slot names.
INPUTS = {
    "description": ("description ", "text"),
    "kind of task": ("task_type ", "same task_type", "type: "),
    "agent": ("agent ", "same agent", "agent: "),
    "requested time and processors": ("requested", "processors", "same request"),
    "time of day and week": ("hour ", "weekday "),
    "runs most like it": ("similar: ",),
    "the source's latest runs": ("source: ",),
}


def answer(model: Model, request: Any, *, explain: bool = False) -> dict[str, Any]:
    """Predict one task's outcome (spec: "Prediction Inference").

    ``request``: ``task-description`` (required), ``historical-context`` (a dataset of tables, its path, none, or
    ``similar-tasks-last-6-months``: the runs of the workspace's dataset ``swarm-training-data`` of that time),
    ``current-team-capacity``, ``uncertainty-quantification`` (default true), ``confidence-intervals`` (shares,
    default 0.8 and 0.95); and, where known, ``task-type``, ``agent``, ``project``, ``model``, ``source``,
    ``requested-time`` (s), ``processors``, ``decision-time`` (ISO 8601, default now). ``explain`` adds how much each
    group of inputs moved the median duration.

    Returns a JSON-ready dictionary. A target that the model was not trained on is ``unavailable``, with the reason.
    Raises :class:`InputError` for a request that cannot be used.
    """
    (found,) = answers(model, [(request, {})], explain=explain)
    if isinstance(found, InputError):
        raise found
    return found


def answers(
    model: Model, asked: Sequence[tuple[Any, Mapping[str, Any]]], *, explain: bool = False, batch: int | None = None
) -> list[dict[str, Any] | InputError]:
    """:func:`answer` to each request, or the error that it raises; ``batch`` requests a crossing into the engine.

    There are no keywords. Those that go by the same past at the same time are answered together; one that says no
    ``decision-time`` is decided now, the same now for all.
    """
    networks.get("prediction").check(model)
    moment = now()
    found: list[Any] = [*parsed([request for request, _ in asked])]
    together: dict[Any, list[int]] = {}
    for i, request in enumerate(found):
        if not isinstance(request, InputError):
            request["decision"] = request.get("decision-time", moment)
            # Without a past, when it is decided makes no difference to the others.
            context = request.get("historical-context")
            together.setdefault((context, request["decision"] if context else None), []).append(i)
    for places in together.values():
        for first in range(0, len(places), _TOGETHER):
            part = places[first : first + _TOGETHER]
            try:
                results = _answers(model, [found[i] for i in part], explain, batch)
            except InputError as error:
                results = [error] if len(part) == 1 else answers(model, [asked[i] for i in part[:1]], explain=explain)
                for i in part[1:]:  # one of them names a source that there is not
                    results += answers(model, [asked[i]], explain=explain)
            for i, result in zip(part, results, strict=True):
                found[i] = result
    return found


def _answers(model: Model, asked: list[dict[str, Any]], explain: bool, batch: int | None) -> list[Any]:
    read = _encoded(model, asked)
    encoder = read.encoder
    quantiles, chances = encoder.decode(model.run(read.x, read.lengths, batch=batch), read.anchors)
    codes = read.tasks.keys[:, KEYS.index("source")]
    by, seen = shifts(read.moves, codes), np.zeros((len(asked), len(TARGETS)), np.int64)
    if len(read.past):  # the tasks of a source are asked about at the same time, and know the same outcomes
        for code in np.unique(codes):
            rows = np.flatnonzero(codes == code)
            shown = int(model.features["history"])
            task = read.tasks.take(rows[:1])
            by[rows], seen[rows] = online.adapted(model, encoder, read.past, task, shown, by[rows[0]])
    limits = encoder.limits(read.tasks)
    # Where every run had a requested time, a task without one is unlike anything learned: intervals reached 132 years.
    is_limited = bool(np.isfinite(encoder.longest))
    beyond: list[bool] = [is_limited and "requested-time" not in request for request in asked]
    limits[beyond, 0] = encoder.longest
    calibrated = shifted(quantiles, by, limits)
    is_calibrated: Any = np.isfinite(by).all(2).tolist()
    trained = encoder.trained()
    productivity = np.array([request["current-team-capacity"].get("average-productivity", 1.0) for request in asked])
    scale = np.ones(calibrated.shape[:2])
    scale[:, TARGETS.index("duration")] = 1 / productivity

    def at(p: float) -> list[list[float]]:
        values: list[list[float]] = _rounded(np.expm1(_quantiles(calibrated, p)) * scale).tolist()
        return values

    medians = at(0.5)
    levels = {level for request in asked if request["uncertainty-quantification"] for level in
              request["confidence-intervals"]}  # fmt: skip
    ends = {level: [at(p) for p in _tails(level)] for level in levels}
    name = registry.model_name(model.path)
    results = []
    for i, request in enumerate(asked):
        capacity = request["current-team-capacity"]
        predictions: dict[str, Any] = {}
        for t, target in enumerate(TARGETS):
            if not trained[t]:
                predictions[target] = _untrained(int(encoder.rows[t]))
                continue
            entry: dict[str, Any] = {"status": "predicted", "unit": UNITS[t], "median": medians[i][t]}
            if request["uncertainty-quantification"]:
                entry["intervals"] = {
                    f"{level:.4g}": [end[i][t] for end in ends[level]] for level in request["confidence-intervals"]
                }
                entry["calibrated"] = is_calibrated[i][t]
                entry["own_outcomes"] = int(seen[i, t])
            if target == "duration" and beyond[i]:
                entry["note"] = (
                    "every run that was learned from had a requested time, this task has none: no forecast beyond "
                    f"{_show(np.expm1(encoder.longest), 's')}, the longest of them; give --requested-time"
                )
            predictions[target] = entry
        used = {
            **read.used,
            **read.sources[i],
            "runs": len(read.past),
            "finished": int(read.history.finished[i]),
            "shown": int(read.lengths[i]) - 1,
        }
        result = {
            "network": "prediction",
            "model": name,
            "rests_on": _rests_on(len(read.past), int(seen[i, 0]), encoder),
            "task": request["task-description"],
            "decision_time": iso(request["decision"]),
            "history": used,
            "capacity": _capacity_report(
                capacity, float(productivity[i]), read.experience[i], predictions["duration"], encoder
            ),
            "predictions": predictions,
            "failure": _failure(encoder, float(chances[i, 0])),
        }
        if explain:
            length = read.lengths[i : i + 1]
            result["explanation"] = _reasons(
                model, encoder, read.x[i : i + 1, : length[0]], length, read.anchors[i : i + 1], quantiles[i, 0]
            )
        results.append(result)
    return results


def _untrained(rows: int) -> dict[str, Any]:
    reason = f"not trained: the training data told it for {rows} runs" if rows else "not trained: not in the data"
    return {"status": "unavailable", "reason": reason}


def _rests_on(runs: int, outcomes: int, encoder: Encoder) -> str:
    """What the answer rests on, in words: said above it, where nobody overlooks it."""
    if not runs:
        trained = max((int(rows) for rows in encoder.rows), default=0)
        return (
            f"the model's prior alone, {trained} runs of other people's work: none of yours is known "
            "(--historical-context, claude-flow neural data collect)"
        )
    if not outcomes:
        return f"{runs} past runs, none with a known duration: intervals are the model's own"
    return f"{runs} past runs; intervals follow the last {outcomes} of them that ended"


@dataclass(frozen=True)
class Encoded:
    """Checked requests with a past in common as the network sees them, ``x`` float32 ``[n, T, 128]``, and what they
    were made of. ``used`` says how the past was found, ``sources`` whose log each task belongs to."""

    encoder: Encoder
    moves: dict[str, Any]
    past: Runs
    used: dict[str, Any]
    sources: list[dict[str, Any]]
    tasks: Runs
    history: History
    experience: list[float | None]
    x: Array
    lengths: Array
    anchors: Array


def encoded(model: Model, asked: Sequence[dict[str, Any]]) -> Encoded:
    """What requests of :func:`parse_request`, with a past in common, are to the network; raises :class:`InputError` for
    an unfit history."""
    networks.get("prediction").check(model)
    return _encoded(model, [{**request, "decision": request.get("decision-time", now())} for request in asked])


def _encoded(model: Model, asked: list[dict[str, Any]]) -> Encoded:
    encoder, length, moves = _stored(model)
    past, used, codes = past_of(asked[0])
    runs, sources = open_tasks(asked, past, codes)
    past, tasks = encoder.view(past), encoder.view(runs)
    if len(past):
        history = as_of(past, tasks, length)
    else:  # of nothing, all tasks know the same
        first = tasks.take(np.zeros(1, np.int64))
        history = as_of(first, first, length).take(np.zeros(len(tasks), np.int64))
    openings, anchors = encoder.openings(tasks, history)
    seen_runs = history.seen[:, SCOPES.index("agent")]
    experience = [
        _experience(request["current-team-capacity"], encoder, seen)
        for request, seen in zip(asked, seen_runs, strict=True)
    ]
    for opening, runs_done in zip(openings, experience, strict=True):
        if runs_done is not None:
            opening[slots().index("agent: count")] = np.log1p(runs_done) / 3
    seen = past if len(past) else tasks
    index = history.index[:, : (history.index >= 0).sum(1).max()]
    x, lengths = encoder.sequences(seen, encoder.records(seen), tasks, openings, anchors, index)
    x = np.ascontiguousarray(x[:, : lengths.max()])
    return Encoded(encoder, moves, past, used, sources, tasks, history, experience, x, lengths, anchors)


@lru_cache(maxsize=4)
def _stored(model: Model) -> tuple[Encoder, int, dict[str, Any]]:
    """What the model file holds beside the network: encoder, number of past records, conformal shifts."""
    try:
        encoder = Encoder.from_schema(model.features)
        length, moves = int(model.features["history"]), dict(model.constant("shifts"))
        known = all(np.shape(table) == (len(TARGETS), len(QUANTILES)) for table in moves.values())
        fits = model.config["input_width"] == WIDTH and 1 <= length < model.config["max_tokens"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{model.path}: no usable feature schema and calibration ({error}): train it again") from None
    if not known or not fits or "all" not in moves:
        raise InputError(f"{model.path}: its feature schema, calibration and sizes do not fit together: train it again")
    return encoder, length, moves


def _experience(capacity: Mapping[str, Any], encoder: Encoder, seen: float) -> float | None:
    """How many runs an agent of the stated level had finished, in the training data; None where it says nothing."""
    level = capacity.get("experience-level")
    if level is None or seen > 0 or not encoder.experience.any():
        return None
    return float(encoder.experience[EXPERIENCE[level]])


def _capacity_report(
    capacity: Mapping[str, Any],
    productivity: float,
    experience: float | None,
    time: Mapping[str, Any],
    encoder: Encoder,
) -> dict[str, Any]:
    """How each stated part of the team's capacity entered the answer."""
    report: dict[str, Any] = {}
    if "average-productivity" in capacity:
        report["average-productivity"] = f"durations are multiplied by 1 / {productivity:g} (a rule, not learned)"
    if "experience-level" in capacity:
        report["experience-level"] = (
            f"{capacity['experience-level']}: read as an agent with {experience:g} finished runs, a learned input"
            if experience is not None
            else "no effect: the agent's own history is known, or the training data tells no agents apart"
        )
    if "available-agents" in capacity:
        report["available-agents"] = "no effect on one task, which one agent does; see tasks-per-hour"
        if time["status"] == "predicted" and time["median"] > 0:
            report["tasks-per-hour"] = _round(capacity["available-agents"] * 3600 / time["median"])
    return report


def _failure(encoder: Encoder, chance: float) -> dict[str, Any]:
    if min(encoder.outcomes) < 10:
        good, bad = encoder.outcomes
        reason = f"not trained: the training data has {bad} failed and {good} successful runs, fewer than 10 of a kind"
        return {"status": "unavailable", "reason": reason}
    return {"status": "predicted", "probability": round(chance, 4), "training_rate": round(encoder.failure_rate, 4)}


def _reasons(
    model: Model, encoder: Encoder, x: Array, lengths: Array, anchors: Array, quantiles: Array
) -> list[dict[str, Any]]:
    """Groups of inputs by how far the median duration moves without them: each is blanked, the network run again."""
    names = slots()
    versions, sizes, labels = [], [], []
    for label, starts in INPUTS.items():
        own = [i for i, name in enumerate(names) if name.startswith(starts)]
        if x[:, :, own].any():
            versions.append(x[0].copy())
            versions[-1][:, own] = 0
            sizes.append(lengths[0])
            labels.append(label)
    if lengths[0] > 1:
        versions.append(np.zeros_like(x[0]))
        versions[-1][0] = x[0, lengths[0] - 1]
        sizes.append(1)
        labels.append("the sequence of past runs")
    if not versions:
        return []
    raw = model.run(np.stack(versions), np.array(sizes, np.int32))
    without, _ = encoder.decode(raw, np.repeat(anchors, len(versions), 0))
    middle = QUANTILES.index(0.5)
    reasons = [
        {"input": label, "effect": round(float(np.expm1(quantiles[middle] - other[0, middle])), 4)}
        for label, other in zip(labels, without, strict=True)
    ]
    return sorted(reasons, key=lambda reason: -abs(float(str(reason["effect"]))))


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


_SCORES = np.array([_NORMAL.inv_cdf(q) for q in QUANTILES])


def _quantiles(values: Array, p: float) -> Array:
    """A quantile between the seven of the last axis: linear in the normal score of ``p``, so exact for a normal
    distribution."""
    score = _NORMAL.inv_cdf(min(max(p, QUANTILES[0]), QUANTILES[-1]))
    place = min(max(int(np.searchsorted(_SCORES, score, "right")) - 1, 0), len(_SCORES) - 2)
    low, high = values[..., place], values[..., place + 1]
    if score == _SCORES[place]:
        return np.asarray(low)
    slope = (high - low) / (_SCORES[place + 1] - _SCORES[place])
    return np.asarray(high if score == _SCORES[place + 1] else slope * (score - _SCORES[place]) + low)


def _round(value: float) -> float:
    """Four significant digits: more would claim a precision that no forecast has."""
    return float(f"{value:.4g}") if value > 1e-6 else 0.0


def _rounded(values: Array) -> Array:
    """:func:`_round` of each.

    >>> _rounded(np.array([123456.0, 0.123456, 1e-9])).tolist()
    [123500.0, 0.1235, 0.0]
    """
    safe = np.where(np.isfinite(values) & (values > 1e-6), values, 1.0)
    power = np.floor(np.log10(safe)).astype(np.int64) - 3
    # Whole numbers times or over an exact power of ten: the nearest doubles to four digits.
    large, small = 10.0 ** np.maximum(power, 0), 10.0 ** np.maximum(-power, 0)
    digits = np.rint(safe / large * small)
    return np.where(values > 1e-6, np.where(np.isfinite(values), digits * large / small, values), 0.0)


def tasks(request: Mapping[str, Any]) -> set[str]:
    """What the task of a request is called."""
    return {request.get("task-description", "")}


def outcome(request: Mapping[str, Any], answer: Mapping[str, Any], run: Mapping[str, Any]) -> float | None:
    """What a run says of a forecast: whether its duration lay in the widest interval that was given; else None."""
    seconds = run["duration_s"] if run["active_s"] is None else run["active_s"]
    intervals = answer.get("predictions", {}).get("duration", {}).get("intervals")
    if seconds is None or not intervals:
        return None
    low, high = intervals[max(intervals, key=float)]
    return float(low <= seconds <= high)


def render(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """An answer as tables: ``(title, columns, rows)``."""
    levels: list[str] = []
    for entry in result["predictions"].values():
        levels += [level for level in entry.get("intervals", {}) if level not in levels]
    rows = []
    for target, entry in result["predictions"].items():
        if entry["status"] == "unavailable":
            rows.append([target, "unavailable", *["" for _ in levels], entry["reason"]])
            continue
        unit = entry["unit"]
        spans = [" .. ".join(_show(v, unit) for v in entry["intervals"][level]) for level in levels]
        note = "" if entry.get("calibrated", True) else "interval not calibrated: too few held-out values"
        note = "; ".join(filter(None, (note, entry.get("note"))))
        rows.append([target, _show(entry["median"], unit), *spans, note])
    failure = result["failure"]
    chance = f"{failure['probability']:.0%}" if failure["status"] == "predicted" else "unavailable"
    rows.append(["failure", chance, *["" for _ in levels], failure.get("reason", "")])
    tables = [
        (
            f"Forecast by {result['rests_on']}",
            ["", "median", *[f"{float(level) * 100:.3g} %" for level in levels], "note"],
            rows,
        )
    ]
    history = result["history"]
    basis = [["runs in the history", str(history["runs"])], ["shown to the network", str(history["shown"])]]
    basis += [[key, str(history[key])] for key in ("dataset", "since", "source", "note") if key in history]
    basis += [[key, str(value)] for key, value in result["capacity"].items()]
    tables.append(("Based on", ["", ""], basis))
    if result.get("explanation"):
        why = [[reason["input"], f"{reason['effect']:+.0%}"] for reason in result["explanation"]]
        tables.append(("Why: change of the median duration that this input makes", ["input", "change"], why))
    return tables


def _show(value: float, unit: str) -> str:
    """A quantity for people: 95 s, 12 min, 3.4 h, 2.1 d; other units as they are."""
    if unit == "s":
        for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
            if value >= 2 * size:
                return f"{value / size:.3g} {name}"
        return f"{value:.3g} s"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
