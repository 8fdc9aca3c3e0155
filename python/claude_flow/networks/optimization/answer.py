"""Recommendations from an optimization model: which of the 128 changes to make to the swarm, and why."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.errors import InputError
from claude_flow.model import Model
from claude_flow.networks.network import Option
from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, moved
from claude_flow.networks.optimization.features import GROUPS, Encoder, Reading

__all__ = ["EXAMPLES", "HELP", "OPTIONS", "answer", "confidences", "render"]

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
    if not 1 <= top <= len(RECOMMENDATIONS):
        raise InputError(f"top must lie between 1 and {len(RECOMMENDATIONS)}, not {top}")
    if not 0.0 <= confidence_threshold <= 1.0:
        raise InputError(f"confidence-threshold must lie between 0 and 1, not {confidence_threshold:g}")
    networks.get("optimization").check(model)
    encoder = Encoder.from_schema(model.features)
    reading = encoder.encode(request)
    scale = model.constant("scale")
    scores = model.run(reading.inputs[None])[0] / scale
    confidence = confidences(model, scores, len(reading.values))
    leading = [i for i in np.argsort(-scores, kind="stable") if scores[i] > 0 and possible(i, reading)][:top]
    effects = _occlusion(model, encoder, reading, scale) if explain else {}
    recommendations: list[dict[str, Any]] = []
    withheld: list[dict[str, Any]] = []
    for i in leading:
        recommendation = RECOMMENDATIONS[i]
        entry: dict[str, Any] = {
            "id": recommendation.id,
            "tunable": recommendation.tunable.name,
            "direction": recommendation.direction,
            "score": round(float(scores[i]), 4),
            "confidence": round(float(confidence[i]), 4),
            "expected_effect": recommendation.effect,
        }
        current = reading.values.get(f"current-settings.{recommendation.tunable.name}")
        if current is not None:
            new = float(moved(recommendation.tunable, current, recommendation.direction))
            entry["change"] = {"from": current, "to": float(f"{new:.4g}"), "unit": recommendation.tunable.unit}
        if explain:
            strongest = sorted(effects.items(), key=lambda item: -abs(item[1][i]))[:_REASONS]
            entry["explanation"] = [
                {"input": path, "value": reading.values[path], "effect": round(float(effect[i]), 4)}
                for path, effect in strongest
            ]
        (recommendations if confidence[i] >= confidence_threshold else withheld).append(entry)
    notes = list(reading.notes)
    if not leading:
        notes.append("no change is expected to help: the swarm looks well tuned for these targets")
    elif not recommendations:
        notes.append(f"no recommendation reaches the confidence threshold {confidence_threshold:g}")
    return {
        "network": "optimization",
        "model": registry.model_name(model.path),
        "recommendations": recommendations,
        "withheld": withheld,
        "confidence_threshold": confidence_threshold,
        "confidence_is": CONFIDENCE,
        "targets": {name: round(weight, 4) for name, weight in reading.targets.items()},
        "inputs_known": len(reading.values),
        "inputs_total": len(encoder.fields),
        "notes": notes,
    }


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


def _occlusion(model: Model, encoder: Encoder, reading: Reading, scale: float) -> dict[str, NDArray[np.float32]]:
    """For every known input, how much each score ``[128]`` would lose were it unknown; one batch through the engine."""
    paths = list(reading.values)
    batch = np.repeat(reading.inputs[None], len(paths) + 1, axis=0)
    for row, path in enumerate(paths, start=1):
        batch[row, list(encoder.slots(path))] = 0.0
    scores = model.run(batch) / scale
    return {path: scores[0] - scores[row] for row, path in enumerate(paths, start=1)}
