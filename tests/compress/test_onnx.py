"""The ONNX file of a quantized model: ONNX Runtime loads it, and says what the engine says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import modelfile
from claude_flow.compress import onnx
from claude_flow.modelfile import PER_ITEM
from claude_flow.modelfile.quantize import quantize
from claude_flow.modelfile.ranges import decibels, outputs, static

onnxruntime = pytest.importorskip("onnxruntime", reason="it runs the ONNX files: pip install onnxruntime")


def _inputs(file: modelfile.ModelFile, seed: int) -> tuple[Any, Any]:
    program, rng = file.parse(), np.random.default_rng(seed)
    rows, width = program.values[program.source]
    if rows == PER_ITEM:
        return rng.standard_normal((16, width), np.float32), None
    lengths = np.array([5, 1, 8, 3], np.int32)
    x = rng.standard_normal((4, 8, width), np.float32)
    x[np.arange(8) >= lengths[:, None]] = 0
    return x, lengths


def _answers(path: Path, x: Any, lengths: Any) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {"x": x} | ({} if lengths is None else {"lengths": lengths.astype(np.int64)})
    return session.run(None, given)[0]


@pytest.mark.parametrize("network", ["coordination", "optimization", "prediction"])
@pytest.mark.parametrize("precision", ["fp32", "mixed", "int8"])
def test_onnx_runtime_says_what_the_engine_says(
    small_models: dict[str, Path], tmp_path: Path, network: str, precision: str
) -> None:
    float_file = modelfile.read(small_models[network])
    file = float_file
    batches = [_inputs(file, seed) for seed in range(3)]
    if precision != "fp32":
        ranges = static(file, batches)
        first = next(iter(file.parse().tensor_names(file.parse().ops[0][1]).values()))
        file = quantize(file, ranges, [first] if precision == "mixed" else [])
    path = onnx.save(file, tmp_path / "model.onnx")
    x, lengths = _inputs(file, 9)
    theirs = _answers(path, x, lengths)
    (ours,) = outputs(file, [(x, lengths)])
    real = theirs if theirs.ndim == 2 else theirs[np.arange(8) < lengths[:, None]]
    if precision == "fp32":
        np.testing.assert_allclose(real, ours, rtol=1e-4, atol=1e-5)
        if theirs.ndim == 3:
            assert not theirs[np.arange(8) >= lengths[:, None]].any()
    else:  # where the engine rounds rows by their own range, ONNX Runtime does not round: it errs less
        (exact,) = outputs(float_file, [(x, lengths)])
        assert decibels([real], [exact]) >= decibels([ours], [exact]) - 3


def test_quantize_stores_the_onnx_file_beside_the_model(optimize: Any) -> None:
    code, report, error = optimize(
        *("quantize", "--model", "optimization-v1", "--accuracy-threshold", "0.5", "--output-format", "onnx"),
        *("--allow-slower", "true"),
    )
    assert code == 0, error
    path = Path(report["path"]).parent / "model.onnx"
    x, lengths = _inputs(modelfile.read(Path(report["path"])), 3)
    assert cf.load(report["model"]).precision == "int8"
    assert _answers(path, x, lengths).shape[0] == len(x)
