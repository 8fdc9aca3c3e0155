"""Worlds fitted to logs: what is known comes out again, files are read back, a log that is too small is one line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from claude_flow import environments
from claude_flow.cli import main
from claude_flow.environments import fitted
from claude_flow.environments.rules import RULES, play
from claude_flow.errors import InputError

pytest.importorskip("scipy", reason="fitting needs the extra: pip install 'claude-flow[rl]'")


def log(runs=400, seed=0):
    """Coders take 8 minutes and fail at times, testers 3, and a task comes every 5 minutes."""
    random = np.random.default_rng(seed)
    unknown = np.full(runs, np.nan)
    coder = random.random(runs) < 0.7
    return {
        "submitted": unknown,
        "start": np.cumsum(random.exponential(300.0, runs)),
        "duration_s": np.exp(random.normal(np.log(np.where(coder, 480.0, 180.0)), 0.5)),
        "active_s": unknown,
        "cost": unknown,
        "utility": np.where(coder & (random.random(runs) < 0.3), 0.0, 1.0),
        "agent_type": np.where(coder, "coder", "tester").tolist(),
        "task_type": [None] * runs,
    }


def test_what_a_log_was_made_of_comes_out_again():
    world, judged = environments.fit(log())
    assert world.names == ("coder", "tester")
    assert world.shares[0] == pytest.approx(0.7, abs=0.07)
    assert world.failures[0] == pytest.approx(0.3, abs=0.08)
    assert world.failures[1] < 0.05
    medians = {one.what: one.fitted_median for one in judged}
    assert medians["minutes: coder"] == pytest.approx(8.0, rel=0.2)
    assert medians["minutes: tester"] == pytest.approx(3.0, rel=0.2)
    assert medians["minutes between arrivals"] == pytest.approx(5 * np.log(2), rel=0.25)
    assert min(one.p for one in judged if one.what != "minutes of a task") > 0.01
    assert environments.fit(log())[0] == world


def test_a_fitted_world_is_played_from_its_file(tmp_path):
    world, judged = environments.fit(log())
    path = tmp_path / "world.json"
    fitted.write(path, world, judged)
    assert fitted.read(path) == world
    first, again = (play(RULES["shortest-first"], str(path), 3) for _ in range(2))
    assert first.over
    assert first.total == again.total
    pytest.importorskip("gymnasium", reason="environments need the extra: pip install 'claude-flow[rl]'")
    from gymnasium.utils.env_checker import check_env

    check_env(environments.make(world=path), skip_render_check=True)


def test_a_log_that_is_too_small_is_one_line():
    with pytest.raises(InputError, match="too small to fit a world to: 30 runs"):
        environments.fit(log(30))
    sparse = log(100)
    sparse["start"] = np.arange(100) * 86_400.0
    with pytest.raises(InputError, match="too small to fit arrivals to: 0 of its tasks"):
        environments.fit(sparse)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"kind": "fitted-world", "format": 1, "goodness": []})])
def test_another_file_is_no_world(tmp_path, content):
    path = tmp_path / "world.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is not a fitted world"):
        environments.make(world=path)
    with pytest.raises(InputError, match="cannot read the world"):
        fitted.read(tmp_path / "none.json")


def test_the_decision_engine_learns_in_a_world_fitted_to_a_dataset(tmp_path, capsys):
    pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")
    begin, runs, lines = datetime(2026, 1, 5, tzinfo=timezone.utc), log(120), []
    for i, (kind, at, seconds) in enumerate(
        zip(*(runs[n] for n in ("agent_type", "start", "duration_s")), strict=True)
    ):
        start = begin + timedelta(seconds=float(at))
        line = {"event": "run", "run_id": f"r{i}", "group": "shop", "task": f"t{i}", "description": "write a page"}
        line |= {"agent": kind, "agent_type": kind, "status": "completed", "success": True, "start": start.isoformat()}
        lines.append(json.dumps({**line, "end": (start + timedelta(seconds=float(seconds))).isoformat()}))
    for name, kept in (("enough", lines), ("few", lines[:20])):
        path = tmp_path / name / "events.jsonl"
        path.parent.mkdir()
        path.write_text("\n".join(kept) + "\n")
        assert main(["neural", "data", "collect", "--source", str(path), "--output", name, "--format", "json"]) == 0
    capsys.readouterr()
    train = ["neural", "train", "reinforcement", "--agent", "state-features", "--episodes", "1"]
    assert main([*train, "--world-from", "few"]) == 2
    assert "too small to fit a world to: 20 runs" in capsys.readouterr().err
    assert main([*train, "--world-from", "enouhg"]) == 2
    assert "enough" in capsys.readouterr().err
    chart = tmp_path / "fit.svg"
    line = [*train, "--world-from", "enough", "--chart", str(chart), "--time-budget", "3s", "--format", "json"]
    assert main(line) == 0
    assert b"minutes between arrivals" in chart.read_bytes()
    answer = json.loads(capsys.readouterr().out)
    assert answer["world"]["path"].endswith("worlds/enough.json")
    assert {"minutes between arrivals", "minutes: coder"} <= {one["what"] for one in answer["world"]["goodness"]}
