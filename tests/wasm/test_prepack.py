"""Prepacked models under wasmtime and Node, from the command that makes them to the measured result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import _core, modelfile, wasm
from claude_flow.compress import prepack
from claude_flow.measure import simd
from claude_flow.modelfile import PER_ITEM, layout
from claude_flow.wasm.modules import ISAS, module_path


def _input(path: Path) -> Any:
    """Two items of five tokens for a model; a list of arrays for one of several inputs."""
    program, rng = modelfile.read(path).parse(), np.random.default_rng(2)
    shapes = [
        (2, width) if rows == PER_ITEM else (2, 5, width)
        for rows, width in map(program.values.__getitem__, program.inputs)
    ]
    xs = [rng.standard_normal(shape, np.float32) for shape in shapes]
    return xs if len(xs) > 1 else xs[0]


@pytest.mark.parametrize("isa", ISAS)
def test_a_module_reads_what_was_packed_for_it(files, int8_files, isa, tmp_path):
    order = layout.Layout(isa, *wasm.layout(isa))
    for precision, paths in (("fp32", files), ("int8", int8_files)):
        for network, path in paths.items():
            packed = tmp_path / f"{network}-{precision}.safetensors"
            modelfile.write(packed, layout.pack(modelfile.read(path), order))
            new, old = cf.load(packed, backend="wasm"), cf.load(path, backend="wasm", isa=isa)
            assert new.isa == isa
            x = _input(path)
            assert np.array_equal(new.run(x), old.run(x))
            assert 4 * new.packed_bytes < old.packed_bytes
            assert new._runner.memory_bytes < old._runner.memory_bytes
            native = cf.load(packed).run(x)
            if precision == "int8":
                assert np.array_equal(native, new.run(x))


def test_the_commands_model_is_bundled_and_profiled(tmp_path):
    report = prepack.optimize_simd(
        Path(cf.registry.model_path("coordination-v3")), "web", "relaxed", 128, 32, "aggressive"
    )
    assert list(report["measured_ms"]) == list(ISAS)
    assert Path(report["module"]).read_bytes() == module_path(report["kernels"]).read_bytes()
    for made in ("web", prepack.optimize_simd(cf.registry.model_path("coordination-v3"), "native")["path"]):
        answer = simd.profile(cf.registry.model_path(made), metrics=["throughput", "operations"], seconds=0.1)
        assert [row["isa"] for row in answer["hosts"]] == list(ISAS)
        assert all(row["throughput"] > 0 and len(row["operations"]) == 10 for row in answer["hosts"])


def test_node_reads_them_in_place_or_says_what_for_they_are(node: Any, int8_files, tmp_path):
    source = int8_files["prediction"]
    x = _input(source)
    fitting, foreign = tmp_path / "simd128.safetensors", tmp_path / "other.safetensors"
    modelfile.write(fitting, layout.pack(modelfile.read(source), layout.Layout("simd128", *wasm.layout("simd128"))))
    modelfile.write(foreign, layout.pack(modelfile.read(source), layout.Layout("wide", 48, 24)))
    job = {"job": "run", "isa": "simd128", "shape": x.shape, "x": node.packed(x)}
    good, bad = node.ask(*(job | {"path": str(path)} for path in (fitting, foreign)))
    assert np.array_equal(node.unpacked(good["value"]["y"]), cf.load(source).run(x).ravel())
    assert "prepacked for panels of 48 and blocks of 24" in bad["error"]


def test_a_module_counts_the_bytes():
    program = np.array([1, 2, 1, 0, 1, 1, 0, 3, 0, 2, 1, 7, 0, 1, 0, 0, -1, -1, 1], np.int32)
    with pytest.raises(ValueError, match="is packed into"):
        wasm.Model(program, [(np.ones(5, np.float32), 2, 3)])
    assert _core.layout("scalar") != wasm.layout("simd128")
