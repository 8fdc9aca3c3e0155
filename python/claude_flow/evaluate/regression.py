"""Is a candidate worse than the model that it would replace? ``claude-flow neural test regression``.

Quality: both models answer the same held-out rows; a measure has become worse where the paired one-sided test over its
units (sessions, swarms, tasks) says so after Holm's correction over all measures. Where it does not, the smallest loss
that these units would have shown is stated: no finding on little data proves nothing.

Speed: a race. Rounds alternate the two models on the same inputs in random order, so that what slows the machine slows
both; the candidate is slower where a sign test over the rounds rejects "its median time is at most ``margin`` above
the baseline's". Memory is counted, not sampled: weights and working memory, more by over ``margin``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile, networks, registry, statistics
from claude_flow.errors import InputError, require
from claude_flow.evaluate import judge
from claude_flow.evaluate.report import _NEUTRAL
from claude_flow.measure.graph import Graph
from claude_flow.measure.workload import variation
from claude_flow.model import Model, load
from claude_flow.report.progress import Progress, nothing

__all__ = ["chance", "compared", "memory", "pair", "quality", "race", "scores", "summarize"]

Array = NDArray[Any]
#: a timing lasts at least this long, so that the clock's own time is nothing beside it
_SHORTEST = 1e-3
_FEWEST_ROUNDS = 30


def pair(baseline: Path, candidate: Path) -> tuple[Model, Model]:
    """Both models, loaded alike. :class:`InputError` if they are of different networks."""
    models = load(baseline, backend="native", threads=1), load(candidate, backend="native", threads=1)
    if len({model.network for model in models}) > 1:
        raise InputError(
            f"{registry.model_name(candidate)} is a model of {models[1].network}, {registry.model_name(baseline)} "
            f"of {models[0].network}: a regression test compares two of one network"
        )
    return models


def quality(
    baseline: Model, candidate: Model, data: Path, measures: Sequence[str] | None = None, *, label: str | None = None
) -> list[dict[str, Any]]:
    """A paired test per measure on the test part of the preprocessed ``data``; p values are not corrected yet.

    Raises:
        InputError: the data is another network's, or a measure is unknown.
    """
    units = scores(baseline, data, measures), scores(candidate, data, measures)
    return compared(baseline.network, *units, label=label or data.name)


def scores(model: Model, data: Path, measures: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure -> unit -> the model's score on the test part of the preprocessed ``data``; raises as :func:`quality`."""
    if (network := judge.network_of(data)) != model.network:
        raise InputError(f"{data} is a dataset for {network}; the models are for {model.network}")
    kind = networks.get(network).judge.Judge
    known = {name: what for name, what in kind.MEASURES.items() if name not in judge.COSTS and _NEUTRAL not in name}
    wanted = judge.choose(measures, known, f"metric of {network}")
    examiner = judge.judge(network, data)
    found: dict[str, dict[str, float]] = {measure: {} for measure in wanted}
    for score in examiner.model(model).scores("", examiner.units, wanted):
        if score.unit:  # else it is a figure of the whole test part, which nothing pairs
            found[score.measure][score.unit] = score.value
    return found


def compared(
    network: str,
    baseline: Mapping[str, Mapping[str, float]],
    candidate: Mapping[str, Mapping[str, float]],
    *,
    label: str,
) -> list[dict[str, Any]]:
    """The rows of :func:`quality` from both models' :func:`scores`."""
    kind = networks.get(network).judge.Judge
    rows = []
    for measure, before in baseline.items():
        after = candidate[measure]
        units = [unit for unit in before if unit in after]
        if len(units) < 2:
            continue
        sign = 1 if measure in kind.HIGHER else -1
        gains = np.array([sign * (after[unit] - before[unit]) for unit in units])
        plan, spread = statistics.power(gains), statistics.bootstrap(gains)
        rows.append(
            {
                "data": label,
                "measure": measure,
                "better": "higher" if sign > 0 else "lower",
                "baseline": float(np.mean([before[unit] for unit in units])),
                "candidate": float(np.mean([after[unit] for unit in units])),
                "gain": float(gains.mean()),
                "low": spread.low,
                "high": spread.high,
                "units": len(units),
                "p": chance(gains),
                "detectable": plan.detectable,
            }
        )
    return rows


def chance(gains: Array) -> float:
    """p of the one-sided test that the candidate is worse, from its gains by unit: their signs are flipped."""
    both_sides = statistics.permutation(gains)
    return both_sides / 2 if gains.mean() < 0 else 1 - both_sides / 2


def race(
    baseline: Model,
    candidate: Model,
    margin: float,
    seconds: float = 5.0,
    *,
    seed: int = 0,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Time the two models by turns on the same inputs for so many seconds; see the module.

    Returns ``ratio`` (median of candidate by baseline) with its 90 % interval, both medians in milliseconds, ``p`` of
    the sign test, ``rounds``, and ``detectable``: the smallest slow-down that these rounds show in 4 of 5 cases.
    """
    graphs = [Graph(modelfile.read(model.path)) for model in (baseline, candidate)]
    narrow = min(graphs, key=lambda graph: graph.max_tokens)
    inputs = variation(narrow, "typical-workload")[0][1]
    generator = np.random.default_rng(seed)
    for x in inputs:
        baseline.run(x)
        candidate.run(x)
    begin = time.perf_counter()
    baseline.run(inputs[0])
    calls = max(1, math.ceil(_SHORTEST / max(time.perf_counter() - begin, 1e-7)))
    deadline = time.perf_counter() + seconds
    times: list[tuple[float, float]] = []
    while len(times) < _FEWEST_ROUNDS or time.perf_counter() < deadline:
        x = inputs[len(times) % len(inputs)]
        first = bool(generator.integers(2))
        one = _time(candidate if first else baseline, x, calls)
        two = _time(baseline if first else candidate, x, calls)
        times.append((two, one) if first else (one, two))
        progress(1 - max(0.0, deadline - time.perf_counter()) / seconds, "race")
    return _race(np.array(times), margin)


def _time(model: Model, x: Array, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        model.run(x)
    return (time.perf_counter() - begin) / calls


def _race(times: Array, margin: float) -> dict[str, Any]:
    """The verdict on ``times`` [rounds, 2] of baseline and candidate, in seconds."""
    binom = require("scipy.stats", "baselines").binom
    ratios = np.sort(times[:, 1] / times[:, 0])
    rounds = len(ratios)
    slower = int((ratios > 1 + margin).sum())
    place = int(binom.ppf(0.05, rounds, 0.5))
    # the width of the interval is what noise alone moves the median by: found in 4 of 5 cases are twice that and more
    low, high = float(ratios[max(0, place - 1)]), float(ratios[min(rounds - 1, rounds - place)])
    middle = float(np.median(ratios))
    return {
        "measure": "latency",
        "baseline": 1e3 * float(np.median(times[:, 0])),
        "candidate": 1e3 * float(np.median(times[:, 1])),
        "ratio": middle,
        "low": low,
        "high": high,
        "rounds": rounds,
        "p": float(binom.sf(slower - 1, rounds, 0.5)),
        "detectable": margin + 2.5 * (high - low) / 3.29,  # z of 5 % and of 80 % together, by the deviation
    }


def memory(baseline: Model, candidate: Model) -> dict[str, Any]:
    """Bytes of weights and working memory of both, in MiB, and their ratio."""
    sizes = [(m.path.stat().st_size + m.arena_bytes) / (1 << 20) for m in (baseline, candidate)]
    return {"measure": "memory", "baseline": sizes[0], "candidate": sizes[1], "ratio": sizes[1] / sizes[0]}


def summarize(
    baseline: Model,
    candidate: Model,
    rows: list[dict[str, Any]],
    costs: Sequence[dict[str, Any]],
    *,
    alpha: float,
    margin: float,
) -> dict[str, Any]:
    """The verdicts: every row of :func:`quality`, corrected together, and the costs."""
    for row, p in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(p)
        row["verdict"] = "worse" if p < alpha else "better" if row["low"] > 0 else "no loss shown"
    judged = []
    for cost in costs:
        low, high = cost.get("low", cost["ratio"]), cost.get("high", cost["ratio"])
        if cost.get("p", 0.0) < alpha and cost["ratio"] > 1 + margin:
            verdict = "worse"
        elif high <= 1 + margin:
            verdict = "better" if high < 1 - margin else "within the margin"
        else:
            verdict = "no loss shown"
        judged.append({**cost, "low": low, "high": high, "verdict": verdict})
    worse = [row["measure"] for row in (*rows, *judged) if row["verdict"] == "worse"]
    return {
        "baseline": registry.model_name(baseline.path),
        "candidate": registry.model_name(candidate.path),
        "network": baseline.network,
        "significance_threshold": alpha,
        "performance_regression_threshold": margin,
        "quality": rows,
        "costs": judged,
        "regressions": list(dict.fromkeys(worse)),
        "passed": not worse,
    }
