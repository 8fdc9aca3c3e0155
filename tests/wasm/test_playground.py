"""The playground in headless Chromium: answered in the tab as on the command line, offline, by mouse, by keys."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from claude_flow.cli import main
from claude_flow.run.playground import Playground

AGENT = Path(__file__).with_name("playground_agent.mjs")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MODELS = ("action", "coordination-v3", "coordination-v2", "optimization", "prediction")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    node, folder = shutil.which("node"), tmp_path_factory.mktemp("playground")
    playwright = AGENT.parents[2] / "emscripten" / "node_modules" / "playwright-core"
    if CHROMIUM is None or node is None or not playwright.exists():
        pytest.skip("no Chromium, no Node, or no playwright-core: run  npm install --prefix emscripten")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLAUDE_FLOW_HOME", str(folder / "home"))
        served = Playground(MODELS)
        try:
            command = [node, str(AGENT), CHROMIUM, served.address, "3"]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=180)
        finally:
            served.close()
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_tab_answers_without_a_server(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    assert seen["offline"] == []
    assert seen["tabs"] == ["Demo", "action", "coordination", "optimization", "prediction"]
    for cards in seen["answers"].values():
        for card in cards:
            assert card["problem"] == ""
            assert "WebAssembly" in card["by"]
    for times in seen["times"].values():
        assert len(times) == 3


def test_its_line_gives_the_same_answer(
    seen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    for name, cards in seen["answers"].items():
        for card in cards:
            assert main([*shlex.split(card["line"])[1:], "--format", "json", "--log-request", "false"]) == 0
            answer = json.loads(capsys.readouterr().out)
            if name == "coordination":
                assert [row[0] for row in card["rows"]] == [entry["task"] for entry in answer["assignments"]]
                for row, entry in zip(card["rows"], answer["assignments"], strict=True):
                    assert entry["candidates"][0]["choice"] in row[1]
                    assert row[2] == f"{100 * entry['confidence']:.0f}%"
                    assert entry["explanation"][0]["input"] in row[1]
                assert card["attention"]
            elif name == "action":
                pairs = [[entry["agent"], entry["task"]] for entry in answer["instructions"]]
                changes = [entry["command"] for entry in answer["adjustments"]]
                assert card["rows"][: len(pairs)] == pairs
                assert [row[0] for row in card["rows"][len(pairs) :]] == changes
                assert f"{answer['command']}: {answer['does']}" in card["text"]
                for reason in (*answer["reasons"], *(entry["stream"] for entry in answer["explanation"])):
                    assert reason in card["text"]
            elif name == "optimization":
                wanted = [f"{entry['direction']} {entry['tunable']}" for entry in answer["recommendations"]]
                assert [row[0] for row in card["rows"]] == wanted
                assert card["turns"]
            else:
                predicted = [key for key, entry in answer["predictions"].items() if entry["status"] == "predicted"]
                assert [row[0] for row in card["rows"]] == [*predicted, "failure"]
                assert "80%" in card["rows"][0][2]


def test_dragged_by_mouse_and_by_keys(seen: dict[str, Any]) -> None:
    assert seen["dragged"] == "load 1"
    assert seen["keyed"] == ["complexity 0.8, priority medium", "complexity 0.85, priority low"]
    swarm = seen["request"]["input"]
    assert swarm["current-agents"][0]["load"] == 1
    assert (swarm["pending-tasks"][-1]["complexity"], swarm["pending-tasks"][-1]["priority"]) == (0.85, "low")
    assert seen["moved"][0]["rows"] != seen["answers"]["coordination"][0]["rows"]
    assert seen["copied"] == seen["moved"][0]["line"]
    assert json.loads(shlex.split(seen["copied"])[5]) == swarm
    assert seen["links"] >= 1


def test_keyboard_and_screen_reader(seen: dict[str, Any]) -> None:
    assert (seen["next"], seen["home"]) == ("optimization", "Demo")
    assert seen["unlabelled"] == []
    assert any("coordination-v3: task-001" in text for text in seen["status"])


def test_the_demo_is_the_first_tab(seen: dict[str, Any]) -> None:
    assert [row[0] for row in seen["demo"]] == ["task-001", "task-002", "task-003"]
