"""Boundaries: every change that is told turns the decision when the request is asked anew, within its ranges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from claude_flow import registry
from claude_flow.cli import main
from claude_flow.insight.asked import Asked
from claude_flow.insight.boundaries import METHODS, boundaries

LINE = ["neural", "explain", "boundaries"]
SWARM = Path(__file__).parents[2] / "docs" / "examples" / "swarm.json"


@pytest.mark.parametrize(
    ("model", "method"), [*(("coordination-v3", method) for method in METHODS), ("optimization-v2", "line-search")]
)
def test_changes_are_verified_and_within_their_ranges(model: str, method: str) -> None:
    asked = Asked(registry.model_path(model))
    asked.groups = {"simulated": [min(asked.items, key=lambda item: len(item.decisions))]}
    found = boundaries(asked, method, samples=40)
    assert found["decisions"]
    for row in found["decisions"]:
        for told in row["counterfactuals"]:
            assert told["verified"]
            assert told["fields"] == len(told["changes"]) >= 1
            assert told["distance"] >= row["radius"] > 0
    ranges = {knob.label: knob for knob in asked.knobs(asked.items[0])}
    for row in found["decisions"]:
        for change in (c for told in row["counterfactuals"] for c in told["changes"]):
            knob = ranges[change["field"]]
            assert change["to"] in knob.words if knob.words else knob.low <= change["to"] <= knob.high
    if method == "line-search":
        assert all(told["fields"] == 1 for row in found["decisions"] for told in row["counterfactuals"])
    assert len(found["projection"]["points"]) == 41


def test_the_command_says_what_turns_a_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    (tmp_path / "datasets" / "swarm-training-data").mkdir(parents=True)  # a log, which must not be read
    html = tmp_path / "boundaries.html"
    line = [*LINE, "--model", "coordination-v3", "--input-space", str(SWARM), "--html", str(html)]
    assert main([*line, "--perturbation-method", "line-search", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["turned"]["of"] == 2
    assert "infer goes by this workspace's log too" in found["caveat"]
    assert found["verified"]["share"] in (None, 1)
    assert [row["decision"] for row in found["decisions"]] == ["task-001", "task-002"]
    for row in found["decisions"]:
        told = row["counterfactuals"]
        assert all(f"turns {row['decision']} from {row['choice']} to " in one["says"] for one in told)
        assert told or row["radius"] is None or row["held"] < 1  # nothing alone turns it, and that is said
    text = html.read_text("utf-8")
    assert "http" not in text
    assert "</svg>" in text


def test_one_line_for_what_cannot_be_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "swarm.json"
    broken.write_text('{"current-agents": []}')
    for extra, told in (
        (["--model", "prediction-v2"], "decides nothing"),
        (["--model", "coordination-v3", "--input-space", str(broken)], "input."),
        (["--model", "coordination-v3", "--boundary-sampling", "0"], "0"),
        (["--model", "coordination-v3", "--perturbation-method", "gradient"], "gradient"),
    ):
        assert main([*LINE, *extra]) == 2
        error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("...")]  # progress
        assert len(error) == 1, error
        assert told in error[0]
