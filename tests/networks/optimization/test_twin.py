"""The twin of a log: what it measures, that it foretells from the past alone, and what is asked of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from claude_flow.cli import main
from claude_flow.data.collect import collect
from claude_flow.errors import InputError
from claude_flow.networks.optimization import prepare, twin
from claude_flow.networks.optimization.catalogue import TUNABLES
from claude_flow.networks.optimization.durations import Shrunken
from claude_flow.networks.optimization.learn import Data
from claude_flow.networks.prediction.simulator import log
from claude_flow.registry import workspace

T0 = datetime(2026, 1, 5, tzinfo=timezone.utc)


def runs(count: int, every_s: float, seconds: float, wait: float = 0.0) -> list[dict]:
    """Runs that begin ``every_s`` seconds and last ``seconds``, after a ``wait``."""
    at = [T0 + timedelta(seconds=i * every_s) for i in range(count)]
    waited, lasts = timedelta(seconds=wait), timedelta(seconds=seconds)
    return [
        {"submitted": t, "start": t + waited, "end": t + waited + lasts, "success": i % 4 > 0} for i, t in enumerate(at)
    ]


def test_a_period_is_measured_by_the_runs_that_ended_in_it():
    found = twin.periods(runs(10 * 48, 1800, 900, wait=300))
    assert len(found) == 9  # days; the last is not over
    first = found[1].performance
    assert first["throughput"] == pytest.approx(2.0) == found[1].workload["arrival-rate"]
    assert (first["latency"], first["queue-time"], first["task-seconds"]) == pytest.approx((1200, 300, 900))
    assert first["active-agents"] == pytest.approx(0.5)
    assert (first["error-rate"], found[1].settings["max-agents"]) == pytest.approx((0.25, 1.0))
    assert "cost-per-task" not in first  # the log does not tell


def test_forecasts_know_the_past_alone_and_the_twin_reports_how_far_they_were_off():
    measured = twin.periods(runs(10 * 48, 1800, 900))
    changed = [*measured[:-1], replace(measured[-1], performance={**measured[-1].performance, "throughput": 99.0})]
    ours, theirs = twin.forecasts(measured), twin.forecasts(changed)
    assert [f.foretold for f in ours] == [f.foretold for f in theirs]
    assert ours[-1].truth != theirs[-1].truth
    steady = twin.Twin.fit(runs(10 * 48, 1800, 900))
    assert steady.error < 0.05  # nothing changes, so nothing is foretold wrongly
    assert steady.report()["throughput"][twin.LAST] == pytest.approx(0.0, abs=1e-6)


def test_the_interval_of_a_gain_carries_the_error_of_the_forecasts():
    fitted = twin.Twin.fit(runs(10 * 48, 1800, 900), check=False)
    column = next(i for i, t in enumerate(TUNABLES) if t.name == "review-depth")
    asked = [(column, "lower")], {"reduce-latency": 1.0}, {}
    ((middle, low, high),) = fitted.gains(*asked)
    assert low < middle < high
    off = {twin.TWIN: (0.5, 0.5), twin.LAST: (0.0, 0.0)}
    fitted.forecasts = [twin.Forecast(0.0, off, (0.0, 0.0))]
    ((same, lower, higher),) = fitted.gains(*asked)
    assert (same, higher - lower > high - low) == (middle, True)
    assert higher - middle > 1.28 * 0.5


def mixed(count: int) -> list[dict]:
    """Runs of two types, short ones and long ones by turns, whose agents differ by nothing, and few of a third."""
    made = runs(count, 1800, 600)
    generator = np.random.default_rng(5)
    for i, run in enumerate(made):
        name, seconds = ("short", 60) if i % 2 else ("long", 1200)
        if i % 40 == 0:
            name = "rare"
        run |= {"agent_type": name, "agent": f"{name}-{i % 3}", "model": "m", "cost": 0.1 if name == "short" else 1.0}
        run["end"] = run["start"] + timedelta(seconds=seconds * float(np.exp(generator.normal(0, 0.3))))
    return made


def test_types_are_fitted_each_by_itself_and_foretell_durations_better_than_the_whole_log():
    made = mixed(10 * 48)
    fitted = twin.Twin.fit(made)
    assert sorted(part.performance["task-seconds"] > 400 for part in fitted.now.parts) == [False, True]
    assert len(fitted.settings) == pytest.approx(twin.KEPT, abs=1)
    assert fitted.share.sum() == pytest.approx(twin.KEPT / 2, abs=1)
    report = fitted.report()
    assert (report["kinds_of_work"], report["durations"]["p"] < 0.01) == (2, True)
    assert report["durations"]["pinball"] < 0.5 * report["durations"]["whole_log"]
    assert report["durations"]["coverage_80"] == pytest.approx(0.8, abs=0.12)
    by_type = {row["name"]: row for row in report["by_type"]}
    assert by_type["short"]["seconds"] == pytest.approx(60, rel=0.2)
    assert by_type["long"]["cost"] == pytest.approx(1.0, rel=0.1)
    assert [row["name"] for row in report["by_model"]] == ["m"]


def test_names_that_tell_nothing_are_drawn_to_the_whole_log():
    generator = np.random.default_rng(0)
    keys = [("", f"agent-{i % 20}") for i in range(400)]
    means = Shrunken.of(keys, generator.normal(5.0, 1.0, 400))
    assert np.ptp(means.at(keys)) < 0.3  # of 20 runs each: their own means lie 1 apart
    once = Shrunken.of([("", str(i)) for i in range(400)], generator.normal(5.0, 1.0, 400))
    assert np.ptp(once.at([("", str(i)) for i in range(400)])) == 0.0
    failures = [{**run, "success": False if i % 9 == 0 else None} for i, run in enumerate(mixed(200))]
    assert "error-rate" not in twin.periods(failures)[0].performance  # the log tells failures alone


def test_the_workspace_log_stands_for_what_is_not_given(tmp_path, capsys, monkeypatch):
    ask = ["neural", "infer", "optimization", "--format", "json", "--optimization-targets", "reduce-latency"]
    assert main(ask) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "data collect" in line
    lines = tmp_path / "log.jsonl"
    lines.write_text("\n".join(map(json.dumps, log(260, 3))) + "\n")
    folder = workspace() / "datasets" / "swarm-training-data"
    collect([lines], folder)
    assert main(ask) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rests_on"].startswith("the log's newest whole period")
    assert answer["twin"]["periods_foretold"] > 3
    for change in answer["recommendations"]:
        assert change["gain"]["low"] < change["gain"]["expected"] < change["gain"]["high"]
    assert any("max-agents" in entry["id"] for entry in answer["recommendations"]) or answer["inputs_known"] > 8
    given = [*ask, "--current-performance", '{"latency": 120}']
    assert main(given) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["rests_on"], answer["twin"]) == ("what the request says", None)
    # Data to learn from: drawn around the periods of the log, the newest apart.
    made = tmp_path / "made"
    made.mkdir()
    manifest = prepare.preprocess(folder, made, {})
    assert manifest["test_families"][-1] == len(manifest["families"]) - 1
    data = Data.load(made, 0.2, 0, {})
    assert np.isfinite(data.whole("test")[0]).all()


def test_a_log_that_is_too_short_is_one_line(tmp_path, capsys):
    lines = tmp_path / "log.jsonl"
    lines.write_text("\n".join(map(json.dumps, log(3, 3))) + "\n")
    collect([lines], workspace() / "datasets" / "swarm-training-data")
    assert main(["neural", "infer", "optimization"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "swarm-training-data: the log has 3 runs with known times, too few" in line
    with pytest.raises(InputError, match="too few"):
        twin.periods([])
    jumps = runs(200, 1800, 900)
    for run in jumps[::7]:
        run["end"] = run["start"] - timedelta(days=3)  # a clock that jumped: such runs count for nothing
    assert sum(m.runs for m in twin.periods(jumps)) < 175
