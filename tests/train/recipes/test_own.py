"""Learning from the own log: one command from the log to a verdict, and the verdict itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from claude_flow import registry
from claude_flow.cli import main
from claude_flow.evaluate.walk import NEW, Block, judge
from claude_flow.train.recipes import own

for library in ("lightgbm", "torch", "pyarrow", "scipy"):
    pytest.importorskip(library)


def _error(said: str) -> str:
    """The one line beside the progress."""
    (line,) = [line for line in said.splitlines() if line and not line.startswith("...")]
    return line


def test_learn_goes_from_the_log_to_a_verdict_and_changes_nothing_where_rules_do_as_well(swarm_log, capsys):
    words = ["neural", "learn", "--source", str(swarm_log), "--time-budget", "3s", "--format", "json"]
    assert main([*words, "--networks", "coordination,prediction,optimization"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == 160
    assert "optimization" in found["skipped"]
    verdict = found["verdicts"]["coordination"]
    rivals = {NEW, "coordination-v3", "most used", "last used", "first-word table", "k-NN", "LightGBM"}
    assert set(verdict["contenders"]) == rivals
    assert verdict["contenders"]["first-word table"] > verdict["contenders"]["most used"]
    assert verdict["rows"] > 60
    for network, judged in found["verdicts"].items():  # kept if and only if it beats the strongest for sure
        assert judged["kept"] == (judged["gain"] > 0 and judged["p"] < 0.05) == (network in found["kept"])
        assert bool(registry.versions(network)) == judged["kept"]
    report = json.loads((registry.runs_dir() / "learn" / "report.json").read_text())
    assert report["verdicts"] == found["verdicts"]
    words = ["neural", "train", "coordination", "--data", "swarm-training-data", "--if-better", "--time-budget", "1s"]
    assert main([*words, "--format", "json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert bool(again["kept"]) == again["verdict"]["kept"]


def test_a_model_is_kept_only_if_it_beats_the_strongest_for_sure(tmp_path):
    units = np.repeat(np.arange(30), 2).astype(str)
    good, weak = np.ones(60), np.tile([0.0, 1.0], 30)
    better = judge("coordination", [Block("share", True, units, {NEW: good, "a": weak, "b": 0 * good})])
    assert better.kept
    assert better.strongest == "a"
    tie = judge("coordination", [Block("share", True, units[:6], {NEW: good[:6], "a": weak[:6]})])
    assert not tie.kept
    assert tie.why.startswith("a tie")
    loss = judge("prediction", [Block("pinball", False, units, {NEW: good, "a": weak})])
    assert loss.why.startswith("worse")
    model = registry.newest_model("coordination")
    assert own.keep(tie, "mine", model, {}) is None
    assert own.keep(better, "mine", model, {"network": "coordination"}) == "mine/1.0.0"
    assert registry.model_card(registry.model_path("mine"))["walk_forward"]["strongest"] == "a"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "a.jsonl", "--dataset", "b"], "name the one or the other"),
        (["--networks", "coordinatoin"], "did you mean coordination?"),
        (["--dataset", "nothing"], "there is no dataset"),
        (["--source", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_wrong_input_is_one_line(words, told, capsys):
    assert main(["neural", "learn", *words]) == 2
    assert told in _error(capsys.readouterr().err)


def test_a_log_of_three_runs_says_what_is_missing(tmp_path: Path, capsys):
    lines = [
        {"event": "run", "run_id": f"r{i}", "task": f"t{i}", "agent_type": "coder", "agent": "coder",
         "description": "write", "start": f"2026-01-0{i + 1}T09:00:00Z", "end": f"2026-01-0{i + 1}T09:01:00Z",
         "status": "completed"}
        for i in range(3)
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code = main(["neural", "learn", "--source", str(tmp_path / "log.jsonl"), "--format", "json"])
    assert code == 2
    assert "can teach no network" in _error(capsys.readouterr().err)
