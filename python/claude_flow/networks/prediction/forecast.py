"""Medians of durations of open tasks from runs that a program keeps itself: the network without a request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.model import Model
from claude_flow.networks.prediction.features import QUANTILES, Encoder
from claude_flow.networks.prediction.history import Runs, as_of

__all__ = ["durations"]


def durations(model: Model, past: Runs, tasks: Runs) -> NDArray[np.float64]:
    """Seconds, the median that the network expects of each of ``tasks``, given the ``past`` runs.

    >>> import claude_flow as cf
    >>> ends = [i * 10**9 for i in range(1, 9)]
    >>> past = Runs.from_columns({"end": ends, "duration_s": [300.0] * 8, "agent": ["a"] * 8})
    >>> tasks = Runs.from_columns({"submitted": [10**10], "agent": ["a"]})
    >>> bool(100 < durations(cf.load("prediction-v2"), past, tasks)[0] < 900)
    True
    """
    features: dict[str, Any] = model.features
    encoder = Encoder.from_schema(features)
    past, tasks = encoder.view(past), encoder.view(tasks)
    history = as_of(past if len(past) else tasks, tasks, int(features["history"]))
    seen = past if len(past) else tasks
    openings, anchors = encoder.openings(tasks, history)
    x, lengths = encoder.sequences(seen, encoder.records(seen), tasks, openings, anchors, history.index)
    x = np.ascontiguousarray(x[:, : lengths.max()])
    quantiles, _ = encoder.decode(model.run(x, lengths), anchors)
    medians: NDArray[np.float64] = np.expm1(quantiles[:, 0, QUANTILES.index(0.5)])
    return medians
