"""Answers of the JavaScript package, field by field beside Python's; its refusals; its counterfactuals, asked anew."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import claude_flow as cf
from claude_flow import networks, registry

ROOT = Path(__file__).parents[2]
SWARM = json.loads((ROOT / "docs" / "examples" / "swarm.json").read_text())
METRICS = {
    "current-performance": {"throughput": 45.2, "latency": "2m", "error-rate": 0.02, "resource-utilization": 0.78},
    "constraints": {"max-memory": "16GB", "max-cpu": 0.9, "budget": 1000},
    "optimization-targets": ["reduce-latency", "improve-throughput"],
}
TUNED = {
    "current-performance": {"queue-time": "1h 30m", "memory": 4e12, "cpu-usage": 0},
    "current-settings": {"max-agents": 6, "queue-limit": 5000, "warm-agents": 0, "tasks-per-agent": 1},
    "workload": {"arrival-rate": 50, "difficulty": 0.4},
    "constraints": {"max-agents": 7},
    "optimization-targets": {"reduce-queue-time": 3, "reduce-cost": 1, "reduce-cpu": 0},
}
TASK = {
    "task-description": "implement authentication microservice",
    "decision-time": "2026-03-01T09:30:00Z",
    "current-team-capacity": {"available-agents": 4, "average-productivity": 0.85, "experience-level": "senior"},
    "confidence-intervals": [0.8, 0.95, 0.3],
}
RESERVED = {
    "task-description": "Straße: run the suite",
    "decision-time": "2026-03-01",
    "requested-time": 3600,
    "processors": 16,
    "task-type": "bugfix",
    "agent": "coder-1",
    "confidence-intervals": [0.5],
}
#: network, request, options in JavaScript, in Python
ASKED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("coordination", SWARM, {}, {}),
    ("coordination", SWARM, {"confidenceThreshold": 0.8}, {"confidence_threshold": 0.8}),
    ("optimization", METRICS, {"top": 9}, {"top": 9}),
    ("optimization", TUNED, {"confidenceThreshold": 0.7}, {"confidence_threshold": 0.7}),
    ("prediction", TASK, {}, {}),
    ("prediction", RESERVED, {}, {}),
    ("prediction", {**TASK, "uncertainty-quantification": False}, {}, {}),
]
MODELS = {"coordination": "coordination-v3", "optimization": "optimization-v2", "prediction": "prediction-v2"}
_ELSEWHERE = {"network", "model", "confidence_is", "rests_on", "withheld", "reason", "confidence_threshold"}


def same(got: Any, want: Any, where: str) -> None:
    """Everything that Python says, but what a page knows of itself; numbers to what rounding may move."""
    if isinstance(want, dict):
        for key, value in want.items():
            if key not in _ELSEWHERE:
                assert key in got, f"{where}.{key}"
                same(got[key], value, f"{where}.{key}")
    elif isinstance(want, list):
        assert len(got) == len(want), where
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            same(one, other, f"{where}[{i}]")
    elif isinstance(want, float):
        assert math.isclose(got, want, rel_tol=1.2e-3, abs_tol=2e-4), f"{where}: {got} and {want}"
    else:
        assert got == want, where


def _alone(row: networks.Network) -> dict[str, str]:
    """Keywords with which no log of a workspace counts."""
    keywords = {option.key for option in row.answer.OPTIONS if option.part == "keyword"}
    return {"historical_context": "none"} if "historical_context" in keywords else {}


def test_answers_as_python_does(node: Any) -> None:
    jobs = [
        {"job": "answer", "path": str(registry.model_path(MODELS[name])), "request": request, "options": options}
        for name, request, given, _ in ASKED
        for options in [{**given, "explain": True}]
    ]
    for (name, request, _, keywords), reply in zip(ASKED, node.ask(*jobs), strict=True):
        row = networks.get(name)
        want = row.answer.answer(cf.load(MODELS[name]), request, explain=True, **keywords, **_alone(row))
        assert "value" in reply, reply
        if isinstance(want.get("withheld"), list):
            same(reply["value"]["withheld"], want["withheld"], f"{name}.withheld")
        same(reply["value"], want, name)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("optimization", {}, "name at least one metric"),
    ("optimization", {"current-performance": {"troughput": 1}}, "current-performance.troughput: no such field"),
    ("optimization", {"current-performance": {"latency": "2 parsecs"}}, "a duration such as 2m"),
    ("optimization", {**METRICS, "optimization-targets": ["fame"]}, "is not one of reduce-latency"),
    ("prediction", {}, "task-description is missing"),
    ("prediction", {**TASK, "confidence-intervals": [0.99]}, "must be a number above 0, to 0.95"),
    ("prediction", {**TASK, "current-team-capacity": {"available-agents": 0}}, "from 1 to 1000000"),
    ("prediction", {**TASK, "decision-time": "soon"}, "is not ISO 8601"),
    ("prediction", {**TASK, "source": "elsewhere"}, "it has no runs"),
]


def test_refuses_in_one_line(node: Any) -> None:
    jobs = [
        {"job": "answer", "path": str(registry.model_path(MODELS[name])), "request": request}
        for name, request, _ in REFUSED
    ]
    for (_, _, says), reply in zip(REFUSED, node.ask(*jobs), strict=True):
        assert says in reply["error"]
        assert "\n" not in reply["error"]


def test_a_counterfactual_turns_pythons_answer_too(node: Any) -> None:
    """The change that is named is made, and Python answers otherwise."""
    near = {**SWARM, "current-agents": [{**agent, "type": "tester"} for agent in SWARM["current-agents"]]}
    tuned = json.loads(json.dumps(TUNED).replace('"1h 30m"', "5400"))
    asked = [("coordination", near), ("optimization", METRICS), ("optimization", tuned)]
    jobs = [
        {"job": "counterfactuals", "path": str(registry.model_path(MODELS[name])), "request": request}
        for name, request in asked
    ]
    turned = 0
    for (name, request), reply in zip(asked, node.ask(*jobs), strict=True):
        row, model = networks.get(name), cf.load(MODELS[name])
        read = row.part("explain").Reader(model)
        knobs = {knob.label: knob for knob in read.knobs(read.item(request))}
        for one in filter(None, reply["value"]):
            changed = knobs[one["field"]].put(request, one["to"])
            decided = row.part("explain").decided(row.answer.answer(model, changed, **_alone(row)))
            assert decided[one["decision"]] == one["becomes"] != one["choice"]
            turned += 1
    assert turned >= 3
