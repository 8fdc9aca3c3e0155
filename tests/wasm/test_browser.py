"""The package and the demo page in headless Chromium: numbers, answers, errors, offline, keyboard, and a screenshot."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import registry

ROOT = Path(__file__).parents[2]
SCREENSHOT = ROOT / "build" / "demo.png"
ATTENTION_TABS = ["layer", "head", "attention-title"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The repository over HTTP, and the path of a random coordination network on it."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("emscripten", "python"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(files["coordination"], folder / "coordination.safetensors")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", "/coordination.safetensors"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def seen(site: tuple[str, str], files: dict[str, Path]) -> dict[str, Any]:
    node = shutil.which("node")
    if not (ROOT / "emscripten" / "node_modules" / "playwright-core").is_dir() or node is None:
        pytest.skip("needs Node and  npm install --prefix emscripten")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    base, model = site
    x = np.random.default_rng(0).standard_normal((1, 8, 512)).astype(np.float32)
    request = json.dumps({"x": x.ravel().tolist(), "shape": x.shape, "model": model})
    SCREENSHOT.parent.mkdir(exist_ok=True)
    command = [node, str(Path(__file__).parent / "browser_agent.mjs"), CHROMIUM, base, str(SCREENSHOT)]
    ended = subprocess.run(command, input=request, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    result["want"] = cf.load(files["coordination"]).run(x).ravel()
    return result


def test_numbers_on_the_main_thread_and_in_a_worker(seen: dict[str, Any]) -> None:
    for y in (seen["main"], seen["worker"]):
        assert np.abs(np.array(y) - seen["want"]).max() <= 1e-5 * np.abs(seen["want"]).max()
    assert not seen["errors"]


def test_the_page_answers_as_the_command_line_does(seen: dict[str, Any]) -> None:
    from claude_flow.networks.coordination import answer as coordination

    page = (ROOT / "emscripten" / "demo" / "index.html").read_text()
    assert "coordination-v3.safetensors" in page
    tasks = [row[0] for row in seen["example"]]
    assert tasks == ["task-001", "task-002", "task-003"]
    swarm = json.loads((ROOT / "docs" / "examples" / "swarm.json").read_text())
    swarm["current-agents"].append(
        {
            "id": "test-001",
            "type": "tester",
            "load": 0.2,
            "capabilities": ["unit tests", "regression"],
            "track-record": {
                "tasks": 40,
                "success-rate": 0.9,
                "by-type": {"testing": {"tasks": 30, "success-rate": 0.95}},
            },
        }
    )
    swarm["pending-tasks"].append(
        {"id": "task-003", "type": "testing", "priority": "low", "description": "cover the retry path"}
    )
    model = cf.load(registry.model_path("coordination-v3"))
    for row, want in zip(seen["example"], coordination.answer(model, swarm)["assignments"], strict=True):
        assert row[1] == (want["agent"] or f"({want['decision']})")
        assert abs(int(row[2].rstrip("%")) - 100 * want["confidence"]) <= 0.6


def test_shows_the_networks_own_attention(seen: dict[str, Any]) -> None:
    layers, heads = seen["attention"]["options"]
    config = cf.load("coordination-v3").config
    assert layers == [str(layer + 1) for layer in range(len(config["feed_forward"]))]
    assert heads == ["mean of all", *(str(head + 1) for head in range(config["heads"]))]
    tokens = ["state", "arch-001", "code-001", "test-001", "task-001", "task-002", "task-003"]
    for table in (seen["attention"]["mean"], seen["attention"]["second"]):
        assert table[0][1:] == tokens
        assert [row[0] for row in table[1:]] == tokens
        for row in table[1:]:
            assert abs(sum(int(share.rstrip("%")) for share in row[1:]) - 100) <= len(tokens) / 2
    assert seen["attention"]["mean"] != seen["attention"]["second"]


def test_editing_opening_and_refusing_work_offline(seen: dict[str, Any]) -> None:
    assert [row[0] for row in seen["edited"]] == ["task-001"]
    assert seen["problem"] == "input.current-agents is empty: name at least one agent"
    assert "shorter than a safetensors header" in seen["badModel"]
    assert seen["opened"] == seen["edited"]
    assert seen["withheld"][0][1] == "(withheld)"
    assert seen["latency"].endswith(" ms")
    assert seen["engine"] in ("simd128", "relaxed")


def test_every_control_has_a_name_and_is_reached_by_keyboard(seen: dict[str, Any]) -> None:
    assert seen["tabs"] == ["file", "example", "threshold", "assignments-title", "heat-title", *ATTENTION_TABS]
    assert seen["unlabelled"] == []


def test_makes_the_screenshot_of_the_docs(seen: dict[str, Any]) -> None:
    assert SCREENSHOT.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
