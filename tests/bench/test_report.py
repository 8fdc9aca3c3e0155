"""The bench's harness and its report, without the other engines."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # bench is a tool of the source tree, not a part of the package
    sys.path.insert(0, str(ROOT))

from bench import race, report  # noqa: E402

CAUGHT = {"min": 1e-3, "median": 2e-3, "calls": 9}


def test_a_race_takes_turns_and_finds_the_faster():
    order = []

    def sleeper(name, seconds):
        def call():
            order.append(name)
            time.sleep(seconds)

        return call

    calls = {"fast": sleeper("fast", 0.001), "slow": sleeper("slow", 0.02), "seldom": sleeper("seldom", 0.001)}
    times = race.race(calls, 0.4, seldom={"seldom"})
    assert 0.001 <= times["fast"]["min"] < times["slow"]["min"]
    assert times["slow"]["min"] <= times["slow"]["median"]
    assert times["slow"]["calls"] >= 3
    assert times["seldom"]["calls"] < times["fast"]["calls"]
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert turns.count("slow") >= 4  # a race, not one block each


def test_agreement():
    reference = np.ones(100, np.float32)
    assert race.agree(reference, reference, 100) == 200
    assert race.agree(reference, reference + np.float32(0.01), 39) == pytest.approx(40, abs=0.1)
    for found in (reference + 0.1, reference[:-1], np.full(100, np.nan), np.zeros(100)):
        with pytest.raises(race.Disagreement):
            race.agree(reference, found, 39)


def results(ours: float) -> dict:
    """A run of the bench whose rivals all take 1.2 ms and whose engine takes ``ours``."""
    rivals = [rival for names in report.RIVALS.values() for rival in names]
    times = {name: {**CAUGHT, "min": 1.2e-3} for name in [*rivals, "pytorch", "copy", "openblas"]}
    times |= {name: {**CAUGHT, "min": ours} for name in ("claude-flow", "claude-flow avx2", "claude-flow avx512")}
    threads = {"1": {**CAUGHT, "min": 1.9 * ours}, "2": {**CAUGHT, "min": ours}}
    points = [
        {"network": f"n{i}", "shape": [1, 2], "precision": p, "threads": n, "times": times, "snr": {}, "left_out": {}}
        for i in range(9)
        for p in ("fp32", "int8")
        for n in (1, 2)
    ]
    isas = {"sse41": {**CAUGHT, "min": 2 * ours}, "avx2": {**CAUGHT, "min": ours}}
    gemm = [
        {"size": n, "operations": 2e5, "times": times, "peaks": {"avx2": 2e8, "avx512": 2e8}}
        for n in (128, 256, 512, 1024)
    ]
    kernels = ("layer_norm", "softmax", "gelu", "tanh", "sigmoid", "exp")
    return {
        "environment": {
            "cpu": "a CPU",
            "cpus": 2,
            "caches": [{"level": 1, "bytes": 32768, "shared_by": 1}],
            "isa": "avx2",
            "available": ["scalar", "sse41", "avx2"],
            "versions": {"torch": "1"},
            "blas": "x",
            "blas_kernels": "Haswell",
            "system": "s",
            "python": "3",
            "load": 0.0,
            "commit": "c",
            "time": "t",
            "quick": False,
        },
        "models": {
            "points": points,
            "instruction_sets": [{"network": "n", "shape": [1, 2], "times": isas}],
            "scaling": [{"network": "n", "shape": [32, 2], "precision": "fp32", "times": threads}],
        },
        "kernels": {
            "gemm": gemm,
            "elementwise": [{"kernel": name, "bytes": 65536, "times": times} for name in kernels],
        },
        "footprint": {
            "load": {"load": {**CAUGHT, "min": ours}, "first_answer": {**CAUGHT, "min": 30 * ours}},
            "call": {**CAUGHT, "min": ours / 1000},
            "module": 2 << 20,
            "stripped": 1 << 20,
        },
    }


def test_marks_are_reached_or_not():
    good = report.marks(results(0.6e-3))
    assert all(reached is not None for *_, reached in good)
    assert [what for what, _, _, reached in good if not reached] == []
    bad = {what: reached for what, _, _, reached in report.marks(results(4e-3))}
    assert [what for what, reached in bad.items() if reached] == [
        "two threads against one, batches ≥ 32",  # ratios of our own times stay as they are
        "sse41 network time / avx2",
        "the extension module, stripped",
    ]


def test_one_slow_point_fails_the_mark_of_all():
    found = results(0.6e-3)
    found["models"]["points"][0]["times"] = {
        **found["models"]["points"][0]["times"],
        "claude-flow": {**CAUGHT, "min": 2e-3},
    }
    assert report.marks(found)[0][3] is False


def test_what_was_not_measured_is_no_mark():
    found = {"environment": results(1e-3)["environment"]}
    assert all(reached is None for *_, reached in report.marks(found))
    assert "not measured" in report.page(found)


def test_a_page_and_its_plots(tmp_path):
    found = results(0.6e-3)
    text = report.page(found)
    assert (
        "| fp32, 1 thread, fastest rival / ours, nine points | mean ≥ 1.15, each ≥ 1 | mean 2.00, least 2.00 | yes |"
        in text
    )
    if importlib.util.find_spec("matplotlib"):
        report.plots(found, tmp_path)
        assert {file.name for file in tmp_path.iterdir()} == {"ratios.svg", "scaling.svg"}


@pytest.mark.parametrize(("results_file", "page"), report.pages().items(), ids=lambda path: path.name)
def test_a_page_of_the_repository_is_that_of_its_results(results_file, page):
    found = json.loads(results_file.read_text("utf-8"))
    assert page.read_text("utf-8") == report.page(found, results_file.name)
