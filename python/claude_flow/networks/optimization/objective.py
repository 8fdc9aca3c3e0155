"""What an operator wants, in numbers: targets to improve, limits to respect, and the utility of a change.

The utility of a change is the weighted sum of the targets' gains, in natural-log units (a gain of 0.1 is about
10 % better), less what it does to the guarded metrics that nobody asked to improve, less the price of breaking a
limit, less ``CHANGE_COST``, since no change to a running swarm is free.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from claude_flow.networks.optimization.features import CONSTRAINTS, GUARDED, TARGETS

__all__ = ["CHANGE_COST", "CROSSING", "LIMIT_WEIGHT", "sample_wishes", "utility", "with_instability"]

Array = NDArray[np.float64]

GUARD_WEIGHT = 0.3  # of a guarded metric getting worse, unless it is a target itself
LIMIT_WEIGHT = 2.0  # of each log unit by which a limit is exceeded
CROSSING = 0.15  # for a limit that held before and does not hold after
CHANGE_COST = 0.004
CLIP = 1.0  # utilities are cut off here; beyond a factor e, "much" is all that matters


def with_instability(metrics: Mapping[str, Array]) -> dict[str, Array]:
    """The metrics plus ``instability``, the sum that ``improve-stability`` reduces."""
    parts = ("rejection-rate", "timeout-rate", "crash-rate", "retry-rate")
    return {**metrics, "instability": np.sum([metrics[name] for name in parts], axis=0)}


def sample_wishes(
    generator: np.random.Generator, metrics: Mapping[str, Array], agents: Array
) -> tuple[Array, dict[str, Array]]:
    """Draw targets ``[n, 12]`` (weights that sum to 1; one to three targets, latency and throughput the likeliest)
    and constraints by name (``[n]``, NaN where there is none; most hold at present, some are already broken)."""
    rows = len(agents)
    popularity = np.array([4, 4, 3, 3, 2, 1, 1, 1, 1, 2, 1, 1], dtype=np.float64)
    keys = generator.exponential(1.0, (rows, len(TARGETS))) / popularity
    rank = keys.argsort(axis=1).argsort(axis=1)
    chosen = rank < generator.integers(1, 4, rows)[:, None]
    weights = np.where(
        chosen, np.where(generator.random((rows, 1)) < 0.6, 1.0, generator.random(chosen.shape) + 0.1), 0
    )
    weights = weights / weights.sum(axis=1, keepdims=True)
    values = {**metrics, "max-agents": agents}
    constraints = {}
    for name, (metric, sign) in CONSTRAINTS.items():
        limit = values[metric] * np.exp(sign * generator.normal(0.4, 0.5, rows))
        if name in ("max-cpu", "max-error-rate"):
            limit = np.clip(limit, 0.01, 1.0)
        likelihood = 0.35 if name in ("max-memory", "max-cpu", "budget") else 0.12
        constraints[name] = np.where(generator.random(rows) < likelihood, limit, np.nan)
    constraints["max-agents"] = np.maximum(np.round(constraints["max-agents"]), 1.0)
    return weights, constraints


def _excess(values: Mapping[str, Array], constraints: Mapping[str, Array]) -> Array:
    """By how many log units each limit is exceeded, ``[8, n]``; 0 where it holds or there is none."""
    return np.stack(
        [
            np.nan_to_num(np.maximum(sign * np.log((values[metric] + 1e-9) / (constraints[name] + 1e-9)) - 1e-6, 0.0))
            for name, (metric, sign) in CONSTRAINTS.items()
        ]
    )


def utility(
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    weights: Array,
    constraints: Mapping[str, Array],
) -> Array:
    """Utility of going from ``before`` to ``after``, ``[n]``. Both are :func:`with_instability` metrics plus the
    setting ``max-agents``; ``weights [n, 12]`` and ``constraints`` as from :func:`sample_wishes`."""
    total = np.full(len(weights), -CHANGE_COST)
    for index, (name, (metric, sign, offset)) in enumerate(TARGETS.items()):
        gain = sign * np.log((after[metric] + offset) / (before[metric] + offset))
        total += weights[:, index] * gain
        if name in GUARDED:
            total += np.where(weights[:, index] > 0, 0.0, GUARD_WEIGHT) * np.minimum(gain, 0.0)
    excess_before, excess_after = _excess(before, constraints), _excess(after, constraints)
    total -= LIMIT_WEIGHT * (excess_after - excess_before).sum(axis=0)
    total -= CROSSING * ((excess_before == 0.0) & (excess_after > 0.0)).sum(axis=0)
    return np.asarray(np.clip(total, -CLIP, CLIP))
