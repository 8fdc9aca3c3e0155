"""Logs that say little or contradict themselves: an answer that says what it rests on, or one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claude_flow.cli import main

pytest.importorskip("pyarrow", reason="a log's tables need claude-flow[data]")

Run = dict[str, Any]


def _runs(count: int, change: Callable[[int, Run], Run] = lambda i, run: {}) -> list[Run]:
    found = []
    for i in range(count):
        kind, text = (("scout", "Chart the coast"), ("smith", "Forge a hinge"))[i % 2]
        day = f"2026-03-{2 + i // 20:02}T09:{i % 20 * 3:02}"
        run: Run = {"event": "run", "run_id": f"r{i}", "task": f"t{i}", "agent_type": kind, "agent": kind}
        run |= {"description": f"{text} {i}", "start": f"{day}:00Z", "end": f"{day}:{10 + i % 40}Z"}
        found.append({**run, "status": "completed", "success": True, **change(i, run)})
    return found


def _failed_too(runs: list[Run]) -> list[Run]:
    return [{**run, "status": "failed", "success": False} for run in runs]


LOGS = {
    "three runs": _runs(3),
    "one agent": _runs(60, lambda i, run: {"agent_type": "scout", "agent": "scout"}),
    "outcomes unknown": _runs(60, lambda i, run: {"status": None, "success": None}),
    "ends before it starts": _runs(60, lambda i, run: {"end": "2026-02-01T00:00:00Z"} if i % 3 == 0 else {}),
    "years ahead": _runs(60, lambda i, run: {"start": "2031-01-01T00:00:00Z", "end": None} if i % 5 == 0 else {}),
    "contradictory": _runs(60) + _failed_too(_runs(60)),
}
SWARM = {
    "current-agents": [{"id": "a", "type": "scout"}, {"id": "b", "type": "smith"}],
    "pending-tasks": [{"id": "t", "description": "Chart the coast"}],
}
#: the command, and where its answer says what it rests on
QUESTIONS = {
    "coordination": (["--input", json.dumps(SWARM)], ("rests_on",)),
    "prediction": (["--task-description", "Chart the coast", "--agent", "scout"], ("rests_on",)),
    "optimization": (["--optimization-targets", "reduce-latency"], ("rests_on",)),
    "action": (["--input", json.dumps(SWARM), "--prices", '{"smith": 1.0}'], ("price", "rests_on")),
}


@pytest.mark.parametrize("name", LOGS)
def test_an_answer_says_what_it_rests_on_or_it_is_one_line(name, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "home"))
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(run) + "\n" for run in LOGS[name]))
    words = ["--source", str(tmp_path / "log.jsonl"), "--timeframe", "all", "--quality-filter", "none"]
    assert main(["neural", "data", "collect", *words]) == 0
    capsys.readouterr()
    for network, (asked, path) in QUESTIONS.items():
        code = main(["neural", "infer", network, *asked, "--format", "json"])
        said = capsys.readouterr()
        if code:
            assert code == 2
            assert said.err.startswith("error: ")
            assert len(said.err.strip().splitlines()) == 1
            continue
        assert "NaN" not in said.out
        found: Any = json.loads(said.out)
        for part in path:
            found = found[part]
        assert "past" in found or "log" in found or "runs" in found, network


def test_a_run_of_two_outcomes_is_counted_as_such(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "home"))
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(run) + "\n" for run in LOGS["contradictory"]))
    assert main(["neural", "data", "collect", "--source", str(tmp_path / "log.jsonl"), "--timeframe", "all"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "of the other outcome" in line]
    assert line.split()[-1] == "60"
