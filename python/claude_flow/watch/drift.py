"""Has what is asked moved away from what was learned? ``claude-flow neural monitor drift``.

An alarm needs both: a p-value that is small after Holm's correction over all features and the joint test, and an effect
as large as a shift worth knowing. The first alone follows the sample size: with enough rows everything differs. Where
the rows are too few to show such a shift, the verdict is ``too small``, not "no drift".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, statistics
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.model import load_for
from claude_flow.report.progress import Progress, counted, nothing
from claude_flow.watch import detectors, outcomes
from claude_flow.watch.detectors import METHODS
from claude_flow.watch.samples import Column, Sample, aligned, of_requests

__all__ = ["MOST", "SENSITIVITIES", "compare", "confidence_of", "facts", "outputs", "verdict"]

Array = NDArray[np.float64]
#: name: (smallest shift worth an alarm, in standard deviations; chance of any false alarm)
SENSITIVITIES = {"low": (0.5, 0.01), "medium": (0.25, 0.02), "high": (0.125, 0.05)}
FEWEST = 20  # rows of either side, below which nothing is tested
#: rows of either side that are looked at: distances are known to 0.005 then, and the least that counts is 0.05
MOST = 20_000
_DRAWS = 1999
_TOLD_BINS = 20
_ANSWERED = 200  # requests of the reference that the model answers, to compare outputs
#: of the t-test's power on normal features, KS keeps 0.64 of the rows' worth, so it sees shifts 1.25 times as large
_EFFICIENCY = 1.25
_CONFIDENCE = "confidence"


def compare(
    one: Sample,
    other: Sample,
    method: str,
    sensitivity: str = "medium",
    *,
    features: Sequence[str] | None = None,
    jointly: bool = True,
    error_column: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare a stream (``other``) with its reference.

    ``error_column``: the errors that a model made, row by row; it is no feature, its change is what the drift costs.

    Returns ``verdict`` (drift, no drift, too small), ``alarms`` (names), ``distance`` (the largest total-variation or
    Kolmogorov-Smirnov distance of a feature whose p is small enough; 0 = none), ``features`` (largest effect against
    its threshold first), ``joint``, ``detectable`` (the shift in standard deviations that so many rows show in four of
    five cases), ``needed`` (rows of the stream to show the smallest shift that counts; None = the reference is too
    small as well), ``cost``.

    Raises:
        InputError: no column in common, or an unknown feature or method.
    """
    if method not in METHODS:
        raise InputError(f"there is no drift detection method {method!r}: it is one of {', '.join(METHODS)}")
    shift, alpha = SENSITIVITIES[sensitivity]
    columns = aligned(one, other, features)
    cost = None
    if error_column is not None:
        if error_column not in columns:
            raise InputError(f"there is no column {error_column!r} of errors in both samples")
        before, now = columns.pop(error_column)
        cost = _cost(before.values, now.values, seed)
    generator = np.random.default_rng(seed)
    n, m = len(one), len(other)
    rows, skipped = [], {**one.skipped, **other.skipped}
    family = len(columns) + bool(jointly)
    draws = max(_DRAWS, math.ceil(2 * family / alpha))
    if min(n, m) >= FEWEST:
        for name, (before, now) in columns.items():
            found = _feature(name, before, now, method, shift, draws, generator)
            if isinstance(found, str):
                skipped[name] = found
            else:
                rows.append(found)
    together = None
    if jointly and len(rows) > 1:
        matrices = _matrices([columns[row["feature"]] for row in rows])
        measure, tested, limit = detectors.joint(*matrices, method, shift, draws, generator)
        together = {"measure": measure, "effect": tested.effect, "threshold": limit, "p": tested.p}
    tests = [*rows, *([together] if together else [])]
    for row, corrected in zip(tests, statistics.holm([row["p"] for row in tests]), strict=True):
        row["p_corrected"] = float(corrected)
        row["alarm"] = bool(corrected < alpha and row["effect"] >= row["threshold"])
    rows.sort(key=lambda row: (not row["alarm"], -row["effect"] / row["threshold"]))
    for row in rows:
        if row["alarm"]:
            row["since"] = _since(*columns[row["feature"]], other)
    found_alarms = [row["feature"] for row in rows if row["alarm"]]
    detectable, needed = _detectable(min(n, MOST), min(m, MOST), max(1, len(tests)), shift, alpha)
    alarm = bool(found_alarms) or bool(together and together["alarm"])
    enough = detectable is not None and detectable <= shift
    return {
        "verdict": "drift" if alarm else "no drift" if enough else "too small",
        "method": method,
        "measure": METHODS[method].measure,
        "sensitivity": sensitivity,
        "shift": shift,
        "alpha": alpha,
        "reference": {"rows": n, "what": one.what},
        "stream": {"rows": m, "what": other.what, "from": _iso(other.times, 0), "to": _iso(other.times, -1)},
        "alarms": found_alarms,
        "distance": max((row["distance"] for row in rows if row["p_corrected"] < alpha), default=0.0),
        "features": rows,
        "joint": together,
        "detectable": detectable,
        "needed": needed,
        "skipped": skipped,
        "cost": cost,
    }


def _feature(
    name: str, before: Column, now: Column, method: str, shift: float, draws: int, generator: np.random.Generator
) -> dict[str, Any] | str:
    """The row of a feature, or why it is not tested."""
    known = [~np.isnan(column.values) for column in (before, now)]
    counts = [int(part.sum()) for part in known]
    if min(counts) == 0 and max(counts) > 0:  # a field that only one side has: that it is known is what changed
        one, other = (np.bincount(part.astype(int), minlength=2) for part in known)
        tested, measure = detectors.categories(one, other, draws, generator), "share of rows that have it"
        about = {"known": [float(part.mean()) for part in known], "labels": ["unknown", "known"]}
        return _row(name, measure, tested, shift, _distance_of(one, other), about, one, other, is_category=True)
    if min(counts) < FEWEST:
        return f"known in {counts[0]} and {counts[1]} rows only"
    one_values, other_values = (  # a copy only where some are not known
        column.values if part.all() else column.values[part] for column, part in zip((before, now), known, strict=True)
    )
    if not (one_values != one_values[0]).any() and not (other_values != one_values[0]).any():
        return "it does not vary"
    shares = {"known": [float(part.mean()) for part in known]}
    if before.words:
        size = len(before.words)
        one, other = (np.bincount(part.astype(int), minlength=size) for part in (one_values, other_values))
        tested = detectors.categories(one, other, draws, generator)
        about = {**shares, "labels": list(before.words)}
        return _row(name, "total variation", tested, shift, tested.effect, about, one, other, is_category=True)
    pair = detectors.thinned(one_values, MOST), detectors.thinned(other_values, MOST)
    ordered = np.sort(pair[0]), np.sort(pair[1])
    pair = pair if METHODS[method].by_row else ordered
    tested = METHODS[method].compare(*pair, draws, generator)
    is_distance = METHODS[method].compare is METHODS["kolmogorov-smirnov"].compare
    distance = tested.effect if is_distance else statistics.kolmogorov_smirnov(*ordered)[0]
    pooled = np.sort(np.concatenate(ordered), kind="stable")  # merges them
    low, high = np.quantile(pooled, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, _TOLD_BINS + 1)
    one, other = (detectors.counted(part, edges[1:-1]) for part in ordered)
    about = {
        **shares,
        "means": [float(one_values.mean()), float(other_values.mean())],
        "labels": [f"{edge:.3g}" for edge in edges[:-1]],
    }
    row = _row(name, METHODS[method].measure, tested, shift, distance, about, one, other)
    return {**row, "threshold": METHODS[method].threshold(shift)}


def _row(
    name: str,
    measure: str,
    tested: detectors.Found,
    shift: float,
    distance: float,
    about: dict[str, Any],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    is_category: bool = False,
) -> dict[str, Any]:
    return {
        "feature": name,
        "measure": measure,
        "is_category": is_category,
        "effect": tested.effect,
        "threshold": METHODS["kolmogorov-smirnov"].threshold(shift),  # total variation of two normals is the same
        "p": tested.p,
        "distance": float(distance),
        "since": None,
        **about,
        "older": one.tolist(),
        "newer": other.tolist(),
    }


def _distance_of(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def _matrices(columns: Sequence[tuple[Column, Column]]) -> tuple[Array, Array]:
    """Both samples as [rows, features] for the joint test, thinned to the rows that it looks at: numbers as normal
    scores, categories as indicators."""
    first, second = [], []
    for pair in columns:
        before, now = (Column(detectors.thinned(column.values), column.words) for column in pair)
        if before.words:
            pooled = np.concatenate([before.values, now.values])
            common = np.argsort(-np.bincount(pooled[~np.isnan(pooled)].astype(int)), kind="stable")[:5]
            for code in common:
                share = float(np.mean(pooled == code))
                scale = math.sqrt(max(share * (1 - share), 1e-3))
                first.append(((before.values == code) - share) / scale)
                second.append(((now.values == code) - share) / scale)
        else:
            one, other = detectors.normal_scores(before.values, now.values)
            first.append(one)
            second.append(other)
    return np.stack(first, 1), np.stack(second, 1)


def _since(before: Column, now: Column, other: Sample) -> Any:
    """When the stream began to differ: a time, or, where rows carry none, the number of the row (from 1)."""
    if before.words:  # the category whose share changed most
        size = len(before.words)
        shares = [np.bincount(c.values[~np.isnan(c.values)].astype(int), minlength=size) for c in (before, now)]
        moved = int(np.abs(shares[0] / max(1, shares[0].sum()) - shares[1] / max(1, shares[1].sum())).argmax())
        values = [np.where(np.isnan(c.values), np.nan, (c.values == moved).astype(float)) for c in (before, now)]
    else:
        values = [before.values, now.values]
    known = ~np.isnan(values[1])
    if not known.any() or np.isnan(values[0]).all():
        row = int(np.flatnonzero(known)[0]) if known.any() else 0
    else:
        row = int(np.flatnonzero(known)[detectors.onset(values[0][~np.isnan(values[0])], values[1][known])])
    return _iso(other.times, row) or row + 1


def _iso(times: Array, row: int) -> str | None:
    if not len(times) or math.isnan(times[row]) or not 0 < times[row] < 32503680000:
        return None
    return datetime.fromtimestamp(float(times[row]), timezone.utc).isoformat(timespec="seconds")


def _detectable(n: int, m: int, tests: int, shift: float, alpha: float) -> tuple[float | None, int | None]:
    """The shift that n and m rows show with 80 % power after correction, and the m that shows ``shift``."""
    if min(n, m) < FEWEST:
        return None, None
    normal = NormalDist()
    reach = _EFFICIENCY * (normal.inv_cdf(1 - alpha / (2 * tests)) + normal.inv_cdf(0.8))
    left = (shift / reach) ** 2 - 1 / n
    return reach * math.sqrt(1 / n + 1 / m), math.ceil(1 / left) if left > 0 else None


def _cost(one: Array, other: Array, seed: int) -> dict[str, Any]:
    """What the errors say: their means, the rise with its 95 % interval by the bootstrap of both samples."""
    before, now = one[~np.isnan(one)], other[~np.isnan(other)]
    if min(len(before), len(now)) < FEWEST:
        return {"kind": "errors", "before": None, "now": None, "rise": None, "low": None, "high": None}
    spreads = [statistics.bootstrap(part, seed=seed + i) for i, part in enumerate((before, now))]
    rise = float(now.mean() - before.mean())
    half = math.hypot(*((spread.high - spread.low) / 2 for spread in spreads))
    return {
        "kind": "errors",
        "before": float(before.mean()),
        "now": float(now.mean()),
        "rise": rise,
        "low": rise - half,
        "high": rise + half,
    }


# What was answered ----------------------------------------------------------------------------------------


def outputs(
    network: str,
    reference: Sample,
    stream: Sample,
    method: str,
    sensitivity: str,
    *,
    seed: int = 0,
    progress: Progress = nothing,
) -> dict[str, Any] | None:
    """Compare the answers that were given to the stream with the answers to the reference, and estimate the cost.

    The network's newest model answers up to 200 requests of the reference. ``cost`` is the fall of the mean confidence,
    which is calibrated on held-out data: an estimate without outcomes. ``confirmed``: the same from the outcomes of the
    stream's answers, where 20 of them are known. None where fewer than 20 answers were logged.
    """
    answered = [request for request in stream.requests if request.answer]
    if len(answered) < FEWEST:
        return None
    row = networks.get(network)
    model = load_for(network, None)
    step = max(1, len(reference.requests) // _ANSWERED)
    asked, before = reference.requests[::step][:_ANSWERED], []
    for done, request in enumerate(asked):
        counted(progress, len(asked), "features")(done)
        try:
            before.append(type(request)(**{**vars(request), "answer": row.answer.answer(model, request.input)}))
        except ClaudeFlowError:  # a run that makes no request of today's schema
            continue
    one, other = (
        of_requests(found, f"{len(found)} answers", lambda request: _answer_of(request.answer or {}))
        for found in (before, answered)
    )
    try:
        found = compare(one, other, method, sensitivity, seed=seed)
    except InputError:
        return None
    sure = [
        np.array([c for r in group if (c := confidence_of(r.answer or {})) is not None]) for group in (before, answered)
    ]
    if min(map(len, sure)) >= FEWEST:
        cost = _cost(1 - sure[0], 1 - sure[1], seed)
        found["cost"] = {**cost, "kind": "estimated from confidence"}
        known = {f"{entry.place[0]}-{entry.place[1]}": entry for entry in outcomes.logged(0.0)}
        scores = outcomes.known([known[request.id] for request in answered if request.id in known])
        if len(scores) >= FEWEST:
            found["confirmed"] = {**_cost(1 - sure[0], 1 - np.array(scores), seed), "kind": f"{len(scores)} outcomes"}
    return found


_ABOUT = ("network", "model", "notes", "confidence_is", "confidence_threshold")


def _answer_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in _ABOUT}


def confidence_of(answer: Any) -> float | None:
    """The mean of all confidences that the first choices of an answer carry, or None.

    >>> confidence_of({"assignments": [{"confidence": 0.8, "candidates": [{"confidence": 0.8}]}, {"confidence": 0.6}]})
    0.7
    """
    found: list[float] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get(_CONFIDENCE), (int, float)):
                found.append(float(value[_CONFIDENCE]))
            else:
                for item in value.values():
                    walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(answer)
    return round(sum(found) / len(found), 12) if found else None


def verdict(found: dict[str, Any]) -> str:
    """A comparison in one sentence."""
    n, m, shift = found["reference"]["rows"], found["stream"]["rows"], found["shift"]
    if found["verdict"] == "drift":
        names = ", ".join(found["alarms"][:5]) or "no feature alone, all together"
        more = f" and {len(found['alarms']) - 5} more" if len(found["alarms"]) > 5 else ""
        return f"drift in {names}{more}"
    if found["verdict"] == "no drift":
        return f"no drift: a shift of {shift:g} standard deviations would have been seen"
    if min(n, m) < FEWEST:
        return f"too small to tell: {n} and {m} rows, {FEWEST} are the fewest that are tested"
    more = f"{found['needed']} rows of the stream are" if found["needed"] else "a larger reference is"
    seen = f"{m} rows show shifts from {found['detectable']:.2f} standard deviations on"
    return f"too small to tell: {seen}; {more} needed to rule out {shift:g}"


def facts(found: dict[str, Any]) -> list[list[str]]:
    """What a comparison found, but for the features: names and values."""
    told = [
        ["verdict", verdict(found)],
        ["reference", found["reference"]["what"]],
        ["stream", found["stream"]["what"]],
        ["measure", found["measure"]],
    ]
    if joint := found["joint"]:
        limits = f"{joint['effect']:.3g} of {joint['threshold']:.3g}, corrected p {joint['p_corrected']:.2g}"
        told.append(["all together", limits + (", an alarm" if joint["alarm"] else "")])
    for name in ("cost", "confirmed"):
        cost = found.get(name)
        if cost and cost["rise"] is not None:
            spread = f"{cost['rise']:+.3g} ({cost['low']:+.3g} to {cost['high']:+.3g})"
            told.append([f"{name} ({cost['kind']})", spread])
    return told
