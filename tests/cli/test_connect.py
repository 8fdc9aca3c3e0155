"""Claude Code is told of the MCP server, and forgets it, and nothing else of its settings changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from claude_flow import cli

WORDS = ["neural", "connect", "claude-code", "--format", "json"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(tmp_path))
    return tmp_path / ".mcp.json"


def _change(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main([*WORDS, *words]) == 0
    return str(json.loads(capsys.readouterr().out)["change"])


def test_it_is_added_once_and_taken_back(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _change(capsys, "--dry-run") == "added"
    assert not file.exists()
    assert [_change(capsys), _change(capsys)] == ["added", "none"]
    assert json.loads(file.read_text())["mcpServers"]["claude-flow"]["args"][-2:] == ["neural", "mcp"]
    assert [_change(capsys, "--remove"), _change(capsys, "--remove")] == ["removed", "none"]
    assert not file.exists()


def test_what_else_the_file_says_is_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"mcpServers": {"other": {"command": "é", "args": []}}, "more": [1]}
    file.write_text(json.dumps(other))
    assert _change(capsys) == "added"
    assert set(json.loads(file.read_text())["mcpServers"]) == {"other", "claude-flow"}
    assert _change(capsys, "--remove") == "removed"
    assert json.loads(file.read_text()) == other


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": []}'])
def test_a_file_that_is_no_settings_is_left_alone(file: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text)
    assert cli.main(WORDS) == 2
    assert file.read_text() == text
    assert capsys.readouterr().err.count("\n") == 1
