"""Recommendations from an optimization model: which of the 128 changes to make to the swarm, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
)
OPTIONS = (
    Option("current-performance", "object", "Metrics by name.", required=True),
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
    explain: bool = False,
) -> dict[str, Any]:
    """The ``top`` changes that the model expects to help most.

    ``request``: see :meth:`claude_flow.networks.optimization.features.Encoder.encode`. A change is recommended when its
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
    (found,) = answers(model, [(request, {"top": top, "confidence_threshold": confidence_threshold})], explain=explain)
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
    wrong = [_refused(**keywords) for _, keywords in asked]
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
    for error, place, (request, keywords) in zip(wrong, places, asked, strict=True):
        if error or isinstance(place, InputError):
            result.append(error or place)  # type: ignore[arg-type]
            continue
        effects = None
        if explain:
            reading = encoder.encode(request)
            effects = reading, _occlusion(model, encoder, reading, model.constant("scale"))
        result.append(
            {
                "network": "optimization",
                "model": name,
                **_recommended(found, place, readings.notes[place], effects, **keywords),
                "confidence_is": CONFIDENCE,
                "targets": {name: round(weight, 4) for name, weight in readings.targets[place].items()},
                "inputs_known": found.known[place],
                "inputs_total": len(encoder.fields),
                "notes": readings.notes[place],
            }
        )
    return result


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
    tables = []
    for title, key in ((f"Recommendations: {targets}", "recommendations"), ("Withheld: low confidence", "withheld")):
        if not found[key]:
            continue
        columns = ["change", "expected gain", "confidence", "what it does"]
        rows = [
            [_change(e), f"{np.expm1(e['score']):+.1%}", f"{e['confidence']:.0%}", e["expected_effect"]]
            for e in found[key]
        ]
        tables.append((title, columns, rows))
    why = [
        [entry["id"], reason["input"], _readable(reason["value"]), f"{reason['effect']:+.3f}"]
        for entry in found["recommendations"]
        for reason in entry.get("explanation", ())
    ]
    if why:
        tables.append(("Why: gain lost without this input", ["change", "input", "value", "gain"], why))
    if found["notes"]:
        tables.append(("Notes", ["note"], [[note] for note in found["notes"]]))
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
