"""Pareto fronts of loss and latency: what they dominate, and which of theirs comes first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from claude_flow.errors import InputError
from claude_flow.search.candidate import Candidate

__all__ = ["hypervolume", "ranked", "reference"]


def ranked(front: Sequence[Candidate]) -> list[Candidate]:
    """The efficiency-accuracy trade-off: by the distance to the best loss and the best latency of the front, each
    scaled to the front's span."""
    if not front:
        return []
    points = np.array([[c.measured.loss, np.log(c.measured.latency)] for c in front])
    span = np.maximum(points.max(0) - points.min(0), 1e-12)
    distance = np.linalg.norm((points - points.min(0)) / span, axis=1)
    return [front[i] for i in np.argsort(distance, kind="stable")]


def reference(fronts: Mapping[str, Sequence[Candidate]]) -> tuple[float, float]:
    """The corner of the areas: just beyond the worst loss and the worst latency of all fronts; :class:`InputError` if
    they hold no candidate."""
    points = [(c.measured.loss, c.measured.latency) for front in fronts.values() for c in front]
    if not points:
        raise InputError("no candidate was trained: give more time, or check the data")
    return max(p[0] for p in points) + 1e-9, max(p[1] for p in points) * 1.01


def hypervolume(front: Sequence[Candidate], reference: tuple[float, float]) -> float:
    """The area that a front dominates up to the reference, in units of loss times log latency.

    >>> hypervolume([], (1.0, 1.0))
    0.0
    """
    points = sorted((c.measured.loss, math.log(c.measured.latency)) for c in front)
    area, height = 0.0, math.log(reference[1])
    for loss, latency in points:
        if latency < height and loss < reference[0]:
            area += (reference[0] - loss) * (height - latency)
            height = latency
    return area
