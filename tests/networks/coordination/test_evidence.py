"""Past decisions of a log as evidence, from the log's file to the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import claude_flow as cf
from claude_flow.data.collect import collect
from claude_flow.errors import InputError
from claude_flow.networks.coordination.answer import answer

pytest.importorskip("pyarrow", reason="a log's tables need claude-flow[data]")

SWARM = {
    "current-agents": [{"id": "a", "type": "scout"}, {"id": "b", "type": "smith"}, {"id": "c", "type": "smith"}],
    "pending-tasks": [{"id": "t1", "description": "Chart the coast"}, {"id": "t2", "description": "Forge a hinge"}],
}


def _log(tmp_path: Path, success: bool | None) -> None:
    lines = []
    for i in range(24):
        kind, text = (("smith", f"chart a lane {i}"), ("scout", f"forge a nail {i}"))[i % 2]
        run: dict[str, Any] = {"event": "run", "run_id": f"r{i}", "task": f"t{i}", "agent_type": kind, "agent": kind}
        run |= {"start": f"2026-03-02T09:{i:02}:00Z", "end": f"2026-03-02T09:{i:02}:30Z", "status": "completed"}
        lines.append(json.dumps(run | {"description": text, "success": success}))
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    out = tmp_path / "home" / "datasets" / "swarm-training-data"
    out.parent.mkdir(parents=True, exist_ok=True)
    collect([tmp_path / "log.jsonl"], out, quality_filter="none")


def test_the_workspace_s_log_decides_against_the_network_s_prior(tmp_path, monkeypatch):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "home"))
    model = cf.load("coordination-v3")
    alone = answer(model, SWARM)
    assert alone["rests_on"].startswith("the network alone: the workspace has no log")
    _log(tmp_path, None)
    found = answer(model, SWARM, explain=True)
    assert found["rests_on"] == "24 past decisions of swarm-training-data and the network"
    first, second = found["assignments"]
    assert first["agent"] in ("b", "c")  # as in the log, whatever the words mean
    assert second["agent"] == "a"
    assert all(entry["explanation"][0]["input"].startswith("log:") for entry in (first, second))
    whole = answer(model, SWARM, historical_context="none")
    assert whole["rests_on"] == "the network alone, as asked"
    assert whole["assignments"] == alone["assignments"]
    with pytest.raises(InputError, match="no dataset"):
        answer(model, SWARM, historical_context="no-such-log")
    stranger = {**SWARM, "current-agents": [{"id": "x", "type": "piper"}, {"id": "y", "type": "baker"}]}
    assert "no decision in swarm-training-data" in answer(model, stranger)["rests_on"]


def test_what_failed_is_no_evidence_for_who_did_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "home"))
    model = cf.load("coordination-v3")

    def chance() -> float:
        (entry,) = answer(model, {**SWARM, "pending-tasks": SWARM["pending-tasks"][1:]})["assignments"]
        return next(c["confidence"] for c in entry["candidates"] if c["choice"] == "a")

    _log(tmp_path, None)
    held = chance()
    _log(tmp_path, False)
    assert chance() < held


def test_without_a_log_other_projects_speak_for_types_that_they_use(tmp_path, monkeypatch):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "home"))
    model = cf.load("coordination-v3")
    agents = [{"id": "e", "type": "Explore"}, {"id": "g", "type": "general-purpose"}, {"id": "p", "type": "Plan"}]
    tasks = [{"id": "t1", "description": "Explore the codebase"}, {"id": "t2", "description": "Implement the parser"}]
    swarm = {"current-agents": agents, "pending-tasks": tasks}
    found = answer(model, swarm, explain=True)
    assert found["rests_on"].startswith("what other people's projects did and the network: the workspace has no log")
    assert [entry["agent"] for entry in found["assignments"]] == ["e", "g"]
    assert found["assignments"][0]["explanation"][0]["input"].startswith("others:")
    own = [{**agents[0], "track-record": {"tasks": 9, "success-rate": 0.1}}, *agents[1:]]
    recorded = answer(model, {**swarm, "current-agents": own})
    assert recorded["rests_on"].startswith("the network alone")
