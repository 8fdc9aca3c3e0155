"""4-bit weights: the file's form and the engine's, bit for bit on every instruction set, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import claude_flow as cf
from claude_flow import _core, modelfile
from claude_flow.errors import InputError
from claude_flow.modelfile import ABSENT, PER_ITEM, ModelFile, Op, Program
from claude_flow.modelfile.quantize import GROUP, dequantize, in_four_bits, integers, on_grid, products, quantize


def _model(width: int = 33, depth: int = 67, rows: int = 5) -> tuple[ModelFile, NDArray[np.float32]]:
    rng = np.random.default_rng(width)
    program = Program(max_tokens=1)
    x, y = program.input(PER_ITEM, depth), program.value(PER_ITEM, width)
    places = {"weight": program.tensor("w"), "bias": program.tensor("b")}
    program.op(Op.LINEAR, source=x, target=y, column=0, **places, residual=ABSENT, activation=0)
    program.target = y
    tensors = {"w": rng.standard_normal((width, depth)).astype(np.float32), "b": np.ones(width, np.float32)}
    made = ModelFile("toy", {}, program.words(), program.tensors, tensors)
    return made, rng.standard_normal((rows, depth)).astype(np.float32)


def test_the_file_holds_half_bytes_and_reads_back(tmp_path: Path) -> None:
    file, x = _model()
    made = quantize(file, four=products(file))
    path = tmp_path / "m.safetensors"
    modelfile.write(path, made)
    read = modelfile.read(path)
    assert read.precision == "int4"
    assert (read.tensors["w"].dtype, read.tensors["w"].shape) == (np.int8, (33, 34))
    assert modelfile.mapped(path)["w.scale"].dtype == np.float16
    np.testing.assert_array_equal(read.tensors["w.scale"], made.tensors["w.scale"])
    np.testing.assert_array_equal(dequantize(read)["w"], on_grid(file.tensors["w"], 4))
    tensors = [read.tensors[name] for name in read.program_tensors]
    answers = [_core.Model(np.array(read.program, np.int32), tensors, isa).run(x) for isa in cf.engine.available()]
    assert all(np.array_equal(y.view(np.int32), answers[0].view(np.int32)) for y in answers)
    # Beside float64 on what the integers stand for, rows in 7 bits.
    step = (x.max(1) - x.min(1)) / 127
    largest = 0.5 * step[:, None] * np.abs(on_grid(file.tensors["w"], 4)).sum(1)
    exact = x.astype(np.float64) @ on_grid(file.tensors["w"], 4).T + 1
    assert (np.abs(answers[0] - exact) <= largest + 1e-4).all()


def test_what_lies_on_the_grid_stays() -> None:
    weight = np.random.default_rng(0).standard_normal((9, 2 * GROUP + 3)).astype(np.float32)
    weight[3, :GROUP] = 0
    once = on_grid(weight, 4)
    np.testing.assert_array_equal(on_grid(once, 4), once)
    q, scale = in_four_bits(weight)
    assert np.abs(q).max() == 7
    assert scale.shape == (9, 3)
    np.testing.assert_array_equal(scale, scale.astype(np.float16))
    pairs, _ = integers(4, weight)
    assert pairs.shape == (9, GROUP + 2)
    plain = np.abs(weight[:, :GROUP]).max(1, keepdims=True) / 7  # the whole range, as 8 bits take it
    whole = np.rint(weight[:, :GROUP] / np.where(plain > 0, plain, 1)) * plain
    errors = [np.square(made[:, :GROUP] - weight[:, :GROUP]).sum(1) for made in (once, whole)]
    assert (errors[0] <= errors[1] * 1.001).all()
    assert errors[0].sum() < errors[1].sum()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file, _ = _model()
    made = quantize(file, four=products(file))
    for name, tensor, says in (
        ("w", np.zeros((33, 67), np.int8), "dimension 1 is 67, not 34"),
        ("w.scale", np.zeros((33, 3), np.float32), "dimension 1 is 3, not 2"),
    ):
        tensors = [tensor if other == name else made.tensors[other] for other in made.program_tensors]
        with pytest.raises(ValueError, match=says):
            _core.Model(np.array(made.program, np.int32), tensors, "auto")
    made.precision = "int8"
    modelfile.write(tmp_path / "m.safetensors", made)
    with pytest.raises(InputError, match="its precision is 'int8', its program's 'int4'"):
        modelfile.read(tmp_path / "m.safetensors")
