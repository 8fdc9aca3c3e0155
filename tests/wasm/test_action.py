"""The whole pipeline as one file under Node: every field of its answers beside those of ``cf.Pipeline``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.wasm.test_answers import SWARM, same

import claude_flow as cf
from claude_flow import networks, registry
from claude_flow.environments.swarm import Swarm as Simulated
from claude_flow.environments.world import WORLDS

TYPES = ("coder", "Architect ", "tester", "", "plumber")
SKILLS = ("apis", "design", "unit testing", "PDF", "apiDesign")
WORK = ("implementation", "api-design", "testing: coverage", "plumbing", "", "Docs")


def swarm(seed: int) -> dict[str, Any]:
    """A request that says some of what may be said: equal agents and tasks, which make ties, among others."""
    draw = random.Random(seed)

    def some(**fields: Any) -> dict[str, Any]:
        return {name.replace("_", "-"): value for name, value in fields.items() if draw.random() < 0.6}

    def shares() -> float:
        return draw.choice((0.0, 0.25, 0.945, 0.95, 1.0, round(draw.random(), 3)))

    agents = [
        {"id": f"agent-{i}"}
        | some(type=draw.choice(TYPES), load=shares(), capabilities=draw.sample(SKILLS, draw.randint(0, 3)))
        | some(speed=draw.choice((0.5, 1, 1.7)), cost_per_hour=draw.choice((0, 2, 9.5)), past_tasks=draw.randint(0, 9))
        | some(free_in_minutes=draw.choice((0, 3, 200)), track_record={"tasks": 7, "success-rate": shares()})
        for i in range(draw.choice((1, 2, 3, 7, 9)))
    ]
    tasks = [
        {"id": f"task-{i}"}
        | some(type=draw.choice(WORK), complexity=shares(), description=draw.choice(("", "fix the login")))
        | some(priority=draw.choice(("low", "medium", "high", "critical", 0, 0.5, 0.9)))
        | {
            "features": some(
                waiting_minutes=draw.choice((0, 1.5, 150)),
                minutes_left=draw.choice((-5, 3, 60, 4000)),
                expected_minutes=draw.choice((0, 5, 60)),
            )
        }
        for i in range(draw.choice((1, 2, 4, 8, 11)))
    ]
    state = some(memory_usage=shares(), cpu_usage=shares(), network_latency=draw.choice((0, 45, 3000)))
    return {"current-agents": agents, "pending-tasks": tasks} | ({"system-state": state} if state else {})


@pytest.fixture(scope="module")
def pipeline() -> cf.Pipeline:
    return cf.Pipeline()


@pytest.fixture(scope="module")
def whole(pipeline: cf.Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "pipeline.safetensors"
    pipeline.save(path)
    return path


def test_answers_as_the_pipeline_does(node: Any, pipeline: cf.Pipeline, whole: Path) -> None:
    requests = [SWARM, *(Simulated(world, 3).request() for world in WORLDS.values()), *map(swarm, range(80))]
    jobs = [{"job": "answer", "path": str(whole), "request": one, "options": {"explain": True}} for one in requests]
    wanted = [pipeline(request, explain=True) for request in requests]
    for seed, (reply, want) in enumerate(zip(node.ask(*jobs), wanted, strict=True), -6):
        assert "value" in reply, (seed, reply)
        for name in ("explanation", "values"):  # told in order of numbers, which rounding may move
            for answer in (want, reply["value"]):
                answer[name] = dict(tuple(entry.values()) for entry in answer[name])
        same(reply["value"], want, f"{seed}")
    assert {answer["command"] for answer in wanted} >= {"defer", "spawn", "escalate"}


def test_a_counterfactual_turns_the_pipelines_command_too(node: Any, pipeline: cf.Pipeline, whole: Path) -> None:
    requests = list(map(swarm, range(8)))
    jobs = [{"job": "counterfactuals", "path": str(whole), "request": request} for request in requests]
    read, turned = networks.get("coordination").part("explain").Reader(cf.load("coordination-v3")), 0
    for request, reply in zip(requests, node.ask(*jobs), strict=True):
        for one in filter(None, reply["value"]):
            assert pipeline(request)["command"] == one["choice"]
            knobs = {knob.label: knob for knob in read.knobs(read.item(request))}
            changed = knobs[one["field"]].put(request, one["to"])
            assert pipeline(changed)["command"] == one["becomes"] != one["choice"]
            turned += 1
    assert turned >= 3


def test_refuses_in_one_line(node: Any, whole: Path) -> None:
    alone = {"job": "answer", "path": str(registry.model_path("action-v2")), "request": SWARM}
    (reply,) = node.ask(alone)
    assert "the decision engine alone: save the whole pipeline by cf.Pipeline().save(path)" in reply["error"]
    asked = {"job": "answer", "path": str(whole)}
    fast = {**SWARM, "current-agents": [{"id": "a", "speed": 0}]}
    for reply in node.ask(asked | {"request": fast}, asked | {"request": {"current-agents": [{"id": "a"}]}}):
        assert "\n" not in reply["error"]
        assert reply["error"].startswith("input")
