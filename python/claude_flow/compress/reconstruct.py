"""After units have left a network: its linear layers, refitted so that each says what it said before.

Layer by layer, in the order of the program, W' and b' minimize |W x + b - W' x' - b'|² over calibration rows, where x
is what the layer read in the parent and x' what it reads now: so a layer also makes up for those before it. The ridge
keeps W' near the weights that are left (sequential least squares as in He et al., "Channel pruning", 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from claude_flow.modelfile import ABSENT, ModelFile, Op
from claude_flow.modelfile.ranges import Batch, Rows, values

__all__ = ["refitted"]

_RIDGE = 1e-2  # of the mean square of what a layer reads
_MOST_ROWS = 8192


def refitted(
    parent: ModelFile, pruned: ModelFile, rows: Mapping[str, NDArray[np.intp]], batches: Sequence[Batch]
) -> ModelFile:
    """``pruned`` with refitted linear layers.

    ``rows``: weight -> the rows of it that are left; those not named have all of theirs. Both programs have the same
    ops in the same order.
    """
    before, after = (file.parse() for file in (parent, pruned))
    tensors = dict(pruned.tensors)
    linear = [index for index, (code, _) in enumerate(after.ops) if code is Op.LINEAR]
    read = values(parent, {before.ops[index][1]["source"] for index in linear}, batches)
    for index in linear:
        theirs, ours = before.ops[index][1], after.ops[index][1]
        if ours["bias"] == ABSENT and theirs["source"] == before.inputs[0]:
            continue  # nothing before it has changed
        x = _rows(read[theirs["source"]])
        new = _rows(values(replace(pruned, tensors=tensors), {ours["source"]}, batches)[ours["source"]])
        name = before.tensors[theirs["weight"]]
        left = rows.get(name, np.arange(len(parent.tensors[name])))
        wanted = x @ parent.tensors[name][left].T
        weight, bias = tensors[name], np.float32(0)
        if ours["bias"] != ABSENT:
            wanted += parent.tensors[before.tensors[theirs["bias"]]][left]
            bias = tensors[after.tensors[ours["bias"]]]
            new = np.concatenate([new, np.ones((len(new), 1), np.float32)], axis=1)
            weight = np.concatenate([weight, bias[:, None]], axis=1)
        gram = (new.T @ new).astype(np.float64)
        ridge = _RIDGE * np.trace(gram) / len(gram)
        moved = np.linalg.solve(
            gram + ridge * np.eye(len(gram)), (new.T @ (wanted - new @ weight.T)).astype(np.float64)
        )
        weight = (weight + moved.T).astype(np.float32)
        if ours["bias"] != ABSENT:
            weight, tensors[after.tensors[ours["bias"]]] = weight[:, :-1], np.ascontiguousarray(weight[:, -1])
        tensors[name] = np.ascontiguousarray(weight)
    return replace(pruned, tensors=tensors)


def _rows(parts: Sequence[Rows]) -> Rows:
    x = np.concatenate(parts)
    return x if len(x) <= _MOST_ROWS else x[np.linspace(0, len(x), _MOST_ROWS, endpoint=False).astype(np.int64)]
