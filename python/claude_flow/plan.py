"""The op plan: products that read the same rows as one op, or apart. Either way every column is the same sum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from claude_flow.layout import unpack
from claude_flow.modelfile import ModelFile
from claude_flow.program import ABSENT, TENSORS, Op, Program

__all__ = ["fuse", "split"]

_PRODUCTS = (Op.LINEAR, Op.LINEAR_I8)
#: Operands that have a row, or an entry, per column of the result.
_BY_COLUMN = ("weight", "scale", "bias")


def fuse(file: ModelFile) -> ModelFile:
    """Products side by side, that read the same value and write neighbouring columns of another, as one: the rows cross
    the cache once, and no tile is left half empty between them."""
    program, tensors, result = _parts(file)
    for code, o in program.ops:
        before = result.ops[-1] if result.ops else None
        operands = dict(o)
        if before is None or not _side_by_side(before, (code, operands), result, tensors):
            result.op(code, **operands)
            continue
        merged = before[1]
        for key in _BY_COLUMN:
            if merged.get(key, ABSENT) != ABSENT:
                names = [result.tensors[operand[key]] for operand in (merged, operands)]
                tensors["+".join(names)] = np.concatenate([tensors[name] for name in names])
                merged[key] = result.tensor("+".join(names))
    return _file(file, result, tensors)


def split(file: ModelFile) -> ModelFile:
    """The products that make an attention's q, k and v as three, each a value's third: the inverse of :func:`fuse`."""
    program, tensors, result = _parts(file)
    attended = {o["source"] for code, o in program.ops if code is Op.ATTENTION}
    for code, o in program.ops:
        operands = dict(o)
        width = program.values[o["target"]][1]
        whole = code in _PRODUCTS and len(tensors[program.tensors[o["weight"]]]) == width
        if not (whole and o["target"] in attended and o["residual"] == ABSENT):
            result.op(code, **operands)
            continue
        for i, letter in enumerate("qkv"):
            part, rows = dict(operands, column=i * width // 3), slice(i * width // 3, (i + 1) * width // 3)
            for key in _BY_COLUMN:
                if part.get(key, ABSENT) != ABSENT:
                    name = result.tensors[operands[key]]
                    tensors[f"{name}.{letter}"] = tensors[name][rows]
                    part[key] = result.tensor(f"{name}.{letter}")
            result.op(code, **part)
    return _file(file, result, tensors)


def _parts(file: ModelFile) -> tuple[Program, dict[str, Any], Program]:
    """The program, the tensors, and an empty program of the same values and tensor ids."""
    program = Program.parse(file.program, file.program_tensors)
    result = Program(
        program.max_tokens, program.source, program.target, list(program.values), [], list(program.tensors)
    )
    return program, dict(unpack(file).tensors), result


def _side_by_side(
    before: tuple[Op, dict[str, int]], after: tuple[Op, dict[str, int]], program: Program, tensors: dict[str, Any]
) -> bool:
    (code, a), (other, b) = before, after
    if code is not other or code not in _PRODUCTS or a["residual"] != ABSENT or b["residual"] != ABSENT:
        return False
    if any(a.get(key) != b.get(key) for key in ("source", "target", "activation", "range")):
        return False
    if (a["bias"] == ABSENT) != (b["bias"] == ABSENT):
        return False
    return b["column"] == a["column"] + len(tensors[program.tensors[a["weight"]]])


def _file(file: ModelFile, program: Program, tensors: dict[str, Any]) -> ModelFile:
    """With the tensors that the new plan reads in place of those that only the old one read."""
    tight = Program(program.max_tokens, program.source, program.target, program.values)
    for code, o in program.ops:
        named = {key: program.tensors[v] for key, v in o.items() if key in TENSORS and v != ABSENT}
        tight.op(code, **(o | {key: tight.tensor(name) for key, name in named.items()}))
    others = {name: t for name, t in tensors.items() if name in file.tensors and name not in file.program_tensors}
    used = {name: tensors[name] for name in tight.tensors}
    return replace(file, program=tight.words(), program_tensors=tight.tensors, tensors=used | others)
