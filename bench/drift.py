"""python -m bench.drift [--runs N] [--most N]: how often `monitor drift` errs, written to docs/operate_drift.md.

Families of 20 normal features, reference and stream of n rows each. Without drift every alarm is a false one; with it
one feature's mean moved by 0.5 standard deviations. Beside ours, on the same rows: scipy's Kolmogorov-Smirnov test of
every feature at p < 0.05, the common default; with --rivals river's ADWIN and KSWIN, a detector a feature, over
reference and then stream.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.watch import drift
from claude_flow.watch.detectors import METHODS
from claude_flow.watch.samples import Column, Sample

PAGE = Path(__file__).parents[1] / "docs" / "operate_drift.md"
FEATURES, SHIFT, MOVED = 20, 0.5, 3
SIZES = (100, 500, 2_000, 10_000, 100_000)
Array = NDArray[np.float64]
Judge = Callable[[Array, Array, int], bool]


def sample(values: Array) -> Sample:
    columns = {f"f{i}": Column(values[:, i]) for i in range(values.shape[1])}
    return Sample(columns, np.full(len(values), np.nan), "simulated")


def ours(method: str) -> Judge:
    def judge(one: Array, other: Array, seed: int) -> bool:
        found = drift.compare(sample(one), sample(other), method, seed=seed)
        return bool(found["verdict"] == "drift")

    return judge


def bare(one: Array, other: Array, seed: int) -> bool:
    return any(statistics.kolmogorov_smirnov(one[:, i], other[:, i])[1] < 0.05 for i in range(one.shape[1]))


def river(name: str) -> Judge:
    from river import drift as rivals

    def judge(one: Array, other: Array, seed: int) -> bool:
        for i in range(one.shape[1]):
            detector = rivals.ADWIN() if name == "ADWIN" else rivals.KSWIN(seed=seed)
            for value in one[:, i]:
                detector.update(float(value))
            for value in other[:, i]:
                detector.update(float(value))
                if detector.drift_detected:
                    return True
        return False

    return judge


def share(judge: Judge, n: int, runs: int, shift: float) -> tuple[int, float]:
    alarms, begin = 0, time.perf_counter()
    for run in range(runs):
        generator = np.random.default_rng([run, n])
        one, other = generator.normal(size=(n, FEATURES)), generator.normal(size=(n, FEATURES))
        other[:, MOVED] += shift
        alarms += judge(one, other, run)
    return alarms, (time.perf_counter() - begin) / runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="rows a side")
    options = parser.parse_args()
    rows: list[list[Any]] = []
    judges: list[tuple[str, Judge, tuple[int, ...]]] = [
        ("kolmogorov-smirnov", ours("kolmogorov-smirnov"), SIZES),
        *((name, ours(name), (500,)) for name in METHODS if name != "kolmogorov-smirnov"),
        ("bare KS at p < 0.05", bare, SIZES[:3]),
    ]
    if find_spec("river"):
        judges += [(f"river {name}", river(name), (500,)) for name in ("ADWIN", "KSWIN")]
    for name, judge, sizes in judges:
        for n in (size for size in sizes if size <= options.most):
            false, seconds = share(judge, n, options.runs, 0.0)
            found = share(judge, n, options.runs, SHIFT)[0] if n <= 500 else None
            rows.append([name, n, f"{false}/{options.runs}", "-" if found is None else f"{found}/{options.runs}"])
            print(*rows[-1], f"{seconds:.3f} s a family", file=sys.stderr, flush=True)
            write(rows, options.runs)
    return 0


def write(rows: list[list[Any]], runs: int) -> None:
    lines = [
        "# How often `monitor drift` errs",
        "",
        f"`python -m bench.drift`: {runs} families of {FEATURES} normal features each, sensitivity medium, so many "
        "rows in the reference and in the stream. *False alarms*: families without drift that raised one. *Found*: "
        f"families in which one feature's mean had moved by {SHIFT:g} standard deviations, and an alarm was raised.",
        "",
        "| method | rows | false alarms | found |",
        "|---|---|---|---|",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
    PAGE.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
