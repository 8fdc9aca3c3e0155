"""The list of ops is typed once in Python and once in C++, and the two say the same; so does every other reader."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from claude_flow.modelfile.ops import TENSORS, VALUES, Activation, Op

ROOT = Path(__file__).parents[2]


def test_both_lists_name_the_same_ops() -> None:
    rows = re.findall(r"^OP\((\d+), (\w+), ([^)]*)\)$", (ROOT / "cpp/ops/ops.inc").read_text(), re.MULTILINE)
    cpp = {int(code): (name.upper(), tuple(operands.split(", "))) for code, name, operands in rows}
    assert cpp == {op.value: (op.name, op.operands) for op in Op}
    assert len(cpp) == len(rows)
    for _, name, _ in rows:
        assert (ROOT / f"cpp/ops/{name}.cpp").is_file()


def test_both_lists_name_the_same_activations() -> None:
    text = (ROOT / "cpp/include/claude_flow.h").read_text()
    body = text[text.index("typedef enum cf_activation_code {") : text.index("} cf_activation_code;")]
    codes = {name: int(code) for name, code in re.findall(r"CF_(\w+) = (\d+)", body)}
    assert codes == {code.name: code.value for code in Activation}


def test_the_format_page_has_every_op_with_its_operands() -> None:
    page = (ROOT / "docs/model_format.md").read_text()
    rows = re.findall(r"^\| (\d+) (\w+) \| ([^|]*) \|", page, re.MULTILINE)
    without_shapes = [(int(code), name, re.sub(r"`[^`]*`|I8", "", operands)) for code, name, operands in rows]
    listed = {code: (name, tuple(re.findall(r"\w+", operands))) for code, name, operands in without_shapes}
    assert listed == {op.value: (op.name, op.operands) for op in Op}


def test_javascript_names_the_op_that_it_looks_for() -> None:
    text = (ROOT / "emscripten/attention.mjs").read_text()
    assert int(re.search(r"^const ATTENTION = (\d+);", text, re.MULTILINE)[1]) == Op.ATTENTION


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name)
def test_a_row_is_whole(op: Op) -> None:
    assert {"source", "target"} <= set(op.operands)
    assert len(set(op.operands)) == len(op.operands)
    tensors = TENSORS & set(op.operands)
    assert set(op.matrices) <= tensors
    assert set(op.by_column) <= tensors
    assert set(op.scales) <= (set(op.matrices) if op.bits != 4 else tensors)  # the engine packs those of 4 bits
    assert (op.bits < 32) == bool(op.scales)
    assert set(op.scales.values()) <= tensors
    assert not VALUES & TENSORS
    if op.int8 is not None:
        assert set(op.int8.scales) == set(op.matrices) == set(op.int8.matrices)
        more = set(op.int8.operands) - set(op.operands)
        assert more == set(op.int8.scales.values()) | ({"range"} & more)
        assert set(op.operands) <= set(op.int8.operands)
        assert op.int4 is not None
        assert (op.int4.operands, op.int4.scales) == (op.int8.operands, op.int8.scales)
        assert (op.int8.bits, op.int4.bits, op.int4.matrices) == (8, 4, {})


def test_every_op_has_a_reference_and_cases() -> None:
    pytest.importorskip("torch", reason="the reference needs the extra: pip install 'claude-flow[train]'")
    from claude_flow.evaluate import components, reference

    assert set(reference.OPS) == set(Op)
    assert len(reference.ACTIVATIONS) == len(Activation) - 1  # EXP is no program's
    parts = [part for name, part in components.components().items() if not name.endswith("-network")]
    cases = [case for part in parts for case in part.cases(np.random.default_rng(0))]
    assert {code for case in cases for code, _ in case.program.ops} == set(Op)
