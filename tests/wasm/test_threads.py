"""The module with threads, under Node and in headless Chromium: the same bits, ended threads, clear refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import export, nets

ROOT = Path(__file__).parents[2]
SHAPES = {"coordination": (2, 33, 512), "optimization": (40, 256), "prediction": (3, 20, 128)}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_any_number_of_threads_gives_the_same_bits(
    node: Any, precision: str, files: dict[str, Path], int8_files: dict[str, Path]
) -> None:
    if not node.relaxed:
        pytest.skip("this Node has no relaxed SIMD")
    for network, shape in SHAPES.items():
        path = (files if precision == "fp32" else int8_files)[network]
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        job = {"job": "run", "path": str(path), "isa": "auto", "x": node.packed(x), "shape": shape}
        answers = [a["value"] for a in node.ask(*(job | {"threads": threads} for threads in (1, 2, 3, 5)))]
        assert [(a["isa"], a["threads"]) for a in answers] == [("relaxed", threads) for threads in (1, 2, 3, 5)]
        one, *more = (node.unpacked(a["y"]) for a in answers)
        assert all(np.array_equal(one.view(np.int32), y.view(np.int32)) for y in more)
        want = cf.load(path).run(x).ravel()
        if precision == "int8":
            assert np.array_equal(one.view(np.int32), want.view(np.int32))
        assert np.abs(one - want).max() <= 1e-5 * np.abs(want).max()


def test_memory_does_not_grow(node: Any, tmp_path: Path) -> None:
    if not node.relaxed:
        pytest.skip("this Node has no relaxed SIMD")
    # Small, and yet with one product that is worth splitting.
    path = tmp_path / "wide.safetensors"
    export.save(nets.create("optimization", {"hidden": [1024]}).eval(), path)
    x = np.ones((2, 256), np.float32)
    common = {"path": str(path), "isa": "auto", "threads": 2, "x": node.packed(x), "shape": x.shape}
    grown, run = node.ask({"job": "repeat", "times": 10_000} | common, {"job": "run"} | common)
    assert grown["value"] == 0
    want = cf.load(path).run(x).ravel()
    assert np.abs(node.unpacked(run["value"]["y"]) - want).max() <= 1e-5 * np.abs(want).max()


def test_disposing_ends_the_threads(node: Any, files: dict[str, Path]) -> None:
    if not node.relaxed:
        pytest.skip("this Node has no relaxed SIMD")
    # The first load may also start threads of the host's own, so the second one is looked at.
    job = {"job": "dispose", "path": str(files["optimization"]), "threads": 3}
    _, second = node.ask(job, job)
    assert second["value"]["started"] >= 2
    assert second["value"]["left"] <= 0


def test_says_what_is_missing(node: Any, files: dict[str, Path]) -> None:
    common = {"job": "unshared", "path": str(files["optimization"])}
    refused, one = node.ask(common | {"options": {"threads": 2}}, common | {"options": {}})
    assert one["value"] == 1
    missing = "SharedArrayBuffer" if node.relaxed else "relaxed SIMD"
    assert refused["error"].startswith(f"threads: 2 needs {missing}")
    if node.relaxed:
        (plain,) = node.ask(
            {"job": "load", "path": str(files["coordination"]), "options": {"threads": 2, "isa": "simd128"}}
        )
        assert plain["error"].startswith("threads: 2 needs relaxed SIMD")


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}
    isolating = False

    def end_headers(self) -> None:
        if self.isolating:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class _Isolating(_Handler):
    isolating = True


@contextmanager
def served(folder: Path, handler: type[_Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    node = shutil.which("node")
    if not (ROOT / "emscripten" / "node_modules" / "playwright-core").is_dir() or node is None:
        pytest.skip("needs Node and  npm install --prefix emscripten")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("site")
    (folder / "emscripten").symlink_to(ROOT / "emscripten")
    shutil.copy(files["coordination"], folder / "coordination.safetensors")
    x = np.random.default_rng(0).standard_normal((1, 40, 512)).astype(np.float32)
    request = json.dumps({"x": x.ravel().tolist(), "shape": x.shape, "model": "/coordination.safetensors"})
    with ExitStack() as stack:
        bases = [stack.enter_context(served(folder, handler)) for handler in (_Isolating, _Handler)]
        command = [node, str(Path(__file__).parent / "threads_agent.mjs"), chromium, *bases]
        ended = subprocess.run(command, input=request, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    result["want"] = cf.load(files["coordination"]).run(x).ravel()
    return result


@pytest.mark.parametrize("place", ["main", "worker"])
def test_runs_two_threads_in_an_isolated_page(browser: dict[str, Any], place: str) -> None:
    seen = browser["isolated"][place]
    assert (seen.get("error"), seen["unset"], seen["threads"]) == (None, 1, 2)
    assert seen["same"]
    assert np.abs(np.array(seen["y"]) - browser["want"]).max() <= 1e-5 * np.abs(browser["want"]).max()


@pytest.mark.parametrize("place", ["main", "worker"])
def test_says_which_headers_a_page_lacks(browser: dict[str, Any], place: str) -> None:
    seen = browser["plain"][place]
    assert seen["unset"] == 1
    assert seen["error"].startswith("ClaudeFlowError: threads: 2 needs SharedArrayBuffer, which a page has when it is")
    assert "Cross-Origin-Opener-Policy: same-origin" in seen["error"]
