"""From a model's file to an engine that can run, the file in the page cache: ours from float, 8-bit and prepacked
files; the peers from theirs; the safetensors library, which only reads, as the floor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the networks come from torch: run  pip install 'claude-flow[train]'")

from safetensors.numpy import load_file

import claude_flow as cf
from bench import models, peers, points
from bench.conftest import require

# The smallest shape of each network: loading does not depend on it, but the peers' files do.
SHAPES = [pytest.param(*points.NETWORKS[i], id=points.NETWORKS[i][0]) for i in (0, 3, 6)]
ENGINES = ("claude-flow", "claude-flow int8", "onnxruntime", "openvino", "safetensors")


@pytest.mark.parametrize(("net", "shape"), SHAPES)
@pytest.mark.parametrize("engine", ENGINES)
def test_load(contender: Callable[..., Any], tmp_path: Path, net: str, shape: tuple[int, ...], engine: str) -> None:
    require(engine)
    call: Callable[[], Any]
    match engine:
        case "claude-flow":
            file = models.model_file(net)
            call = lambda: cf.load(file)  # noqa: E731
        case "claude-flow int8":
            file = tmp_path / "int8.safetensors"
            cf.export.save(peers.network(net), file, "int8")
            call = lambda: cf.load(file)  # noqa: E731
        case "onnxruntime":
            file = peers.onnx_file(net, shape)
            call = lambda: peers.onnx_runtime(file, 1)  # noqa: E731
        case "openvino":
            file = peers.onnx_file(net, shape)
            call = lambda: peers.openvino(file, 1)  # noqa: E731
        case _:
            file = models.model_file(net)
            call = lambda: load_file(file)  # noqa: E731
    contender(f"loading {net}", engine, call, bytes=file.stat().st_size)
