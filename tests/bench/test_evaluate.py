"""The marks judge what a run found; a run keeps what is done; the quick form works on real data where it is present."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("lightgbm", reason="evaluation needs the extra: pip install 'claude-flow[train,baselines,bench]'")

from bench import evaluate

from claude_flow.evaluate import report
from claude_flow.evaluate.result import OURS, Result, Score
from claude_flow.studies import protocols


def scenario(name: str, ours: float, forest: float) -> dict:
    scores = []
    for fold in range(10):
        wave = 0.01 * (fold % 3)
        scores += [Score(OURS, "nPAR10", ours + wave, f"fold {fold}", seed) for seed in range(5)]
        scores += [Score("multi-output random forest", "nPAR10", forest + wave, f"fold {fold}")]
    return report.summarize(Result("selection", name, scores), parts=True)


def published(ours: float) -> list[dict]:
    return [scenario(name, ours, 0.13) for name in evaluate._PUBLISHED]


def by_name(rows: list[dict], what: str) -> dict:
    return next(row for row in rows if row["what"].startswith(what))


@pytest.mark.parametrize(("ours", "reached", "held"), [(0.10, True, True), (0.15, False, True), (0.25, False, False)])
def test_marks_and_floors(ours, reached, held):
    row = by_name(evaluate.judged(published(ours)), "ASlib, five")
    assert (row["reached"], row["held"]) == (reached, held)
    assert row["data"] == "5 data sets"
    assert by_name(evaluate.judged(published(ours)), "ASlib, all")["reached"] is (ours < 0.13)


def test_what_is_absent_is_not_judged():
    rows = evaluate.judged(published(0.1)[:4])
    row = by_name(rows, "ASlib, five")
    assert row["reached"] is None
    assert "SAT12-HAND" in row["reach"]
    assert by_name(rows, "job run times")["held"] is None


def test_beats_knows_the_direction_and_the_factor():
    found = {OURS: 0.9, "LightGBM": 0.8, "LightGBM + CQR": 0.7, "random": 0.5}
    assert evaluate.beats("LightGBM")(found, True)[1]
    assert not evaluate.beats("LightGBM")(found, False)[1]
    assert not evaluate.beats("LightGBM", factor=1.2)(found, True)[1]
    assert not evaluate.beats("nobody")(found, True)[1]  # a rival that is not there is not beaten


@pytest.mark.parametrize(("rate", "reached"), [(0.5, True), (0.3, False)])
def test_a_cheap_router_must_resolve_enough(rate, reached):
    """Random is the cheapest, but resolves less than the best single agent: it is no rival, and no way to win."""
    figures = {OURS: (8.0, rate), "best single agent": (10.0, 0.4), "random": (5.0, 0.2)}
    scores = [Score(n, "cost, aim: saving", cost, "t") for n, (cost, _) in figures.items()]
    scores += [Score(n, "resolve rate, aim: saving", share, "t") for n, (_, share) in figures.items()]
    result = Result("routing", "runs", scores, higher_is_better=frozenset({"resolve rate, aim: saving"}))
    row = by_name(evaluate.judged([report.summarize(result)]), "SWE-bench Pro routing: cost")
    assert row["reached"] is reached


def routed(ours: list[float], seeds: int = 5) -> dict:
    """A summary of routing all agents: the best single agent resolves every third of 30 tasks, ours as given."""
    rate = "resolve rate, all agents"
    scores = [Score(OURS, rate, ours[(i + seed) % 30], f"task {i}", seed) for i in range(30) for seed in range(seeds)]
    scores += [Score("best single agent", rate, float(i % 3 == 0), f"task {i}") for i in range(30)]
    return report.summarize(Result("routing", "runs", scores, higher_is_better=frozenset({rate})))


def test_equal_counts_are_equal_means():
    """Ten of 30 tasks for either, by other tasks with every seed: no rounding on the way tells them apart."""
    summary = routed([1.0] * 10 + [0.0] * 20)
    means = {score["contender"]: score["mean"] for score in summary["scores"]}
    assert means[OURS] == means["best single agent"] == 1 / 3
    (test,) = summary["tests"]
    assert (test["difference"], test["better"]) == (0.0, None)


def test_what_is_not_reached_says_whether_the_data_can_tell():
    what = "SWE-bench Pro routing: all agents"
    row = by_name(evaluate.judged([routed([1.0] * 9 + [0.0] * 21)]), what)
    assert row["reached"] is False
    (test,) = routed([1.0] * 9 + [0.0] * 21)["tests"]
    assert test["needed"] > 30
    assert row["open"] == f"{test['needed']:,} tasks needed, 30 exist"
    assert by_name(evaluate.judged([routed([1.0] * 10 + [0.0] * 20)]), what)["open"].startswith("over a million tasks")
    plain = by_name(evaluate.judged([routed([0.0] * 30)]), what)
    assert (plain["reached"], plain["open"]) == (False, "")  # a third less is seen in 30 tasks
    assert by_name(evaluate.judged([routed([1.0] * 30)]), what)["open"] == ""


def test_the_test_over_data_sets_pairs_what_both_have():
    ((contender, scenarios, difference, _, p, corrected, _, verdict),) = evaluate.over_data_sets(
        published(0.1), "selection", "nPAR10"
    )
    assert (contender, scenarios) == ("multi-output random forest", 5)
    assert difference == pytest.approx(-0.03)
    assert (p, corrected, verdict) == (0.0625, 0.0625, "tie")  # five scenarios cannot show less


def test_the_page_has_every_mark_and_no_broken_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    found = published(0.1)
    outcome = {"marks": evaluate.judged(found), "environment": {"seconds": 60.0, "seeds": 5}}
    evaluate.write_page({**outcome, "selection_over_scenarios": []}, found)
    page = (tmp_path / "docs" / "evaluation.md").read_text("utf-8")
    assert all(mark.what in page for mark in evaluate.MARKS)
    for name in evaluate._PUBLISHED:
        assert (tmp_path / "docs" / "evaluation" / f"selection-{name}.svg").is_file()
        assert f"(evaluation/selection-{name}.svg)" in page


def test_the_quick_form_on_real_data(public_data, tmp_path, monkeypatch):
    """The smallest ASlib scenario; what is done is not done again."""
    found = [path for name, path in protocols.find(public_data / "aslib") if name == "selection"]
    least = min(found, key=lambda path: sum(file.stat().st_size for file in path.iterdir()))
    out = tmp_path / "outcome.json"
    monkeypatch.setattr(evaluate, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["evaluate", "--data", str(least), "--quick", "--out", str(out)])
    assert evaluate.main() == 0
    first = json.loads(out.read_text("utf-8"))
    assert first["failed"] == {}
    assert first["evaluations"][0]["data"] == least.name
    assert {row["reached"] for row in first["marks"] if row["what"].startswith("job")} == {None}
    monkeypatch.setattr(evaluate, "evaluate", None)  # nothing is left to do: a call would fail
    assert evaluate.main() == 0
    assert json.loads(out.read_text("utf-8"))["evaluations"] == first["evaluations"]
    (kept,) = (tmp_path / "build" / "evaluation").iterdir()
    summary = json.loads(kept.read_text("utf-8"))
    assert {"studies/selection/learner.py", "studies/selection/protocol.py"} <= set(summary["modules"])
    summary["modules"]["studies/selection/learner.py"] = "another version's"
    kept.write_text(json.dumps(summary), "utf-8")
    assert evaluate.main() == 1  # so it is done again, by the function that is gone
