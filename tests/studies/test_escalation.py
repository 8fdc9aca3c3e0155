"""Cheap first and escalate: the plan, its verifier, and the protocol on a file written here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from claude_flow.cli import main
from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS
from claude_flow.studies import escalation

COLUMNS = "task,repository,agent,resolved,api_calls,cost_usd"


def write(path: Path, tasks: int = 200, *, priced: bool = True) -> Path:
    """A cheap agent that needs many calls where it fails, and a dear one that resolves nine of ten."""
    generator, lines = np.random.default_rng(0), [COLUMNS]
    for i in range(tasks):
        good = generator.random() < 0.6
        calls = generator.integers(5, 20) if good else generator.integers(40, 60)
        lines.append(f"t{i},repo{i % 3},cheap,{int(good)},{calls},{0.01 * calls if priced else ''}")
        dear = int(generator.random() < 0.9)
        lines.append(f"t{i},repo{i % 3},dear,{dear},{generator.integers(20, 40)},{2.0 if priced else ''}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_escalation_resolves_as_many_as_the_constant_for_less(tmp_path):
    path = write(tmp_path / "runs.csv")
    assert escalation.detect(path)
    assert escalation.detect(tmp_path)  # where it is beside other runs
    (tmp_path / "nothing").mkdir()
    assert not escalation.detect(tmp_path / "nothing")
    result = escalation.run(path, seeds=[0], quick=False, progress=lambda done, what: None)
    found: dict[tuple[str, str], list[float]] = {}
    for score in result.scores:
        found.setdefault((score.contender, score.measure), []).append(score.value)
    mean = {key: float(np.mean(values)) for key, values in found.items()}
    constant = escalation.CONSTANT
    assert mean[OURS, escalation.RATE] >= mean[constant, escalation.RATE] - 0.01
    assert mean[OURS, escalation.COST] <= 0.8 * mean[constant, escalation.COST]
    assert any(note.startswith("the verifier accepts") for note in result.notes)


def test_prices_are_the_users_and_only_of_agents_that_are_there(tmp_path, capsys):
    _, runs, notes = escalation.read(write(tmp_path / "runs.csv", 30), {"dear": 7.5})
    assert not notes
    assert runs.cost[:, 1].tolist() == [7.5] * 30
    with pytest.raises(InputError, match=r"--prices: there are no runs of 'nobody': there are cheap, dear"):
        escalation.read(tmp_path / "runs.csv", {"nobody": 1.0})
    with pytest.raises(InputError, match="fewer than two agents have a price"):
        escalation.read(write(tmp_path / "unpriced.csv", 30, priced=False), {})
    lines = write(tmp_path / "odd.csv", 30).read_text().splitlines()
    again = lines[1].split(",")
    again[3] = str(1 - int(again[3]))  # the same run, with the other outcome
    lines[3] = lines[3].rpartition(",")[0] + ","
    lines += [",".join(again), *(f"t{i},repo0,free,1,5," for i in range(30))]
    (tmp_path / "odd.csv").write_text("\n".join(lines) + "\n")
    _, odd, notes = escalation.read(tmp_path / "odd.csv", {})
    assert odd.agents == ("cheap", "dear")
    assert [note.split(" ")[0] for note in notes] == ["left", "1", "1"]
    assert ("free" in notes[0], "mean of" in notes[1], "other outcome" in notes[2]) == (True, True, True)
    words = ["benchmark", "--model", "coordination-v3", "--test-scenarios", str(tmp_path / "unpriced.csv"), "--quick"]
    assert main(["neural", *words, "--prices", '{"cheap": 0.1, "dear": 2}', "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert found["protocol"] == "escalation"
    assert main(["neural", "benchmark", "--model", "coordination-v3", "--prices", '{"dear": 2}']) == 2
    assert "--prices is for runs of agents as CSV" in capsys.readouterr().err
    assert main(["neural", *words, "--prices", '{"dear": -2}']) == 2
    assert "--prices.dear" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["t,r,a,yes,1,1"], "runs.csv:2: resolved, cost_usd and api_calls are numbers"),
        ([f"t{i},r,a,1,1,1" for i in range(30)], "1 agents share 30 tasks"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path, capsys, lines, told):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([COLUMNS, *lines]) + "\n")
    assert main(["neural", "benchmark", "--model", "coordination-v3", "--test-scenarios", str(path)]) == 2
    assert told in capsys.readouterr().err
