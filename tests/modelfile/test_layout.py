"""Prepacked model files: the same answers as plain ones on every instruction set, in place; hostile ones refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import claude_flow as cf
from claude_flow import _core, engine, export, modelfile, nets
from claude_flow.errors import InputError
from claude_flow.modelfile import Op, fuse, layout
from claude_flow.modelfile.quantize import quantize

# Widths that fill no tile, no block of units and no group of four.
CONFIGS = {
    "coordination": {"width": 30, "heads": 3, "feed_forward": [37, 50], "output_width": 18},
    "optimization": {"hidden": [33, 70, 33]},
    "prediction": {"width": 19, "layers": 2},
}
SHAPES = {"coordination": (3, 9, 512), "optimization": (5, 256), "prediction": (3, 7, 128)}
ISAS = engine.available()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder, found = tmp_path_factory.mktemp("plain"), {}
    for network, config in CONFIGS.items():
        torch.manual_seed(0)
        found[network, "fp32"] = folder / f"{network}.safetensors"
        export.save(nets.create(network, config).eval(), found[network, "fp32"])
        found[network, "int8"] = folder / f"{network}-int8.safetensors"
        modelfile.write(found[network, "int8"], quantize(modelfile.read(found[network, "fp32"])))
    return found


def _layout(isa: str) -> layout.Layout:
    return layout.Layout(isa, *_core.layout(isa))


def _packed(plain: Path, isa: str, path: Path, alignment: int = 64) -> Path:
    modelfile.write(path, layout.pack(modelfile.read(plain), _layout(isa)), alignment)
    return path


def _input(network: str) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(SHAPES[network]).astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("network", CONFIGS)
def test_the_same_bits_without_packing_at_load(plain, network, precision, isa, tmp_path):
    source = plain[network, precision]
    packed = _packed(source, isa, tmp_path / "m.safetensors")
    old, new = cf.load(source, isa=isa), cf.load(packed)
    assert new.isa == isa  # what the file was made for, where the caller leaves it open
    x = _input(network)
    assert np.array_equal(old.run(x), new.run(x))
    assert 4 * new.packed_bytes < old.packed_bytes  # biases, scales and sums are left
    # Elsewhere it is packed anew.
    for other in ISAS:
        again = cf.load(packed, isa=other)
        assert np.array_equal(again.run(x), cf.load(source, isa=other).run(x))
        same_order = _core.layout(other) == _core.layout(isa)
        assert (again.packed_bytes == new.packed_bytes) == same_order


def test_every_reader_of_files_gets_the_matrices_back(plain, tmp_path):
    for (network, precision), source in plain.items():
        packed = _packed(source, ISAS[-1], tmp_path / f"{network}-{precision}.safetensors")
        before, after = modelfile.read(source), modelfile.read(packed)
        assert before.program == after.program
        assert before.tensors.keys() == after.tensors.keys()
        for name, tensor in before.tensors.items():
            assert np.array_equal(tensor, after.tensors[name]), name
        if precision == "fp32":
            x = _input(network)
            assert np.abs(cf.load(packed, backend="torch").run(x) - cf.load(source).run(x)).max() < 1e-4
            assert np.array_equal(cf.load(packed, precision="int8").run(x), cf.load(plain[network, "int8"]).run(x))


@pytest.mark.parametrize("alignment", [8, 16, 32, 64])
def test_weights_begin_at_multiples_of_the_alignment(plain, alignment, tmp_path):
    isa = next((isa for isa in ("avx2", "avx512") if isa in ISAS), None)
    if isa is None:
        pytest.skip("this CPU has no AVX2")
    path = _packed(plain["prediction", "int8"], isa, tmp_path / "m.safetensors", alignment)
    with safe_open(path, framework="numpy") as file:  # any reader of safetensors takes it
        header = json.loads(file.metadata()["claude_flow"])
        assert len(list(file.keys())) == len(modelfile.read(path).tensors)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])
    for name in header["layout"]["matrices"]:
        assert (start + entries[name]["data_offsets"][0]) % alignment == 0


def test_fused_or_apart_the_sums_are_the_same(plain, tmp_path):
    for (network, precision), source in plain.items():
        whole = modelfile.read(source)
        apart = fuse.split(whole)
        again = fuse.fuse(apart)
        attentions = sum(code is Op.ATTENTION for code, _ in whole.parse().ops)
        counts = [len(f.parse().ops) for f in (whole, apart, again)]
        assert counts == [counts[0], counts[0] + 2 * attentions, counts[0]]
        x, answers = _input(network), []
        for i, file in enumerate((whole, apart, again)):
            path = tmp_path / f"{network}-{precision}-{i}.safetensors"
            modelfile.write(path, file)
            answers.append(cf.load(path).run(x))
        assert np.array_equal(answers[0], answers[2])
        if precision == "int8":
            assert np.array_equal(answers[0], answers[1])
        else:
            assert np.abs(answers[0] - answers[1]).max() <= 1e-5 * np.abs(answers[0]).max()


# Hostile files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(plain, tmp_path_factory) -> Path:
    return _packed(plain["prediction", "int8"], ISAS[-1], tmp_path_factory.mktemp("packed") / "m.safetensors")


def _changed(packed: Path, path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """A file whose layout, and list of tensors, ``change`` has altered."""
    content = packed.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])
    header = json.loads(entries["__metadata__"]["claude_flow"])
    change(header, entries)
    entries["__metadata__"]["claude_flow"] = json.dumps(header)
    head = json.dumps(entries).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + content[start:])
    return path


def _refused(path: Path, word: str) -> None:
    with pytest.raises(InputError) as caught:
        cf.load(path)
    assert word in str(caught.value), str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda stored: stored.update(tile_columns=0), "has panels of 0"),
        (lambda stored: stored.update(tile_columns=True), "has panels of True"),
        (lambda stored: stored.update(lstm_units=2**40), "blocks of 1099511627776"),
        (lambda stored: stored.update(tile_columns=stored["tile_columns"] // 2), "wants"),
        (lambda stored: stored.update(isa=3), "names no instruction set"),
        (lambda stored: stored.update(matrices=[]), "lists no matrices"),
        (lambda stored: stored.pop("isa"), "is not isa"),
        (lambda stored: stored["matrices"].update(nothing=[1, 1]), "'nothing', which is no weight"),
        (lambda stored: stored["matrices"].update({"members.0.head.bias": [1, 1]}), "which is no weight"),
        (lambda stored: stored["matrices"].update({"members.0.head.weight": [10**9, 10**9]}), "the shape"),
        (lambda stored: stored["matrices"].update({"members.0.head.weight": [64, -1]}), "the shape"),
        (lambda stored: stored["matrices"].update({"members.0.head.weight": [63, 38]}), "pads"),
        (lambda stored: stored["matrices"].pop("members.0.head.weight"), "dimensions"),
    ],
)
def test_a_layout_that_does_not_hold_is_refused(packed, tmp_path, change, word):
    path = _changed(packed, tmp_path / "bad.safetensors", lambda header, _: change(header["layout"]))
    _refused(path, word)


def test_padding_that_would_enter_sums_is_refused(packed, tmp_path):
    file = modelfile.read(packed, memory_mapping=False, packed=True)
    name = next(n for n, t in file.tensors.items() if isinstance(t, layout.Packed) and t.columns % 4)
    data = file.tensors[name].data.copy()
    data[0, -1, 0, 3] = 1
    tensors = file.tensors | {name: layout.Packed(data, *list(vars(file.tensors[name]).values())[1:])}
    path = tmp_path / "bad.safetensors"
    modelfile.write(path, modelfile.ModelFile(**vars(file) | {"tensors": tensors}))
    _refused(path, "pads")


def test_the_engine_itself_counts_the_bytes():
    program = np.array([1, 2, 1, 0, 1, 1, 0, 3, 0, 2, 1, 7, 0, 1, 0, 0, -1, -1, 1], np.int32)
    columns, _ = _core.layout("auto")
    for size in (1, 3 * columns - 1, 3 * columns + 1):
        with pytest.raises(ValueError, match="is packed into"):
            _core.Model(program, [(np.ones(size, np.float32), 2, 3)])
    with pytest.raises(ValueError, match="packed elements are"):
        _core.Model(program, [(np.ones((3, columns), np.float32), 2, 3)])
    panel = np.zeros((3, columns), np.float32)
    panel[:, 0], panel[:, 1] = [1, 0, 0], [0, -1, 0]
    model = _core.Model(program, [(panel.reshape(-1), 2, 3)])
    del panel
    assert model.run(np.array([[4, 5, 6]], np.float32)).tolist() == [[4, 0]]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_refused_or_run(packed, tmp_path, data):
    """Numbers of the layout and of the tensors' shapes replaced at random, bytes flipped, ends cut off."""
    number = st.one_of(
        st.integers(-2, 130), st.integers(-(2**40), 2**40), st.none(), st.booleans(), st.text(max_size=3)
    )

    def alter(header: dict[str, Any], entries: dict[str, Any]) -> None:
        stored = header["layout"]
        for _ in range(data.draw(st.integers(1, 3))):
            where = data.draw(st.sampled_from(["tile_columns", "lstm_units", "matrices", "shape", "program"]))
            name = data.draw(st.sampled_from(sorted(stored["matrices"]) or ["members.0.head.weight"]))
            if where == "matrices":
                stored["matrices"][name] = [data.draw(number), data.draw(number)]
            elif where == "shape":
                entries[name]["shape"] = data.draw(st.permutations(entries[name]["shape"]))
            elif where == "program":
                header["program"][data.draw(st.integers(0, len(header["program"]) - 1))] = data.draw(
                    st.integers(-2, 99)
                )
            else:
                stored[where] = data.draw(number)

    path = _changed(packed, tmp_path / "fuzzed.safetensors", alter)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    with contextlib.suppress(InputError):
        model = cf.load(path)
        model.run(np.ones((1, 2, model._runner.input_width), np.float32))
