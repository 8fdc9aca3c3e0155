"""How often `test regression` is wrong: false alarms and power, measured and written into docs/testing.md.

python -m bench.regression

Quality: the scores by unit of coordination-v3 and of another model on the simulated suite. In an A/A run each unit's
two scores change places at random, so that neither side is better; a loss is planted in units drawn at random, which
fail. Each run is judged as the command does, over all measures together. Speed: real races of a model with itself, and
with itself made slower by a wait of 5 % of its own time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from bench.insight import write
from claude_flow import modelfile, networks, registry, statistics
from claude_flow.evaluate import regression
from claude_flow.model import Model, load
from claude_flow.modelfile.quantize import quantize
from claude_flow.studies import suite

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"
NETWORK, MEASURE = "coordination", "accuracy"
RACED = "prediction-v2"
ALPHA, MARGIN, LOSS, SLOWER = 0.05, 0.02, 0.02, 0.05
Scores = dict[str, dict[str, float]]


@dataclass
class Slower:
    """A model that waits after each run, for a share of what the run took."""

    model: Model
    share: float

    @property
    def path(self) -> Path:
        return self.model.path

    def run(self, x: Any) -> Any:
        begin = time.perf_counter()
        y = self.model.run(x)
        end = begin + (1 + self.share) * (time.perf_counter() - begin)
        while time.perf_counter() < end:
            pass
        return y


def swapped(
    one: Mapping[str, Mapping[str, float]], two: Mapping[str, Mapping[str, float]], seed: int
) -> tuple[Scores, Scores]:
    """The two models' scores, each unit's exchanged by the toss of a coin, the same for all measures."""
    units = sorted({unit for scores in one.values() for unit in scores})
    tossed = dict(zip(units, np.random.default_rng(seed).random(len(units)) < 0.5, strict=True))
    found: tuple[Scores, Scores] = {}, {}
    for measure in one:
        both = [unit for unit in one[measure] if unit in two[measure]]
        for side, (own, other) in enumerate(((one, two), (two, one))):
            found[side][measure] = {u: (other if tossed[u] else own)[measure][u] for u in both}
    return found


def failed(scores: Scores, measure: str, seed: int) -> Scores:
    """The scores, of which units drawn at random have none left in ``measure``, until it has lost :data:`LOSS`."""
    values = dict(scores[measure])
    left = LOSS * len(values)
    for unit in np.random.default_rng(seed).permutation(sorted(values)):
        taken = min(left, values[unit])
        values[unit] -= taken
        left -= taken
    return {**scores, measure: values}


def worse(network: str, before: Scores, after: Scores) -> set[str]:
    """The measures that the test finds worse, corrected together, as the command does."""
    higher = networks.get(network).judge.Judge.HIGHER
    p = [
        regression.chance(np.array([(after[m][u] - before[m][u]) * (1 if m in higher else -1) for u in before[m]]))
        for m in before
    ]
    return {measure for measure, corrected in zip(before, statistics.holm(p), strict=True) if corrected < ALPHA}


def quality(runs: int) -> list[list[str]]:
    """Alarms of A/A runs, and of runs with a loss of two points."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        eight = Path(scratch) / "coordination-v3-int8.safetensors"
        modelfile.write(eight, quantize(modelfile.read(registry.model_path("coordination-v3"))))
        data = suite.build(NETWORK, Path(scratch), 1.0)
        one = regression.scores(load(registry.model_path("coordination-v3")), data)
        for name, other in (("its 8-bit copy", eight), ("coordination-v2", registry.model_path("coordination-v2"))):
            two = regression.scores(load(other), data)
            kept = [m for m in one if len(one[m]) > 1 and one[m].keys() == two[m].keys()]
            alarms = found = 0
            for seed in range(runs):
                before, after = swapped({m: one[m] for m in kept}, {m: two[m] for m in kept}, seed)
                alarms += bool(worse(NETWORK, before, after))
                found += MEASURE in worse(NETWORK, before, failed(after, MEASURE, seed))
            about = f"coordination-v3 and {name}, {len(one[MEASURE])} swarms"
            rows.append(["A/A: scores exchanged at random", about, str(runs), told(alarms, runs)])
            rows.append([f"{100 * LOSS:.0f} points of {MEASURE} lost", about, str(runs), told(found, runs)])
            print(*rows[-2:], file=sys.stderr, flush=True)
    return rows


def speed(runs: int, seconds: float) -> list[list[str]]:
    """Alarms of races of a model with itself, and with a slower self."""
    one, two = regression.pair(registry.model_path(RACED), registry.model_path(RACED))
    rows = []
    for label, other in (("A/A: a race with itself", two), (f"made {100 * SLOWER:.0f} % slower", Slower(two, SLOWER))):
        alarms = 0
        for seed in range(runs):
            cost = regression.race(one, other, MARGIN, seconds, seed=seed)  # type: ignore[arg-type]
            verdict = regression.summarize(
                one, two, [], [cost, regression.memory(one, two)], alpha=ALPHA, margin=MARGIN
            )
            alarms += "latency" in verdict["regressions"]
        rows.append([label, f"{RACED}, races of {seconds:g} s", str(runs), told(alarms, runs)])
        print(*rows[-1], file=sys.stderr, flush=True)
    return rows


def told(count: int, runs: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = binomtest(count, runs).proportion_ci()
    return f"{count} ({count / runs:.1%}; {low:.1%} to {high:.1%})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.regression", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.2, help="of a race; the command's are of 5")
    options = parser.parse_args()
    rows = quality(options.runs) + speed(options.runs, options.seconds)
    write("regression", ["what", "on", "runs", "alarms (95 % interval)"], rows, PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
