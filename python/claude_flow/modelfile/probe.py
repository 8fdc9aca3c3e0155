"""What a network computes on the way: a model cut at one of its values, and run up to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.layout import unpack

__all__ = ["cut", "run"]

_Batch = NDArray[np.float32] | Sequence[NDArray[np.float32]]


def cut(file: ModelFile, value: int) -> ModelFile:
    """The model that ends at ``value`` of its program: that is its output; what the way there does not need is gone.

    Values keep their ids, inputs their order. Tensors that no op names stay. Raises :class:`InputError` for an input
    and for what no op writes.
    """
    program = file.parse()
    needed, ops = {value}, []
    for code, operands in reversed(program.ops):
        if operands["target"] in needed:
            ops.append((code, operands))
            needed |= program.read_by(operands)
    if not ops or value in program.inputs:
        raise InputError(f"no op of the program computes value {value}: it cannot be cut there")
    part = program.like()
    part.target, part.ops = value, ops[::-1]
    return file.rewritten(part, dict(unpack(file).tensors))


def run(
    file: ModelFile,
    value: int,
    x: _Batch,
    lengths: NDArray[np.int32] | Sequence[NDArray[np.int32] | None] | None = None,
) -> NDArray[np.float32]:
    """``value`` of the model's program on a batch, by the native engine: ``[B, width]`` or ``[B, T, width]``.

    ``x`` and ``lengths`` as for :meth:`claude_flow.Model.run`; rows of padded tokens are 0. An input comes back as it
    is.
    """
    from claude_flow import _core

    inputs = [x] if isinstance(x, np.ndarray) else list(x)
    inputs = [np.ascontiguousarray(part, np.float32) for part in inputs]
    program = file.parse()
    if value in program.inputs:
        return inputs[program.inputs.index(value)]
    part = cut(file, value)
    model = _core.Model(np.asarray(part.program, np.int32), [part.tensors[name] for name in part.program_tensors])
    return model.run(inputs[0] if len(inputs) == 1 else inputs, lengths)
