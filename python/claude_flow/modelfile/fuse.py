"""The op plan: products that read the same rows as one op, or apart. Either way every column is the same sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.layout import unpack
from claude_flow.modelfile.ops import ABSENT, Op
from claude_flow.modelfile.program import Program

__all__ = ["fuse", "split"]


def fuse(file: ModelFile) -> ModelFile:
    """Products side by side, that read the same value and write neighbouring columns of another, as one: the rows cross
    the cache once, and no tile is left half empty between them."""
    program, tensors = file.parse(), dict(unpack(file).tensors)
    result = program.like()
    for code, o in program.ops:
        before = result.ops[-1] if result.ops else None
        operands = dict(o)
        if before is None or not _side_by_side(before, (code, operands), result, tensors):
            result.op(code, **operands)
            continue
        merged = before[1]
        for key in code.by_column:
            if merged[key] != ABSENT:
                names = [result.tensors[operand[key]] for operand in (merged, operands)]
                tensors["+".join(names)] = np.concatenate([tensors[name] for name in names])
                merged[key] = result.tensor("+".join(names))
    return file.rewritten(result, tensors)


def split(file: ModelFile) -> ModelFile:
    """The products that make an attention's q, k and v as three, each a value's third: the inverse of :func:`fuse`."""
    program, tensors = file.parse(), dict(unpack(file).tensors)
    result = program.like()
    attended = {o["source"] for code, o in program.ops if code is Op.ATTENTION}
    for code, o in program.ops:
        operands = dict(o)
        width = program.values[o["target"]][1]
        whole = bool(code.by_column) and len(tensors[program.tensors[o["weight"]]]) == width
        if not (whole and o["target"] in attended and o["residual"] == ABSENT):
            result.op(code, **operands)
            continue
        for i, letter in enumerate("qkv"):
            part, rows = dict(operands, column=i * width // 3), slice(i * width // 3, (i + 1) * width // 3)
            for key in code.by_column:
                if part[key] != ABSENT:
                    name = result.tensors[operands[key]]
                    tensors[f"{name}.{letter}"] = tensors[name][rows]
                    part[key] = result.tensor(f"{name}.{letter}")
            result.op(code, **part)
    return file.rewritten(result, tensors)


def _side_by_side(
    before: tuple[Op, dict[str, int]], after: tuple[Op, dict[str, int]], program: Program, tensors: dict[str, Any]
) -> bool:
    (code, a), (other, b) = before, after
    if code is not other or not code.by_column or a["residual"] != ABSENT:
        return False
    if any(a[key] != b[key] for key in code.operands if key != "column" and key not in code.by_column):
        return False
    if any((a[key] == ABSENT) != (b[key] == ABSENT) for key in code.by_column):
        return False
    return b["column"] == a["column"] + len(tensors[program.tensors[a["weight"]]])
