"""The WebAssembly modules under wasmtime, beside the same network in the native engine; and under Node, beside
onnxruntime-web. Times under Node hold one line there and back over a pipe, for either engine alike."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks come from torch: run  pip install 'claude-flow[train]'")
pytest.importorskip("wasmtime", reason="run  pip install 'claude-flow[wasm]'")

import claude_flow as cf
from bench import points
from bench.conftest import require
from claude_flow.wasm.modules import available

if not available():
    pytest.skip("the modules are not built: run  make wasm", allow_module_level=True)

from bench import wasm

SHAPES = [pytest.param(net, shape, id=points.ident(net, shape)) for net, shape in points.WASM]
WASMTIME = ("native", *(f"wasmtime {isa}" for isa in available()))


@pytest.mark.parametrize(("net", "shape"), SHAPES)
@pytest.mark.parametrize("precision", points.PRECISIONS)
@pytest.mark.parametrize("engine", WASMTIME)
def test_wasmtime(contender: Callable[..., Any], net: str, shape: tuple[int, ...], precision: str, engine: str) -> None:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    backend, _, isa = engine.partition(" ")
    options = {"backend": "wasm", "isa": isa} if backend == "wasmtime" else {}
    model = cf.load(wasm.model_file(net, precision), **options)
    contender(f"{points.label(net, shape)} {precision}, wasmtime", engine, partial(model.run, x))


@pytest.fixture(scope="module")
def node() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """A request to bench/wasm_serve.mjs under the package's Node, and its answer."""
    if not wasm.NODE.exists():
        pytest.skip("Node of the JavaScript package is missing: run  npm install --prefix emscripten")
    agent = [str(wasm.NODE), str(Path(wasm.__file__).with_name("wasm_serve.mjs"))]
    with subprocess.Popen(agent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin
        assert process.stdout

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            print(json.dumps(request), file=process.stdin)
            answer: dict[str, Any] = json.loads(process.stdout.readline() or '{"error": "Node ended"}')
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer

        yield ask
        process.stdin.close()


@pytest.mark.parametrize(("net", "shape"), SHAPES)
@pytest.mark.parametrize("precision", points.PRECISIONS)
@pytest.mark.parametrize("engine", [*available(), wasm.THEIRS])
def test_node(
    contender: Callable[..., Any],
    node: Callable[..., Any],
    net: str,
    shape: tuple[int, ...],
    precision: str,
    engine: str,
) -> None:
    if engine == wasm.THEIRS:
        require("onnxruntime")  # which writes its 8-bit files
        if not (wasm.ROOT / "emscripten" / "node_modules" / "onnxruntime-web").exists():
            pytest.skip("onnxruntime-web is missing: run  npm install --prefix emscripten")
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    path = wasm.model_file(net, precision) if engine != wasm.THEIRS else wasm.their_file(net, shape, precision)
    node({"load": str(path), "engine": engine, "x": x.ravel().tolist(), "shape": shape})
    contender(f"{points.label(net, shape)} {precision}, Node", engine, partial(node, {"run": 1}))
