"""Scale migration: columns of an activation that are far larger than the others are made smaller, and the weights that
read them larger, so that one range of 7 bits serves all columns. The float network computes the same.

Column j is divided by s_j = max|x_j|^a / max|W_j|^(1-a), where the op that makes it can take the division: a layer
norm, or a linear layer without activation or with ReLU (Xiao et al., "SmoothQuant", 2023, with a = 1/2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from claude_flow.modelfile import ABSENT, Activation, ModelFile, Op, Program
from claude_flow.modelfile.ops import VALUES
from claude_flow.modelfile.ranges import Batch, values

__all__ = ["migrated"]

_SHARE = 0.5  # a
_MOST = 1e3  # of a scale, either way


def migrated(file: ModelFile, batches: Sequence[Batch]) -> ModelFile:
    """``file`` with scales moved wherever they can be; ``file`` itself where they can nowhere."""
    program = file.parse()
    movable = _movable(program)
    if not movable:
        return file
    tensors = dict(file.tensors)
    seen = values(file, list(movable), batches)
    for value, (made, readers) in movable.items():
        x = np.abs(np.concatenate(seen[value])).max(axis=0)
        w = np.max([np.abs(tensors[program.tensors[o["weight"]]]).max(axis=0) for o in readers], axis=0)
        known = (x > 0) & (w > 0)
        scale = np.where(known, np.where(known, x, 1) ** _SHARE / np.where(known, w, 1) ** (1 - _SHARE), 1)
        scale = np.clip(scale / np.exp(np.log(scale).mean()), 1 / _MOST, _MOST).astype(np.float32)
        for key in ("weight", "bias"):
            if made[key] != ABSENT:
                name = program.tensors[made[key]]
                tensors[name] = (tensors[name].T / scale).T.astype(np.float32)
        for o in readers:
            name = program.tensors[o["weight"]]
            tensors[name] = (tensors[name] * scale).astype(np.float32)
    return replace(file, tensors={name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def _movable(program: Program) -> dict[int, tuple[dict[str, int], list[dict[str, int]]]]:
    """Values whose columns can be scaled: operands of the op that makes it, and of the linear layers that read it."""
    uses = Counter(name for _, o in program.ops for name in program.tensor_names(o).values())
    found: dict[int, tuple[dict[str, int], list[dict[str, int]]]] = {}
    for value in set(range(len(program.values))) - {program.target, *program.inputs}:
        makers = [(code, o) for code, o in program.ops if o["target"] == value]
        readers = [
            (code, key, o) for code, o in program.ops for key in VALUES - {"target"} if o.get(key, ABSENT) == value
        ]
        if len(makers) != 1 or not readers or not _takes_division(*makers[0]):
            continue
        if any(code is not Op.LINEAR or key != "source" for code, key, _ in readers):
            continue
        named = [name for o in (makers[0][1], *(o for _, _, o in readers)) for name in _scaled(program, o)]
        if all(uses[name] == 1 for name in named):
            found[value] = makers[0][1], [o for _, _, o in readers]
    return found


def _scaled(program: Program, operands: dict[str, int]) -> list[str]:
    return [name for key, name in program.tensor_names(operands).items() if key in ("weight", "bias")]


def _takes_division(code: Op, operands: dict[str, Any]) -> bool:
    """Whether dividing its weights' rows divides its output: s > 0, so ReLU lets it through."""
    if code is Op.LAYER_NORM:
        return True
    linear = code is Op.LINEAR and operands["residual"] == ABSENT
    return linear and operands["activation"] in (Activation.NONE, Activation.RELU)
