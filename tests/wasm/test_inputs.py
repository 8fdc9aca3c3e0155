"""A program of several inputs on the WebAssembly engine, under wasmtime and Node, as the native engine runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.several_inputs import ALONE, F32, FUSED, HISTORY, batch, close, wanted

import claude_flow as cf
from claude_flow import modelfile, wasm
from claude_flow.modelfile.quantize import quantize
from claude_flow.wasm.modules import ISAS

SIZES = [(1, 1, 1), (3, 9, 24), (70, 40, 24)]


def small(isa: str = "auto") -> wasm.Model:
    return wasm.Model(np.array(FUSED.words(), np.int32), [FUSED.arrays[name] for name in FUSED.tensors], isa)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("several")
    file = FUSED.file()
    for name, kind in (("fp32", file), ("int8", quantize(file))):
        modelfile.write(folder / f"{name}.safetensors", kind)
    return {name: folder / f"{name}.safetensors" for name in ("fp32", "int8")}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("items", "tokens", "records"), SIZES)
def test_wasmtime_computes_what_its_parts_compute(isa: str, items: int, tokens: int, records: int) -> None:
    x, lengths = batch(items, tokens, records)
    model = small(isa)
    assert model.inputs == FUSED.model().inputs
    for real in (None, lengths):
        close(model.run(x, real), wanted(x, real))
    assert [code for _, code, _ in model.profile(x, lengths)] == [code for code, _ in FUSED.ops]


@pytest.mark.parametrize("isa", ISAS)
def test_8_bits_are_the_same_bits_as_native(isa: str, paths: dict[str, Path]) -> None:
    x, lengths = batch(9, 20, 12)
    want, y = (cf.load(paths["int8"], backend=b, isa=i).run(x, lengths) for b, i in (("native", "auto"), ("wasm", isa)))
    assert np.array_equal(want.view(np.int32), y.view(np.int32))


def test_batches_larger_than_the_staging_memory() -> None:
    x, lengths = batch(5000, 40, 3)
    close(small().run(x, lengths), FUSED.model().run(x, lengths))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, n: (x[0], n),
        lambda x, n: (x, n[0]),
        lambda x, n: ([x[0], x[1][:, :, :5], x[2]], n),
        lambda x, n: ([x[0], None, x[2]], n),
        lambda x, n: ([x[0], x[1], x[2][:2]], n),
        lambda x, n: ([x[0], np.ones((3, 25, HISTORY), F32), x[2]], None),
        lambda x, n: (x, [n[0], n[1].astype(np.int64), None]),
        lambda x, n: (x, [n[0], n[1], n[0]]),
        lambda x, n: (x, [n[0], n[1] * 0, None]),
    ],
)
def test_wasmtime_refuses_what_native_refuses_in_the_same_words(change: Any) -> None:
    x, lengths = batch(3, 9, 8)
    said = []
    for model in (FUSED.model(), small()):
        with pytest.raises(ValueError, match=r".") as caught:
            model.run(*change(x, lengths))
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_node_computes_what_native_computes(node: Any, paths: dict[str, Path]) -> None:
    (has,) = node.ask({"job": "available"})
    jobs, want = [], []
    for precision, path in paths.items():
        native = cf.load(path)
        for items, tokens, records in SIZES:
            x, lengths = batch(items, tokens, records)
            for isa in has["value"]:
                for real in (None, lengths):
                    job = {"job": "several", "path": str(path), "isa": isa}
                    job |= {"x": [node.packed(part) for part in x], "shape": [part.shape for part in x]}
                    job |= {"lengths": [n if n is None else n.tolist() for n in real]} if real else {}
                    jobs.append(job)
                    want.append((precision, native.run(x, real)))
    jobs.append(jobs[0] | {"timed": True})
    *answers, times = node.ask(*jobs)
    for answer, (precision, y) in zip(answers, want, strict=True):
        got = node.unpacked(answer["value"]["y"]).reshape(y.shape)
        if precision == "int8":
            assert np.array_equal(got.view(np.int32), y.view(np.int32))
        close(got, y)
    axes = [tuple(row.values()) for row in answers[0]["value"]["inputs"]]
    assert axes == FUSED.model().inputs
    assert times["value"] == [code for code, _ in FUSED.ops]


def test_node_refuses_what_does_not_fit(node: Any, paths: dict[str, Path]) -> None:
    x, lengths = batch(3, 9, 8)
    whole = {"job": "several", "path": str(paths["fp32"]), "isa": "simd128"}
    whole |= {"x": [node.packed(part) for part in x], "shape": [list(part.shape) for part in x]}
    whole |= {"lengths": [n if n is None else n.tolist() for n in lengths]}
    changes: list[tuple[dict[str, Any], str]] = [
        ({"x": whole["x"][:2]}, "must be lists of 3"),
        ({"lengths": whole["lengths"][:1]}, "must be lists of 3"),
        ({"shape": [[3, 9, 24], [3, 8, 13], [3, 10]]}, "the shape of x[1] must be [items, tokens, 12]"),
        ({"shape": [[3, 9, 24], [3, 7, 12], [3, 10]]}, "x[1] must be a Float32Array of 252 numbers"),
        ({"x": [*whole["x"][:2], node.packed(x[2][:2])], "shape": [*whole["shape"][:2], [2, 10]]}, "x[2] has 2 items"),
        ({"lengths": [[1, 1], None, None]}, "lengths[0] must be an Int32Array"),
        ({"lengths": [None, [0, 1, 1], None]}, "input 1: lengths[0] is 0, not in 1..8"),
        ({"lengths": [None, None, [1, 1, 1]]}, "input 2: lengths given"),
    ]
    for (_, text), answer in zip(changes, node.ask(*(whole | change for change, _ in changes)), strict=True):
        assert text in answer["error"]


def test_one_part_alone_is_a_program_of_one_input() -> None:
    x, lengths = batch(3, 9, 8)
    for part in range(3):
        b = ALONE[part]
        model = wasm.Model(np.array(b.words(), np.int32), [b.arrays[name] for name in b.tensors])
        close(model.run(x[part], lengths[part]), b.model().run(x[part], lengths[part]))
