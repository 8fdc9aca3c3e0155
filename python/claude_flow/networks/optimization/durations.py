"""How long a log's runs take, how often they fail and what they cost: by type, agent and model.

A mean of few runs says little, so each is drawn to the one above it: an agent's (within a type) to its type's, a type's
to the whole log's. With n runs of its own a mean keeps the share ``n / (n + within / between)``, where *within* is the
variance of runs around their own mean and *between* that of the true means, estimated by the method of moments (Searle
1971): where types or agents differ by chance alone, *between* is 0 and only the whole log's mean is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics

__all__ = ["LEVELS", "Durations", "Shrunken", "held_out", "kind", "typical"]

Array = NDArray[np.float64]
Keys = Sequence[tuple[str, ...]]

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_NEWEST = 0.25  # the share of the runs by which strength and spread are chosen
_HELD_OUT, _BLOCKS = 0.2, 20  # the newest share of a log, and the stretches of time that a test pairs
_LEAST = 50  # runs with which a fifth is held out
_ROWS, _FEWEST = 5, 5  # of a table, and the runs that a row of it rests on


def kind(run: Mapping[str, Any]) -> str:
    """The type of a run: that of its agent, else of its task; "" where the log names none."""
    return str(run.get("agent_type") or run.get("task_type") or "")


@dataclass(frozen=True)
class Shrunken:
    """Means by nested keys: ``means`` holds that of every beginning of a key, ``()`` the whole's.

    >>> keys, noise = [("a",)] * 50 + [("b",)] * 50 + [("c",)], np.arange(50) % 2
    >>> means = Shrunken.of(keys, np.concatenate([noise, noise + 9, [20.0]]))
    >>> [round(x, 1) for x in means.at([("a",), ("b",), ("unseen",)]).tolist()]
    [0.5, 9.5, 5.1]
    """

    means: dict[tuple[str, ...], float]

    @classmethod
    def of(cls, keys: Keys, values: Array) -> Shrunken:
        means: dict[tuple[str, ...], float] = {(): float(np.mean(values))}
        for depth in range(1, len(keys[0]) + 1):
            names: dict[tuple[str, ...], int] = {}
            place = np.array([names.setdefault(key[:depth], len(names)) for key in keys])
            counts = np.bincount(place)
            own = np.bincount(place, values) / counts
            above = np.array([means[name[:-1]] for name in names])
            within = float(np.square(values - own[place]).sum()) / max(len(values) - len(names), 1)
            between = float((counts * np.square(own - above)).sum() - len(names) * within) / len(values)
            # Names that hardly come twice, such as a session's, say nothing of the next run.
            known = between > 0 and len(values) >= 2 * len(names)
            share = counts * between / (counts * between + within) if known else np.zeros(len(names))
            means.update(zip(names, (above + share * (own - above)).tolist(), strict=True))
        return cls(means)

    def at(self, keys: Keys) -> Array:
        """The mean ``[n]`` of the longest known beginning of each key."""
        return np.array([self._of(key) for key in keys])

    def _of(self, key: tuple[str, ...]) -> float:
        return next(self.means[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.means)


@dataclass(frozen=True)
class Durations:
    """Forecasts of a run's log1p seconds by its key: the whole's mean, ``strength`` times what sets its key apart,
    and ``spread``, the quantiles (:data:`LEVELS`) of what is left.

    Strength and spread are those of the newest quarter as the earlier runs foretell it: swarms change.
    """

    means: Shrunken
    strength: float
    spread: Array

    @classmethod
    def of(cls, keys: Keys, logs: Array) -> Durations:
        """``keys`` and ``logs [n]`` in order of time."""
        cut = len(logs) - max(int(_NEWEST * len(logs)), 1)
        earlier = Shrunken.of(keys[:cut], logs[:cut])
        apart = earlier.at(keys[cut:]) - earlier.means[()]
        half = np.arange(len(apart)) * 10 // len(apart) % 2  # by stretches of time
        best: tuple[float, float, Array] | None = None
        for strength in _STRENGTHS:
            left = logs[cut:] - earlier.means[()] - strength * apart
            loss = float(np.mean([_loss(left[half == k], left[half != k]) for k in (0, 1)])) if half.any() else 0.0
            if best is None or loss < best[0]:
                best = loss, strength, np.quantile(left, LEVELS)
        assert best is not None
        return cls(Shrunken.of(keys, logs), *best[1:])

    def at(self, keys: Keys) -> Array:
        """Quantiles ``[n, levels]`` of log1p seconds."""
        whole = self.means.means[()]
        centre = whole + self.strength * (self.means.at(keys) - whole)
        quantiles: Array = centre[:, None] + self.spread
        return quantiles


def _loss(truth: Array, others: Array) -> float:
    quantiles = np.broadcast_to(np.quantile(others, LEVELS), (len(truth), len(LEVELS)))
    return float(statistics.pinball(truth, quantiles, LEVELS).mean())


def held_out(keys: Keys, logs: Array) -> dict[str, Any] | None:
    """How well the earlier four fifths foretell the newest fifth: pinball by key and by the whole log's quantiles.

    ``difference`` is paired by twenty stretches of time. None: there are fewer than 50 runs.
    """
    cut = len(logs) - int(_HELD_OUT * len(logs))
    if len(logs) < _LEAST:
        return None
    ours = Durations.of(keys[:cut], logs[:cut]).at(keys[cut:])
    whole = np.broadcast_to(np.quantile(logs[:cut], LEVELS), ours.shape)
    loss, rival = (statistics.pinball(logs[cut:], found, LEVELS) for found in (ours, whole))
    block = np.arange(len(loss)) * _BLOCKS // len(loss)
    difference = [float((loss - rival)[block == k].mean()) for k in np.unique(block)]
    inside, _ = statistics.coverage(logs[cut:], ours[:, 0], ours[:, -1])
    return {
        "runs": len(loss),
        "pinball": float(loss.mean()),
        "whole_log": float(rival.mean()),
        "difference": difference,
        "p": statistics.permutation(difference),
        "coverage_80": inside,
    }


def typical(runs: Sequence[Mapping[str, Any]], seconds: Array) -> dict[str, list[dict[str, Any]]]:
    """What the log says of its most frequent types, agents and models, each drawn to the whole log's.

    ``seconds [n]`` are the runs' own. They are typical ones (means of log1p), tokens and US dollars are means, and
    ``failed`` is a share, where the log tells it of half of the runs: many logs tell failures alone. None: unknown.
    """
    columns = {"seconds": np.log1p(seconds)}
    for name in ("success", "tokens", "cost"):
        columns[name] = np.array([np.nan if (v := run.get(name)) is None else float(v) for run in runs])
    columns["failed"] = 1.0 - columns.pop("success")
    if np.isnan(columns["failed"]).mean() > 0.5:
        columns["failed"][:] = np.nan
    found = {}
    by: dict[str, list[str]] = {"by_type": [kind(run) for run in runs]}
    by |= {f"by_{name}": [str(run.get(name) or "") for run in runs] for name in ("agent", "model")}
    for title, names in by.items():
        keys = np.array(names, object)
        counts = {key: count for key, count in Counter(names).items() if key and count >= _FEWEST}
        most = sorted(counts, key=lambda key: (-counts[key], key))[:_ROWS]
        rows: list[dict[str, Any]] = [{"name": key, "runs": counts[key]} for key in most]
        for column, values in columns.items():
            known = np.isfinite(values) & (keys != "")
            means = Shrunken.of([(key,) for key in keys[known]], values[known]) if known.any() else None
            for row in rows:
                has = means is not None and (row["name"],) in means.means
                mean = means.means[(row["name"],)] if means and has else np.nan
                row[column] = round(float(np.expm1(mean) if column == "seconds" else mean), 4) if has else None
        found[title] = rows
    return found
