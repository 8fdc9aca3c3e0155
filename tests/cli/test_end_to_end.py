"""The main job through the command line alone: a swarm's log in, trained models, answers out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from claude_flow import registry

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

NETWORKS = {
    "coordination": {"width": 32, "heads": 2, "feed_forward": [32]},
    "optimization": {"hidden": [32]},
    "prediction": {"width": 16, "layers": 1},
}
SWARM = {
    "current-agents": [{"id": "t-1", "type": "tester"}, {"id": "c-1", "type": "coder"}],
    "pending-tasks": [
        {"id": "a", "type": "testing", "description": "test the login page"},
        {"id": "b", "type": "implementation", "description": "write the login page"},
    ],
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two months of a swarm whose testers are quick and good at tests, and whose coders at code, as docs/events.md."""
    kinds = {"testing": ("tester", "test"), "implementation": ("coder", "write")}
    begin, lines = datetime(2026, 1, 5, tzinfo=timezone.utc), []
    for i in range(160):
        kind = ("testing", "implementation")[i % 2]
        fits = i % 8 < 6  # the dispatcher errs at every fourth
        agent = kinds[kind][0] if fits else {"tester": "coder", "coder": "tester"}[kinds[kind][0]]
        start = begin + timedelta(hours=9 * i)
        lines.append(
            {
                "event": "run",
                "run_id": f"r-{i}",
                "group": "shop",
                "project": "shop",
                "agent": f"{agent}-{i % 3}",
                "agent_type": agent,
                "task": f"t-{i}",
                "task_type": kind,
                "description": f"{kinds[kind][1]} page {i % 7}",
                "submitted": start.isoformat(),
                "start": start.isoformat(),
                "end": (start + timedelta(seconds=100 + 10 * (i % 7) + (0 if fits else 600))).isoformat(),
                "status": "completed" if fits else "failed",
                "success": fits,
                "tokens": 1000 * (1 + i % 5),
            }
        )
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "a line that was cut o")
    return path


def train(run, tmp_path: Path, network: str) -> dict[str, object]:
    config = {"epochs": 6, "batch-size": 16, "learning-rate": {"initial": 0.003}, "network": NETWORKS[network]}
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


def test_a_log_becomes_assignments_and_forecasts(run, log, tmp_path):
    collected = run("neural", "data", "collect", "--source", str(log), "--format", "json")
    assert collected.returncode == 0, collected.stderr
    assert json.loads(collected.stdout)["tables"]["runs"]["rows"] == 160
    assert "1 of 161 lines could not be used" in collected.stderr
    assert run("neural", "data", "preprocess").returncode == 0

    card = train(run, tmp_path, "coordination")
    held_out, baselines = card["held_out"]["metrics"], card["baselines"]
    assert held_out["coordination-accuracy"] > baselines["random"]["coordination-accuracy"]
    assert registry.newest_model("coordination") == registry.model_path("coordination-v1")
    agents = [entry["agent"] for entry in answer(run, "coordination", "--input", json.dumps(SWARM))["assignments"]]
    assert agents == ["t-1", "c-1"]

    train(run, tmp_path, "prediction")
    words = ["prediction", "--task-description", "write page 3", "--task-type", "implementation"]
    words += ["--historical-context", "similar-tasks-last-6-months", "--decision-time", "2026-03-15T09:00:00Z"]
    forecast = answer(run, *words)
    assert forecast["history"]["runs"] == 160
    assert forecast["predictions"]["duration"]["status"] == "predicted"
    assert forecast["predictions"]["cost"]["status"] == "unavailable"  # the log does not tell it


def test_the_simulator_becomes_recommendations(run, tmp_path):
    assert run("neural", "data", "preprocess", "--dataset", "simulator", "--simulate", "300").returncode == 0
    train(run, tmp_path, "optimization")
    found = answer(run, "optimization", "--current-performance", '{"latency": 120}')
    assert found["network"] == "optimization"
    assert found["inputs_known"] == 1
