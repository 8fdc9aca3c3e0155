"""Forecasting runs from their first steps: how runs are cut, what contenders see, and odd data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import claude_flow as cf
from claude_flow.errors import InputError
from claude_flow.studies.steps.encoder import LONGEST, Begun, StepEncoder

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")
pytest.importorskip("lightgbm", reason="the baseline needs the extra: pip install 'claude-flow[baselines]'")
pytest.importorskip("scipy", reason="statistics need the extra: pip install 'claude-flow[baselines]'")

from claude_flow.evaluate.result import OURS
from claude_flow.studies.steps import learner as training
from claude_flow.studies.steps import protocol

SMALL = training.Recipe(members=1, width=16, hidden=16, epochs=25, batch=16, dropout=0.0, learning_rate=0.01)
NAMES = {"read": "R", "edit": "E", "verify": "V"}


def write(folder: Path, tasks: int, outcome: str | None = None) -> Path:
    """Two agents on each task; a run fails when it edits before it reads. ``outcome``: the same for all."""
    generator = np.random.default_rng(0)
    rows, lines = [], ["agent_run_id,metadata.instance_id,metadata.model_name,metadata.resolved,metadata.turns"]
    for task in range(tasks):
        name = f"instance_own{task % 3}__repo-{task:040d}"
        for model, agent in (("gpt5", "GPT-5 - 10132025"), ("claude45", "Claude 4.5 Sonnet - 10132025")):
            fails = bool(generator.integers(2))
            walk = ("E" if fails else "R") * 4 + "".join(generator.choice(list("REV"), int(generator.integers(4, 60))))
            rows.append({"model": model, "task": name, "steps": len(walk), "high_seq": walk})
            resolved = outcome or ("false" if fails else "true")
            lines.append(f"{model}-{task},{name},{agent},{resolved},{len(walk)}")
    content = {"rows": rows, "high_level_letter": NAMES, "char_to_low_level_intent": {}}
    (folder / "swebench_pro_trajectory_sequences.json").write_text(json.dumps(content))
    (folder / "swebench_pro_agent_runs_data.csv").write_text("\n".join(lines))
    return folder


def begun(steps: int, action: str = "read", agent: str = "a", repository: str = "r") -> Begun:
    return Begun([(action, None)] * steps, agent, repository)


def test_runs_are_cut_after_a_quarter_and_after_half():
    runs = protocol.Runs([begun(10), begun(3)], ["one", "two"], np.array([1.0, 0.0]))
    rows = protocol.cut(runs)
    assert [len(one.steps) for one in rows.begun] == [2, 5, 1, 1]
    assert rows.remaining.tolist() == [8, 5, 2, 2]
    assert rows.failed.tolist() == [1, 1, 0, 0]
    assert rows.tasks == ["one", "one", "two", "two"]


def test_what_comes_after_the_cut_changes_nothing(tmp_path):
    rows = protocol.cut(protocol.Runs([begun(8)], ["one"], np.zeros(1)))
    longer = Begun([("read", None)] * 4 + [("edit", None)] * 4, "a", "r")
    other = protocol.cut(protocol.Runs([longer], ["one"], np.zeros(1)))
    encoder = StepEncoder.fit([begun(8), longer])
    for one, two in zip(rows.begun, other.begun, strict=True):
        np.testing.assert_array_equal(encoder.tokens(one), encoder.tokens(two))


def test_every_contender_is_judged_on_every_fold(tmp_path):
    folder = write(tmp_path, 60)
    assert protocol.detect(folder)
    result = protocol.run(folder, seeds=[3, 4], quick=True, progress=lambda share, what: None)
    assert result.rows == {"runs": 120, "tasks": 60}
    measured = {(s.contender, s.measure, s.unit, s.seed) for s in result.scores}
    assert len(measured) == len(result.scores) == 5 * 4 * 5
    assert all(np.isfinite(s.value) for s in result.scores)
    boosted = [s.value for s in result.scores if s.contender == "LightGBM on action counts" and "AUC" in s.measure]
    assert np.mean(boosted) > 0.7  # the cause of failure is in the counts
    assert sum("ours less" in note for note in result.notes) == 2 * 4


def test_one_class_only_has_no_auc_and_still_an_error(tmp_path):
    result = protocol.run(write(tmp_path, 30, "false"), seeds=[0], quick=True, progress=lambda share, what: None)
    assert not any("AUC" in s.measure for s in result.scores)
    assert {s.contender for s in result.scores} >= {OURS, "LightGBM on action counts"}
    assert not any("ours less" in note for note in result.notes)


def test_too_few_tasks_are_refused(tmp_path):
    with pytest.raises(InputError, match="1 tasks with steps and outcomes do not fill 5 folds"):
        protocol.read(write(tmp_path, 1))


def test_steps_without_outcomes_are_another_protocols(tmp_path):
    folder = write(tmp_path, 3)
    (folder / "swebench_pro_agent_runs_data.csv").unlink()
    assert not protocol.detect(folder)
    assert not protocol.detect(folder / "swebench_pro_trajectory_sequences.json")


def test_unseen_kinds_are_nothing_and_long_runs_are_cut():
    encoder = StepEncoder.fit([begun(3)])
    known, unknown = encoder.tokens(begun(2)), encoder.tokens(begun(2, "fly", "b", "s"))
    assert known.shape == unknown.shape == (3, encoder.width)
    assert unknown[:, :3].sum() == 0  # action, agent, repository
    assert encoder.tokens(begun(500)).shape == (LONGEST + 1, encoder.width)
    assert np.isfinite(encoder.tokens(Begun([], "a", "r"))).all()
    with pytest.raises(InputError, match="no runs"):
        StepEncoder.fit([])


def test_a_forecast_learns_repeats_and_runs_in_the_engine(tmp_path):
    from claude_flow import export

    rows = protocol.cut(protocol.read(write(tmp_path, 80)))
    fitted = [training.fit(rows.begun, rows.failed, rows.remaining, rows.tasks, 1, SMALL) for _ in range(2)]
    failure, quantiles = fitted[0].forecast(rows.begun)
    np.testing.assert_array_equal(fitted[1].forecast(rows.begun)[0], failure)
    assert (np.diff(quantiles, axis=1) > 0).all()
    assert failure[rows.failed == 1].mean() > failure[rows.failed == 0].mean()

    tokens, logits = fitted[0].encoder.tokens(rows.begun[1]), []
    reader, summary = fitted[0].failure
    for network, seen in ((reader, tokens), (summary, tokens[-1:])):
        export.save(network, tmp_path / "steps.safetensors")
        logits.append(cf.load(str(tmp_path / "steps.safetensors")).run(seen[None])[0, -1])
    assert 1 / (1 + np.exp(-np.mean(logits))) == pytest.approx(failure[1], abs=1e-4)


def test_runs_of_one_task_and_constant_outcomes_are_learned():
    runs = [begun(n) for n in (1, 2, 3, 4)]
    found = training.fit(runs, np.ones(4), np.full(4, 2), ["one"] * 4, 0, SMALL)
    failure, quantiles = found.forecast([begun(2), begun(0)])
    assert np.isfinite(failure).all()
    assert np.isfinite(quantiles).all()
