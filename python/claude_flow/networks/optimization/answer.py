"""Recommendations from an optimization model: which of the 128 changes to make to the swarm, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.errors import InputError
from claude_flow.model import Model
from claude_flow.networks.network import Option
from claude_flow.networks.optimization.catalogue import DIRECTIONS, RECOMMENDATIONS, TUNABLES, all_moved, moved
from claude_flow.networks.optimization.features import GROUPS, Encoder, Reading
from claude_flow.networks.optimization.twin import LEVEL, Twin
from claude_flow.networks.optimization.twin import read as twin_of

__all__ = ["EXAMPLES", "HELP", "OPTIONS", "answer", "answers", "confidences", "render"]

HELP = """\
docs/optimization.md lists every metric, setting, limit and target. What is left out is unknown, never zero."""
EXAMPLES = (
    """\
claude-flow neural infer optimization \\
  --current-performance '{
    "throughput": 45.2,
    "latency": 120,
    "error-rate": 0.02,
    "resource-utilization": 0.78
  }' \\
  --constraints '{
    "max-memory": "16GB",
    "max-cpu": 0.9,
    "budget": 1000
  }' \\
  --optimization-targets '["reduce-latency","improve-throughput"]'""",
    "claude-flow neural infer optimization --current-performance @metrics.json --current-settings @settings.json",
    "claude-flow neural infer optimization --optimization-targets reduce-latency",
)
OPTIONS = (
    Option("current-performance", "object", "Metrics by name. Default: what the workspace's log shows."),
    Option("historical-context", "text", "Without performance: the log, if not the workspace's.", part="keyword"),
    Option("current-settings", "object", 'Settings by name, such as {"max-agents": 6}.'),
    Option("workload", "object", 'The work by name, such as {"arrival-rate": 50}.'),
    Option("constraints", "object", 'Limits by name, such as {"max-memory": "16GB"}.'),
    Option("optimization-targets", "targets", 'What to improve: names, or weights such as {"reduce-latency": 3}.'),
    Option("top", "count", "The most changes to name.", part="keyword", default=5, limits=(1, 128)),
    Option("confidence-threshold", "share", "Withhold what is less sure than this.", part="keyword", default=0.0),
)


_REASONS = 4  # contributing inputs that an explanation names
CONFIDENCE = (
    "probability that the change does more good than harm to the targets, other guarded metrics and limits, "
    "calibrated on simulated swarms from kinds of work that were not trained on"
)


def answer(
    model: Model,
    request: Any,
    *,
    top: int = 5,
    confidence_threshold: float = 0.0,
    historical_context: str | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """The ``top`` changes that the model expects to help most.

    ``request``: see :meth:`claude_flow.networks.optimization.features.Encoder.encode`. Without ``current-performance``
    the log that ``historical_context`` names says how the swarm does, and each change has a ``gain`` with an interval
    by the log's twin (:mod:`claude_flow.networks.optimization.twin`). A change is recommended when its
    expected gain is above 0, its setting is not at its bound already, and its confidence is at least
    ``confidence_threshold``; those below it are listed as withheld. ``score`` is the expected gain in natural-log units
    of the weighted targets (0.1 is about 10 %). With ``explain``, ``explanation`` names the inputs without which the
    score would change most, and by how much. Raises :class:`InputError` for a request that cannot be used.

    >>> import claude_flow as cf
    >>> idle = {"current-performance": {"agent-utilization": 0.05, "queue-time": 0, "memory": "60GB"},
    ...         "constraints": {"max-memory": "16GB"}, "optimization-targets": ["reduce-memory"]}
    >>> answer(cf.load("optimization-v2"), idle, top=1)["recommendations"][0]["id"]
    'lower-memory-limit'
    """
    keywords = {"top": top, "confidence_threshold": confidence_threshold, "historical_context": historical_context}
    (found,) = answers(model, [(request, keywords)], explain=explain)
    if isinstance(found, InputError):
        raise found
    return found


def answers(
    model: Model, asked: Sequence[tuple[Any, Mapping[str, Any]]], *, explain: bool = False, batch: int | None = None
) -> list[dict[str, Any] | InputError]:
    """:func:`answer` to each pair of a request and its keywords, or the error that it raises; ``batch`` requests a
    crossing into the engine."""
    networks.get("optimization").check(model)
    encoder = _encoder(model)
    wrong = [_refused(keywords.get("top", 5), keywords.get("confidence_threshold", 0.0)) for _, keywords in asked]
    twins: list[Twin | None] = [None] * len(asked)
    asked = list(asked)
    for i, (request, keywords) in enumerate(asked):
        if isinstance(request, Mapping) and GROUPS[0] not in request and not wrong[i]:
            try:
                twins[i] = own = _of_log(keywords.get("historical_context"))
                now = own.now
                shown = {GROUPS[0]: now.performance, GROUPS[1]: now.settings, GROUPS[2]: now.workload}
                asked[i] = {**shown, **request}, keywords
            except InputError as unknown:
                wrong[i] = unknown
    places, readings = encoder.encode_many([request for request, _ in asked])
    if not len(readings.inputs):
        return [error or place for error, place in zip(wrong, places, strict=True) if isinstance(place, InputError)]
    raw = model.run(readings.inputs, batch=batch) / model.constant("scale")
    may = raw > 0
    possible, new = _all_moves(encoder, readings.values)
    may &= possible
    most = max(
        [keywords.get("top", 5) for error, (_, keywords) in zip(wrong, asked, strict=True) if not error], default=1
    )
    order = np.argsort(-np.where(may, raw, -np.inf), axis=1, kind="stable")[:, :most]
    scores = np.take_along_axis(raw, order, 1)
    known = (~np.isnan(readings.values)).sum(1)
    sure = np.empty(scores.shape)
    for count in np.unique(known):
        sure[known == count] = confidences(model, scores[known == count], int(count))
    found = _Found(
        order.tolist(),
        may.sum(1).tolist(),
        np.round(scores.astype(np.float64), 4).tolist(),
        np.round(sure, 4).tolist(),
        np.asarray(sure).tolist(),
        known.tolist(),
        np.take_along_axis(_settings(encoder, readings.values), order // 2, 1).tolist(),
        np.take_along_axis(new, order, 1).tolist(),
    )
    name = registry.model_name(model.path)
    result: list[dict[str, Any] | InputError] = []
    for error, place, (request, keywords), twin in zip(wrong, places, asked, twins, strict=True):
        if error or isinstance(place, InputError):
            result.append(error or place)  # type: ignore[arg-type]
            continue
        effects = None
        if explain:
            reading = encoder.encode(request)
            effects = reading, _occlusion(model, encoder, reading, model.constant("scale"))
        top, threshold = keywords.get("top", 5), keywords.get("confidence_threshold", 0.0)
        told = _recommended(found, place, readings.notes[place], effects, top, threshold)
        if twin is not None:
            _add_gains(told, twin, readings.targets[place], encoder, readings.values[place])
        result.append(
            {
                "network": "optimization",
                "model": name,
                "rests_on": _rests_on(twin),
                **told,
                "twin": None if twin is None else twin.report(),
                "confidence_is": CONFIDENCE,
                "targets": {name: round(weight, 4) for name, weight in readings.targets[place].items()},
                "inputs_known": found.known[place],
                "inputs_total": len(encoder.fields),
                "notes": readings.notes[place],
            }
        )
    return result


def _of_log(context: str | None) -> Twin:
    """The twin of the log that ``context`` names, or of the workspace's."""
    from claude_flow.data import views  # a tenth of a command's start

    if context is None and not (registry.workspace() / "datasets" / views.TABLES_NAME).is_dir():
        raise InputError(
            f"{GROUPS[0]}: name at least one metric, such as latency or throughput, or collect a log that shows them "
            "(claude-flow neural data collect)"
        )
    return twin_of(views.find(context or views.TABLES_NAME).folder)


def _rests_on(twin: Twin | None) -> str:
    if twin is None:
        return "what the request says"
    begin = datetime.fromtimestamp(twin.now.begin, timezone.utc).date()
    return f"the log's newest whole period, {twin.now.runs} runs from {begin} on, and what the request says"


def _add_gains(
    told: dict[str, Any], twin: Twin, targets: Mapping[str, float], encoder: Encoder, values: NDArray[np.float64]
) -> None:
    """Give each change its gain by the twin."""
    entries = [*told["recommendations"], *told["withheld"]]
    column = {tunable.name: i for i, tunable in enumerate(TUNABLES)}
    limits = {f.name: v for f, v in zip(encoder.fields, values.tolist(), strict=True) if f.group == GROUPS[3]}
    changes = [(column[entry["tunable"]], entry["direction"]) for entry in entries]
    for entry, (expected, low, high) in zip(entries, twin.gains(changes, targets, limits), strict=True):
        entry["gain"] = {"expected": round(expected, 4), "low": round(low, 4), "high": round(high, 4), "level": LEVEL}


@lru_cache(maxsize=4)
def _encoder(model: Model) -> Encoder:
    return Encoder.from_schema(model.features)


@dataclass(frozen=True)
class _Found:
    """Of every request: its leading changes, best first, how many may be made, their scores and confidences (rounded,
    and exact), how many inputs are known, and the settings that they change: now (NaN = unknown), and then."""

    order: list[list[int]]
    count: list[int]
    scores: list[list[float]]
    confidence: list[list[float]]
    exact: list[list[float]]
    known: list[int]
    now: list[list[float]]
    then: list[list[float]]


def _refused(top: int = 5, confidence_threshold: float = 0.0) -> InputError | None:
    if not 1 <= top <= len(RECOMMENDATIONS):
        return InputError(f"top must lie between 1 and {len(RECOMMENDATIONS)}, not {top}")
    if not 0.0 <= confidence_threshold <= 1.0:
        return InputError(f"confidence-threshold must lie between 0 and 1, not {confidence_threshold:g}")
    return None


def _recommended(
    found: _Found,
    place: int,
    notes: list[str],
    effects: tuple[Reading, dict[str, NDArray[np.float32]]] | None,
    top: int = 5,
    confidence_threshold: float = 0.0,
) -> dict[str, Any]:
    """What is recommended and what withheld; says so in ``notes`` where there is nothing."""
    recommendations: list[dict[str, Any]] = []
    withheld: list[dict[str, Any]] = []
    count = min(top, found.count[place])
    for rank, i in enumerate(found.order[place][:count]):
        recommendation = RECOMMENDATIONS[i]
        entry: dict[str, Any] = {
            "id": recommendation.id,
            "tunable": recommendation.tunable.name,
            "direction": recommendation.direction,
            "score": found.scores[place][rank],
            "confidence": found.confidence[place][rank],
            "expected_effect": recommendation.effect,
        }
        now, then = found.now[place][rank], found.then[place][rank]
        if now == now:  # known
            entry["change"] = {"from": now, "to": float(f"{then:.4g}"), "unit": recommendation.tunable.unit}
        if effects is not None:
            reading, lost = effects
            strongest = sorted(lost.items(), key=lambda item: -abs(item[1][i]))[:_REASONS]
            entry["explanation"] = [
                {"input": path, "value": reading.values[path], "effect": round(float(effect[i]), 4)}
                for path, effect in strongest
            ]
        (recommendations if found.exact[place][rank] >= confidence_threshold else withheld).append(entry)
    if not count:
        notes.append("no change is expected to help: the swarm looks well tuned for these targets")
    elif not recommendations:
        notes.append(f"no recommendation reaches the confidence threshold {confidence_threshold:g}")
    return {"recommendations": recommendations, "withheld": withheld, "confidence_threshold": confidence_threshold}


def confidences(model: Model, scores: NDArray[np.float32], known: int) -> NDArray[np.float64]:
    """The model's calibrated confidence at ``scores`` (any shape) of a request with ``known`` inputs."""
    curves = model.constant("confidence")
    curve = [curve for curve in curves if curve["known_inputs_from"] <= known][-1]
    return np.asarray(np.interp(scores, curve["scores"], curve["probabilities"]))


def render(found: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """An answer as tables: ``(title, columns, rows)``."""
    targets = ", ".join(found["targets"])
    tables: list[tuple[str, list[str], list[list[str]]]] = []
    is_twin = found.get("twin") is not None
    for title, key in ((f"Recommendations: {targets}", "recommendations"), ("Withheld: low confidence", "withheld")):
        if not found[key]:
            continue
        columns = ["change", "expected gain", "confidence", "what it does"]
        rows = [
            [_change(e), f"{np.expm1(e['score']):+.1%}", f"{e['confidence']:.0%}", e["expected_effect"]]
            for e in found[key]
        ]
        if is_twin:
            columns.insert(2, f"by the log's twin, {LEVEL:.0%}")
            for row, entry in zip(rows, found[key], strict=True):
                row.insert(2, " … ".join(f"{np.expm1(entry['gain'][end]):+.0%}" for end in ("low", "high")))
        tables.append((title, columns, rows))
    why = [
        [entry["id"], reason["input"], _readable(reason["value"]), f"{reason['effect']:+.3f}"]
        for entry in found["recommendations"]
        for reason in entry.get("explanation", ())
    ]
    if why:
        tables.append(("Why: gain lost without this input", ["change", "input", "value", "gain"], why))
    if is_twin and (work := found["twin"]["by_type"]):
        columns = ["type", "runs", "typical seconds", "failed", "mean tokens", "mean cost, $"]
        keys = ("seconds", "failed", "tokens", "cost")
        rows = [[e["name"], f"{e['runs']:,}", *("–" if e[k] is None else f"{e[k]:,.3g}" for k in keys)] for e in work]
        tables.append(("The log's work by type, drawn to the whole log's where runs are few", columns, rows))
    notes = [*([f"rests on {found['rests_on']}"] if is_twin else []), *found["notes"]]
    if notes:
        tables.append(("Notes", ["note"], [[note] for note in notes]))
    return tables


def _readable(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:,.0f}"


def _change(entry: Mapping[str, Any]) -> str:
    change = entry.get("change")
    if change is None:
        return str(entry["id"])
    return f"{entry['id']}: {change['from']:g} to {change['to']:g} {change['unit']}".rstrip()


def possible(index: int, reading: Reading) -> bool:
    """Whether the setting, if known, can still move, and stays within ``max-agents`` if it is that one."""
    recommendation = RECOMMENDATIONS[index]
    name = recommendation.tunable.name
    current = reading.values.get(f"{GROUPS[1]}.{name}")
    most = reading.values.get(f"{GROUPS[3]}.{name}") if recommendation.direction == "raise" else None
    return current is None or _moves(index, current, most)


@lru_cache(maxsize=1 << 14)  # a search for counterfactuals asks the same thousands of times
def _moves(index: int, current: float, most: float | None) -> bool:
    """Whether a setting of the value ``current`` moves by the recommendation, and not beyond ``most``."""
    recommendation = RECOMMENDATIONS[index]
    new = float(moved(recommendation.tunable, current, recommendation.direction))
    step = new - current if recommendation.direction == "raise" else current - new
    return step > 0 and (most is None or new <= most)


def _settings(encoder: Encoder, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The current settings ``[n, 64]`` among the fields' values."""
    places = np.array([encoder.place(GROUPS[1], tunable.name) for tunable in TUNABLES], np.int64)
    current: NDArray[np.float64] = values[:, places]
    return current


def _all_moves(encoder: Encoder, values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """For the fields' values of n requests: :func:`possible` of every change ``[n, 128]``, and the setting then."""
    current = _settings(encoder, values)
    result, new = np.empty((len(values), 2 * len(TUNABLES)), bool), np.empty((len(values), 2 * len(TUNABLES)))
    with np.errstate(invalid="ignore"):
        raised, lowered = (all_moved(current, direction) for direction in DIRECTIONS)
        new[:, 0::2], new[:, 1::2] = raised, lowered
        result[:, 0::2] = ~(raised <= current)
        result[:, 1::2] = ~(lowered >= current)
        for i, tunable in enumerate(TUNABLES):
            if (limit := encoder.place(GROUPS[3], tunable.name)) is not None:
                result[:, 2 * i] &= ~(raised[:, i] > values[:, limit])
    return result, new


def _occlusion(model: Model, encoder: Encoder, reading: Reading, scale: float) -> dict[str, NDArray[np.float32]]:
    """For every known input, how much each score ``[128]`` would lose were it unknown; one batch through the engine."""
    paths = list(reading.values)
    batch = np.repeat(reading.inputs[None], len(paths) + 1, axis=0)
    for row, path in enumerate(paths, start=1):
        batch[row, list(encoder.slots(path))] = 0.0
    scores = model.run(batch) / scale
    return {path: scores[0] - scores[row] for row, path in enumerate(paths, start=1)}
