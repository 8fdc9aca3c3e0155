"""A result becomes a summary, tables and a page; nothing in it is invented."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from claude_flow.evaluate import report
from claude_flow.evaluate.result import OURS, Curve, Result, Score

pytest.importorskip("scipy", reason="statistics need the extra: pip install 'claude-flow[baselines]'")
pytest.importorskip("matplotlib", reason="plots need the extra: pip install 'claude-flow[bench]'")


def result(folds: int = 10) -> Result:
    generator = np.random.default_rng(0)
    scores = []
    for fold in range(folds):
        base = generator.normal(1, 0.3)
        scores += [Score(OURS, "regret", base + generator.normal(0, 0.02), f"fold {fold}", s) for s in range(3)]
        scores += [
            Score("k-NN", "regret", base + 0.2, f"fold {fold}"),
            Score("<random>", "regret", base, f"fold {fold}"),
        ]
    scores += [Score(OURS, "coverage-80", 0.8, seed=seed) for seed in range(3)]
    scores += [Score("k-NN", "auc", float("nan"))]
    curves = [
        Curve("reliability", OURS, [0.1, 0.9], [0.2, 0.8]),
        Curve("regret", "k-NN", [1, 5], [0.4, 0.1]),
        Curve("residual", OURS, list(range(1000)), list(range(1000))),
    ]
    return Result("selection", "A & B", scores, {"train": 90}, frozenset({"auc"}), curves, ["a note"])


def test_the_summary_has_means_intervals_and_paired_tests():
    found = report.summarize(result())
    cells = {(score["measure"], score["contender"]): score for score in found["scores"]}
    ours = cells["regret", OURS]
    assert ours["seeds"] == 3
    assert ours["units"] == 10
    assert ours["low"] < ours["mean"] < ours["high"]
    assert ours["unit_low"] < ours["mean"] < ours["unit_high"]
    assert np.isnan(cells["regret", "k-NN"]["low"])  # one seed has no spread
    assert ("auc", "k-NN") not in cells  # no figure, no row
    tests = {test["contender"]: test for test in found["tests"]}
    assert set(tests) == {"k-NN", "<random>"}
    assert tests["k-NN"]["better"]
    assert tests["k-NN"]["difference"] == pytest.approx(ours["mean"] - cells["regret", "k-NN"]["mean"])
    assert tests["k-NN"]["p"] == pytest.approx(2 / 2**10)
    assert tests["k-NN"]["p_holm"] == pytest.approx(4 / 2**10)
    assert tests["<random>"]["p_holm"] > 0.05
    json.dumps(found)


def test_folds_are_tested_with_the_corrected_t():
    found = report.summarize(result(5), test_share=0.2)
    assert {test["test"] for test in found["tests"]} == {"corrected t"}
    assert report.summarize(replace(result(5), test_share=0.2))["tests"] == found["tests"]


def test_what_is_no_more_than_chance_is_a_tie():
    test = {"better": True, "p_holm": 1.0}
    assert [report.verdict({**test, "p_holm": p}) for p in (1.0, 0.05, float("nan"), 0.049)] == [*["tie"] * 3, "better"]
    assert report.verdict({"better": False, "p_holm": 0.01}) == "worse"
    (_, columns, rows) = report.tables(report.summarize(result()))[1]
    assert [row[columns.index(f"{OURS} is")] for row in rows] == ["better", "tie"]


def test_a_single_unit_is_not_tested():
    assert report.summarize(result(1))["tests"] == []


def test_the_page_is_well_formed_and_stands_alone():
    summary = report.summarize(result())
    assert [name for name, _ in report.plots(summary)] == ["regret", "reliability", "regret", "residual"]
    found = report.page("A <title>", [summary])
    HTMLParser().feed(found)
    assert found.count("<svg") == 4
    assert "&lt;random&gt;" in found
    assert "<random>" not in found
    assert "src=" not in found
    assert "<script" not in found
    assert found == report.page("A <title>", [summary])  # drawn twice, the same bytes


def test_an_empty_result_is_an_empty_page():
    summary = report.summarize(Result("jobs", "none", []))
    assert report.tables(summary)[0][2] == []
    assert "<h2>jobs: none</h2>" in report.page("nothing", [summary])
