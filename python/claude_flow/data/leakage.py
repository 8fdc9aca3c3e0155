"""Label leakage: how well each column of a dataset tells, alone, how a run ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import SIGNALS
from claude_flow.data.frame import Column, Frame
from claude_flow.statistics import auc, mean_elsewhere, ranks, spearman

__all__ = ["KNOWN_AFTER", "measure"]

KNOWN_AFTER = frozenset(
    (
        *("cost", "tokens", "context_tokens", "tool_calls", "steps", "errors", "retries", "tool_s", "cpu_s"),
        *("memory_mb", *SIGNALS),
    )
)
_OUTCOMES = ("duration_s", "active_s", "success", "utility", "status")
_NO_FEATURES = ("run_id", "source", "group", "task", "description", "parent", "batch")  # names of rows, free text
_FEWEST_ROWS, _FEWEST_OF_A_CLASS = 20, 5
_DIVISIONS = 10  # into halves, for a text column

_Mask = NDArray[np.bool_]


def measure(runs: Frame, tasks: Frame) -> Iterator[dict[str, Any]]:
    """For each column of the runs, and feature of their tasks, how well it tells each label.

    The measures reach 1 for a perfect teller: AUC for success, by the column's value and by its being known at
    all; rank correlation for the duration. A column that tells nothing has .5 and 0. Text tells by the mean label of
    the same text among other rows: those of the other half, for each half of some random divisions.
    Yields ``table``, ``column``, ``label``, ``measure``, ``value``, ``rows``; nothing where fewer than 20 rows,
    or 5 of a class, could be compared.
    """
    success, duration = runs["success"], runs["duration_s"]
    for table, column in _candidates(runs, tasks):
        about = {"table": table, "column": column.name}
        both = column.known & success.known
        if _enough(both, success):
            value = _tells(column, both, success.values[both] > 0)
            yield {**about, "label": "success", "measure": "AUC", "value": value, "rows": int(both.sum())}
        if _enough(success.known, success) and min(column.known.sum(), (~column.known).sum()) >= _FEWEST_OF_A_CLASS:
            value = auc(success.values[success.known] > 0, column.known[success.known])
            about_known = {"label": "success", "measure": "AUC of being known", "rows": int(success.known.sum())}
            yield {**about, **about_known, "value": max(value, 1 - value)}
        both = column.known & duration.known
        if both.sum() >= _FEWEST_ROWS:
            value = _tells(column, both, ranks(duration.values[both]))
            about_duration = {"label": "duration_s", "measure": "rank correlation", "rows": int(both.sum())}
            yield {**about, **about_duration, "value": value}


def _candidates(runs: Frame, tasks: Frame) -> Iterator[tuple[str, Column]]:
    for column in runs.columns.values():
        if column.plain is not datetime and column.name not in (*_OUTCOMES, *_NO_FEATURES):
            yield "runs", column
    place = _task_of(runs, tasks)
    for column in tasks.columns.values():
        if column.name.startswith("x:") and column.known.any():
            yield "tasks", Column(column.name, float, column.values[place], column.known[place] & (place >= 0))


def _task_of(runs: Frame, tasks: Frame) -> NDArray[np.int64]:
    """For each run the row of its task, by group and name; -1 where there is none."""

    def keys(frame: Frame) -> list[tuple[str, str]]:
        words = [np.array([*frame[name].words, ""], dtype=object)[frame[name].codes()] for name in ("group", "task")]
        return list(zip(*words, strict=True))

    row_of = {key: row for row, key in enumerate(keys(tasks))}
    return np.array([row_of.get(key, -1) for key in keys(runs)], dtype=np.int64)


def _tells(column: Column, rows: _Mask, labels: NDArray[Any]) -> float:
    def agreement(labels: NDArray[Any], values: NDArray[Any]) -> float:
        return auc(labels, values) if labels.dtype == np.bool_ else spearman(values, labels)

    nothing = 0.5 if labels.dtype == np.bool_ else 0.0
    if not column.is_text:
        return nothing + abs(agreement(labels, column.values[rows]) - nothing)
    codes, generator = column.codes()[rows], np.random.default_rng(0)
    found = []
    for _ in range(_DIVISIONS):
        half = generator.permutation(len(codes)) < len(codes) // 2
        found += [agreement(labels[here], mean_elsewhere(codes, labels, here)) for here in (half, ~half)]
    return max(float(np.mean(found)), nothing)  # what is below is chance: no text tells the contrary


def _enough(rows: _Mask, success: Column) -> bool:
    positives = int((success.values[rows] > 0).sum())
    return bool(rows.sum() >= _FEWEST_ROWS and min(positives, rows.sum() - positives) >= _FEWEST_OF_A_CLASS)
