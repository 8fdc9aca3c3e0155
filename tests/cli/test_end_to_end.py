"""The main job through the command line alone: a swarm's log in, trained models, answers out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from claude_flow import registry

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

SWARM = {
    "current-agents": [{"id": "t-1", "type": "tester"}, {"id": "c-1", "type": "coder"}],
    "pending-tasks": [
        {"id": "a", "type": "testing", "description": "test the login page"},
        {"id": "b", "type": "implementation", "description": "write the login page"},
    ],
}


def train(run, tmp_path: Path, network: str, size: dict[str, object]) -> dict[str, object]:
    config = {"epochs": 6, "batch-size": 16, "learning-rate": {"initial": 0.003}, "network": size}
    (tmp_path / f"{network}.json").write_text(json.dumps({f"{network}-training": config}))
    words = ["neural", "train", network, "--config", f"{network}.json", "--output", f"{network}-v1", "--format", "json"]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    card: dict[str, object] = json.loads(done.stdout)["card"]
    return card


def answer(run, *words: str) -> dict[str, object]:
    done = run("neural", "infer", *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_log_becomes_assignments_and_forecasts(run, swarm_log, tmp_path):
    collected = run("neural", "data", "collect", "--source", str(swarm_log), "--format", "json")
    assert collected.returncode == 0, collected.stderr
    assert json.loads(collected.stdout)["tables"]["runs"]["rows"] == 160
    assert "1 of 161 lines could not be used" in collected.stderr
    assert run("neural", "data", "preprocess").returncode == 0

    card = train(run, tmp_path, "coordination", {"width": 32, "heads": 2, "feed_forward": [32]})
    held_out, baselines = card["held_out"]["metrics"], card["baselines"]
    assert held_out["coordination-accuracy"] > baselines["random"]["coordination-accuracy"]
    assert registry.newest_model("coordination") == registry.model_path("coordination-v1")
    agents = [entry["agent"] for entry in answer(run, "coordination", "--input", json.dumps(SWARM))["assignments"]]
    assert agents == ["t-1", "c-1"]

    train(run, tmp_path, "prediction", {"width": 16, "layers": 1})
    words = ["prediction", "--task-description", "write page 3", "--task-type", "implementation"]
    words += ["--historical-context", "similar-tasks-last-6-months", "--decision-time", "2026-03-15T09:00:00Z"]
    forecast = answer(run, *words)
    assert forecast["history"]["runs"] == 160
    assert forecast["predictions"]["duration"]["status"] == "predicted"
    assert forecast["predictions"]["cost"]["status"] == "unavailable"  # the log does not tell it


def test_the_simulator_becomes_recommendations(run, tmp_path):
    assert run("neural", "data", "preprocess", "--dataset", "simulator", "--simulate", "300").returncode == 0
    train(run, tmp_path, "optimization", {"hidden": [32]})
    found = answer(run, "optimization", "--current-performance", '{"latency": 120}')
    assert found["model"] == "optimization-v1/1.0.0"
    assert found["inputs_known"] == 1
