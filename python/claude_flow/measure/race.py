"""Latency of several models against each other: by turns, so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from claude_flow import modelfile
from claude_flow.measure import workload
from claude_flow.measure.graph import Graph
from claude_flow.model import Model

__all__ = ["Lap", "race"]


@dataclass(frozen=True)
class Lap:
    """One model's part: median milliseconds of one answer, and how many times as fast as the first model it was, the
    median over the rounds with its 95 % interval."""

    milliseconds: float
    speedup: float
    low: float
    high: float


def race(models: Sequence[Model], seconds: float = 1.0, variation: str = "typical-workload") -> list[Lap]:
    """Run all ``models`` of one network on the same inputs (:data:`claude_flow.measure.workload.VARIATIONS`), round by
    round, for ``seconds`` in all and at least five rounds."""
    graph = Graph(modelfile.read(models[0].path))
    inputs = [x for _, several in workload.variation(graph, variation) for x in several]
    for model in models:
        model.run(inputs[0])
    rounds: list[list[float]] = []
    deadline = time.perf_counter() + seconds
    while len(rounds) < 5 or time.perf_counter() < deadline:
        lap = []
        # Each round begins with another model: none always follows the same one.
        order = [(i + len(rounds)) % len(models) for i in range(len(models))]
        for index in order:
            begin = time.perf_counter()
            for x in inputs:
                models[index].run(x)
            lap.append((index, time.perf_counter() - begin))
        rounds.append([spent for _, spent in sorted(lap)])
    times = np.array(rounds)
    faster = times[:, :1] / times
    draws = np.random.default_rng(0).integers(len(times), size=(1000, len(times)))
    medians = np.median(faster[draws], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975], axis=0)
    each = 1e3 * np.median(times, axis=0) / len(inputs)
    return [
        Lap(float(ms), float(speed), float(a), float(b))
        for ms, speed, a, b in zip(each, np.median(faster, axis=0), low, high, strict=True)
    ]
