"""Static ranges: which interval of an activation its 7 bits cover, and whether one interval serves at every length.

An observer turns the rows that a value took on calibration data into ``[low, high]``. One range for all rows costs
precision where rows differ in size: the output of attention shrinks with the number of tokens that it averages over,
so a range that fits 128 tokens cuts off what 8 tokens give. :func:`static` therefore looks at every length, and leaves
to the engine's own search, row by row, what no single range serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.modelfile import probe
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.program import PER_ITEM
from claude_flow.modelfile.quantize import quantize

__all__ = ["OBSERVERS", "Batch", "Rows", "by_row", "decibels", "fake", "outputs", "static", "values"]

Rows = NDArray[np.float32]
#: inputs of ``Model.run`` and the real tokens of each item (None: all); lists of both for a model of several inputs
Batch = tuple[Any, Any]

LEVELS = 127
#: Tokens of the batches on which ranges must hold, beside the lengths that the calibration data has.
_LENGTHS = (1, 4, 16, 64)
_ROWS = 512  # of each such batch
#: What static ranges may cost against ranges row by row, in all, at the worst length.
_BUDGET = 0.7
_MOST_ROWS = 512  # of a value, to choose its range by


def fake(x: Rows, low: float | Rows, high: float | Rows) -> Rows:
    """``x`` as the engine's 7 bits have it, within ``[low, high]`` of all, or of each row.

    >>> fake(np.array([[-1.0, 0.5, 9.0]], np.float32), -1.0, 1.0).astype(float).round(2).tolist()
    [[-1.01, 0.5, 0.99]]
    """
    width = np.maximum(np.float32(high) - np.float32(low), np.float32(1e-30))
    inverse = np.float32(LEVELS) / width
    zero = np.rint(-np.float32(low) * inverse)
    q = np.rint(np.clip(x * inverse + zero, 0, LEVELS))
    y: Rows = ((q - zero) * (width / np.float32(LEVELS))).astype(np.float32)
    return y


def by_row(x: Rows) -> Rows:
    """``x`` as 7 bits by each row's own range have it."""
    low, high = (np.minimum(x.min(1), 0)[:, None], np.maximum(x.max(1), 0)[:, None])
    return fake(x, low, high)


# Observers ----------------------------------------------------------------------------------------------------------

Range = tuple[float, float]


def _with_zero(low: float, high: float) -> Range:
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def min_max(x: Rows) -> Range:
    """All that was seen."""
    return _with_zero(x.min(), x.max())


def percentile(x: Rows, tail: float = 5e-4) -> Range:
    """All but a share ``tail`` at each end: a single outlier would cost all others bits."""
    low, high = np.quantile(x, [tail, 1 - tail])
    return _with_zero(low, high)


def mean_squared_error(x: Rows) -> Range:
    """The part of min-max whose rounding and cutting together give the least mean squared error."""
    low, high = min_max(x)
    shares = np.linspace(1.0, 0.3, 36)
    errors = [float(np.square(fake(x, share * low, share * high) - x).mean()) for share in shares]
    share = float(shares[int(np.argmin(errors))])
    return _with_zero(share * low, share * high)


def entropy(x: Rows, bins: int = 2048) -> Range:
    """The part of min-max whose 128 steps keep the distribution: the least Kullback-Leibler divergence of the
    histogram, tails moved to its ends, from itself in steps (Migacz, "8-bit inference with TensorRT", 2017)."""
    low, high = min_max(x)
    counts, edges = np.histogram(x, bins=bins, range=(low, high))
    found: list[tuple[float, Range]] = []
    for share in np.linspace(1.0, 0.3, 36):
        ends = share * low, share * high
        inside = np.flatnonzero((edges[1:] > ends[0]) & (edges[:-1] < ends[1]))
        if len(inside) < LEVELS + 1:
            break
        p = counts[inside].astype(np.float64)
        cut = p.copy()
        p[0] += counts[: inside[0]].sum()
        p[-1] += counts[inside[-1] + 1 :].sum()
        step = np.minimum(np.arange(len(inside)) * (LEVELS + 1) // len(inside), LEVELS)
        filled = np.bincount(step, cut > 0, LEVELS + 1)
        q = np.where(cut > 0, (np.bincount(step, cut, LEVELS + 1) / np.maximum(filled, 1))[step], 0)
        p, q = p / p.sum(), (q + 1e-10) / (q + 1e-10).sum()
        found.append((float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum()), (float(ends[0]), float(ends[1]))))
    return _with_zero(*min(found)[1]) if found else (low, high)


OBSERVERS: dict[str, Callable[[Rows], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}


# What a model does with calibration data ----------------------------------------------------------------------------


def outputs(file: ModelFile, batches: Iterable[Batch]) -> list[Rows]:
    """The real rows of what a model says to each batch."""
    from claude_flow import _core

    model = _core.Model(np.asarray(file.program, np.int32), [file.tensors[name] for name in file.program_tensors])
    return [_real(file, file.parse().target, model.run(x, lengths), lengths) for x, lengths in batches]


def values(file: ModelFile, wanted: Iterable[int], batches: Sequence[Batch]) -> dict[int, list[Rows]]:
    """value of the program -> its real rows in each batch."""
    found: dict[int, list[Rows]] = {}
    inputs = file.parse().inputs
    for value in wanted:
        if value in inputs:
            given = [np.asarray(x if len(inputs) == 1 else x[inputs.index(value)], np.float32) for x, _ in batches]
            found[value] = [_real(file, value, y, lengths) for y, (_, lengths) in zip(given, batches, strict=True)]
        else:
            found[value] = outputs(probe.cut(file, value), batches)
    return found


def decibels(y: Sequence[Rows], reference: Sequence[Rows]) -> float:
    """Signal to noise of ``y``, in the batch where it is least."""
    worst = np.inf
    for ours, theirs in zip(y, reference, strict=True):
        noise, signal = np.square(ours - theirs, dtype=np.float64).mean(), np.square(theirs, dtype=np.float64).mean()
        worst = min(worst, 10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)))
    return float(worst)


def _lengthened(file: ModelFile, batches: Sequence[Batch]) -> list[Batch]:
    """Batches of other lengths out of the same tokens: items cut, or joined to longer ones, up to the longest."""
    program = file.parse()
    most = program.most_tokens(program.source)
    if len(program.inputs) > 1 or program.values[program.source][0] == PER_ITEM:
        return []
    tokens = np.concatenate([_real(file, program.source, np.asarray(x, np.float32), n) for x, n in batches])
    found: list[Batch] = []
    for length in sorted({min(length, most) for length in (*_LENGTHS, most)}):
        count = max(1, _ROWS // length)
        places = np.linspace(0, len(tokens), count, endpoint=False).astype(np.int64)
        index = (places[:, None] + np.arange(length)) % len(tokens)
        found.append((np.ascontiguousarray(tokens[index]), None))
    return found


def static(file: ModelFile, batches: Sequence[Batch], observer: str = "auto") -> dict[int, Rows]:
    """Value -> ``[low, high]``, of those values that one range serves; see :mod:`claude_flow.modelfile.quantize`.

    ``batches``: representative inputs. Each value gets the range of ``observer``, by default of the one with the least
    error at the worst length. Values are then taken in the order of what their one range costs, as many as keep the
    model's output within 0.7 dB of what ranges row by row give, at every length.
    """
    varied = [*batches, *_lengthened(file, batches)]
    wanted = sorted({o["source"] for code, o in file.parse().ops if code.int8 and "range" in code.int8.operands})
    chosen: list[tuple[float, int, Rows]] = []
    for value, seen in values(file, wanted, varied).items():
        natural = _sample(np.concatenate(seen[: len(batches)]))
        several = [_sample(x) for x in ([natural, *seen[len(batches) :]])]
        usual = [float(np.square(by_row(x) - x).mean()) + 1e-30 for x in several]
        tried = []
        for name in [observer] if observer != "auto" else OBSERVERS:
            low, high = OBSERVERS[name](natural)
            cost = max(
                float(np.square(fake(x, low, high) - x).mean()) / least for x, least in zip(several, usual, strict=True)
            )
            tried.append((cost, (low, high)))
        cost, bounds = min(tried)
        chosen.append((cost, value, np.array(bounds, np.float32)))
    chosen.sort(key=lambda entry: entry[:2])
    reference = outputs(file, varied)
    floor = decibels(outputs(quantize(file), varied), reference) - _BUDGET
    fits, fails = 0, len(chosen) + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        ranges = {value: bounds for _, value, bounds in chosen[:middle]}
        if decibels(outputs(quantize(file, ranges), varied), reference) >= floor:
            fits = middle
        else:
            fails = middle
    return {value: bounds for _, value, bounds in chosen[:fits]}


def _real(file: ModelFile, value: int, y: Rows, lengths: Any) -> Rows:
    """The rows of a value that are no padding: [items, tokens, width] to [rows, width]."""
    if y.ndim == 2:
        return y
    if isinstance(lengths, Sequence):  # those of the value's axis
        program = file.parse()
        axis = program.values[value][0]
        lengths = next(n for n, v in zip(lengths, program.inputs, strict=True) if program.values[v][0] == axis)
    if lengths is None:
        return y.reshape(-1, y.shape[2])
    real: Rows = y[np.arange(y.shape[1]) < np.asarray(lengths)[:, None]]
    return real


def _sample(x: Rows) -> Rows:
    return x if len(x) <= _MOST_ROWS else x[np.linspace(0, len(x), _MOST_ROWS, endpoint=False).astype(np.int64)]
