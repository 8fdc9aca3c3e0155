"""Learned rounding: each weight goes up or down as the layer's output wants it, not to the nearest.

Of a layer W and the rows x that it reads, E = W' - W is to make tr(E G E^T) small, with G = x^T x (the objective of
AdaRound, Nagel et al. 2020). It is solved by coordinate descent: column by column every row's weight takes the integer
that is best beside all others, which costs one update of E G and never makes the sum larger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from claude_flow.modelfile import ModelFile, Op
from claude_flow.modelfile.quantize import GROUP, in_four_bits, rounded
from claude_flow.modelfile.ranges import Batch, Rows, by_row, fake, values

__all__ = ["learned"]

_SWEEPS = 2  # a third one changes hardly a weight
_MOST_ROWS = 4096
_RIDGE = 1e-3  # of the mean of G's diagonal: columns that were always 0 keep their nearest weights


def learned(
    file: ModelFile, batches: Sequence[Batch], ranges: Mapping[int, Rows], four: Collection[str] = ()
) -> ModelFile:
    """The float model whose weights lie on the grid of their bits already, so that
    :func:`claude_flow.modelfile.quantize.quantize` with the same ``ranges`` and ``four`` finds what was learned."""
    program, tensors = file.parse(), dict(file.tensors)
    layers = [(code, o) for code, o in program.ops if code.int8]
    read = {o["source"] for _, o in layers} | {o["target"] for code, o in layers if code is Op.LSTM}
    seen = {value: _sample(np.concatenate(rows)) for value, rows in values(file, sorted(read), batches).items()}
    grams: dict[tuple[int, bool], Rows] = {}
    done = set()
    for code, o in layers:
        names = program.tensor_names(o)
        small = code.int4 if names["weight"] in four else code.int8
        assert small is not None
        for key in small.scales:
            if names[key] in done:
                continue
            done.add(names[key])
            value = o["source" if key == "weight" else "target"]  # an LSTM's recurrent weights read what it says
            bounds = ranges.get(value) if code is Op.LINEAR else None
            place = value, bounds is not None
            if place not in grams:
                x = by_row(seen[value]) if bounds is None else fake(seen[value], bounds[0], bounds[1])
                grams[place] = x.T @ x / np.float32(len(x))
            tensors[names[key]] = _descend(np.asarray(tensors[names[key]], np.float32), grams[place], small.bits)
    return replace(file, tensors=tensors)


def _descend(weight: Rows, gram: Rows, bits: int) -> Rows:
    if bits == 4:
        q, groups = in_four_bits(weight)
        most, scale = 7, np.repeat(groups, GROUP, axis=1)[:, : weight.shape[1]]
    else:
        q, rows = rounded(weight)
        most, scale = 127, np.broadcast_to(rows[:, None], weight.shape)
    steps = q.astype(np.float32)
    fixed = np.abs(steps) == most  # they hold the scale
    gram = gram + np.eye(len(gram), dtype=np.float32) * np.float32(_RIDGE * max(np.trace(gram) / len(gram), 1e-30))
    error = steps * scale - weight
    product = error @ gram
    for _ in range(_SWEEPS):
        for k in range(weight.shape[1]):
            best = error[:, k] - product[:, k] / gram[k, k]  # of this column's errors, the others as they are
            new = np.clip(np.rint((best + weight[:, k]) / scale[:, k]), -most, most)
            new = np.where(fixed[:, k], steps[:, k], new)
            moved = (new - steps[:, k]) * scale[:, k]
            where = np.flatnonzero(moved)
            if len(where):
                product[where] += moved[where, None] * gram[k]
                error[where, k] += moved[where]
                steps[where, k] = new[where]
    return np.ascontiguousarray(steps * scale, np.float32)


def _sample(x: Rows) -> Rows:
    return x if len(x) <= _MOST_ROWS else x[np.linspace(0, len(x), _MOST_ROWS, endpoint=False).astype(np.int64)]
