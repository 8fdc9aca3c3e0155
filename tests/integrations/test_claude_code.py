"""Claude Code's hooks, started as it starts them, with the inputs that its documentation describes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.transcript import Transcript

from claude_flow import cli, registry
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table
from claude_flow.integrations import claude_code
from claude_flow.integrations.claude_code import hook

KEPT = ("run_id", "group", "agent", "agent_type", "task", "description", "start", "end", "duration_s", "status",
        "success", "tool_calls", "context_tokens", "background", "prompt_chars", "project")  # fmt: skip


def _payload(event: str, transcript: Path, **more: Any) -> dict[str, Any]:
    common = {"session_id": "5e55-1", "transcript_path": str(transcript), "cwd": str(transcript.parent)}
    return {**common, "permission_mode": "default", "hook_event_name": event, **more}


def _stops(transcript: Path) -> dict[str, Any]:
    beside = str(transcript.with_suffix("") / "subagents" / "agent-a1.jsonl")
    return _payload("SubagentStop", transcript, stop_hook_active=False, agent_id="a1", agent_type="Explore",
                    agent_transcript_path=beside, last_assistant_message="All is well.")  # fmt: skip


def _fire(payload: Any, project: Path) -> None:
    """As Claude Code: a shell, JSON on standard input. Nothing may be printed, and nothing may fail."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    environment = {**os.environ, "CLAUDE_PROJECT_DIR": str(project)}
    environment.pop("CLAUDE_FLOW_HOME", None)
    command = claude_code.hook_command().replace("> /dev/null 2>&1 || true", "")
    done = subprocess.run(command, shell=True, input=text, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _runs(folder: Path, source: Path) -> list[dict[str, Any]]:
    collect([source], folder)
    table = read_table(folder, "runs")
    return [] if table is None else sorted(table.select(list(KEPT)).to_pylist(), key=lambda run: run["run_id"])


def test_every_subagents_outcome_is_kept_once_and_as_the_transcript_tells_it(tmp_path: Path) -> None:
    project, transcript = tmp_path / "project", tmp_path / "logs" / "5e55-1.jsonl"
    session = Transcript()
    session.asks(0, "look at the shop")
    session.spawns(1, "toolu_1", prompt="look " * 200)
    session.spawns(2, "toolu_2", message="msg_2", description="Test the cart", run_in_background=True)
    session.launches(3, "toolu_2", "b2")
    session.write(transcript)
    _fire(_stops(transcript), project)  # before the result is written
    session.completes(60, "toolu_1", "a1", 58_000)
    session.says(61, "msg_3", {"type": "text", "text": "secret " * 500})
    session.write(transcript)
    _fire(_payload("Stop", transcript, stop_hook_active=False, last_assistant_message="Done."), project)
    session.notifies(90, "b2")  # an agent in the background fires no SubagentStop
    session.write(transcript)
    with transcript.open("a") as file:
        file.write('{"type": "assistant", "half')  # a line is being written
    _fire(_payload("SessionEnd", transcript, reason="prompt_input_exit"), project)
    _fire(_payload("SessionEnd", transcript, reason="other"), project)  # fires twice: nothing is new

    events = project / ".claude-flow" / "neural" / "events"
    (kept,) = events.glob("*.jsonl")
    lines = kept.read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert "secret" not in kept.read_text()
    assert all(len(line) < 2000 for line in lines)
    transcript.write_text("".join(json.dumps(line) + "\n" for line in session.lines))
    runs = _runs(tmp_path / "hooks", events)
    assert runs == _runs(tmp_path / "truth", transcript)
    assert [(run["agent"], run["status"]) for run in runs] == [("a1", "completed"), ("b2", "completed")]
    collect([transcript, events], tmp_path / "both")  # as swarm-logs names both
    assert read_table(tmp_path / "both", "runs").num_rows == 2


@pytest.mark.parametrize(
    "payload",
    ["", "{", "[]", "null", json.dumps({"session_id": "../../x", "transcript_path": "t"}),
     json.dumps({"session_id": "s", "transcript_path": "/nowhere/at/all.jsonl", "hook_event_name": "SubagentStop"}),
     json.dumps({"session_id": 7, "transcript_path": 7})],
)  # fmt: skip
def test_what_is_no_hook_input_changes_nothing_and_says_nothing(payload: str, tmp_path: Path) -> None:
    _fire(payload, tmp_path)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_folder_that_cannot_be_written_fails_no_session(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.spawns(1, "toolu_1")
    (tmp_path / ".claude-flow").write_text("in the way")
    _fire(_stops(transcript.write(tmp_path / "t.jsonl")), tmp_path)


def test_the_hook_and_the_program_find_one_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.delenv("CLAUDE_FLOW_HOME", raising=False)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    found = []
    for change in (lambda: None, lambda: (tmp_path / "a" / ".claude-flow" / "neural").mkdir(parents=True),
                   lambda: monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(tmp_path / "p")),
                   lambda: monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "h"))):  # fmt: skip
        change()
        found.append(registry.workspace().resolve())
        assert Path(hook.workspace(str(inner))).resolve() == found[-1]
    assert len(set(found)) == 4


def test_other_hooks_and_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(tmp_path))
    settings = tmp_path / ".claude" / "settings.local.json"
    settings.parent.mkdir()
    other = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "echo done"}]}]}, "model": "opus"}
    settings.write_text(json.dumps(other))
    mine = tmp_path / ".claude" / "agents" / "claude-flow-dispatcher.md"
    mine.parent.mkdir()
    mine.write_text("my own")
    words = ["neural", "connect", "claude-code", "--format", "json"]
    assert [cli.main([*words, "--dry-run"]), json.loads(settings.read_text())] == [0, other]
    assert [cli.main(words), cli.main(words)] == [0, 0]
    hooks = json.loads(settings.read_text())["hooks"]
    assert {event: len(groups) for event, groups in hooks.items()} == {"Stop": 2, "SubagentStop": 1, "SessionEnd": 1}
    assert (tmp_path / ".claude" / "skills" / "claude-flow" / "SKILL.md").is_file()
    assert cli.main([*words, "--remove"]) == 0
    assert json.loads(settings.read_text()) == other
    assert mine.read_text() == "my own"
    assert not (tmp_path / ".claude" / "skills" / "claude-flow" / "SKILL.md").exists()


def test_outcomes_told_by_hand_are_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    words = ["neural", "record-outcome", "--agent", "coder-1", "--task", "t-17", "--format", "json"]
    events = tmp_path / "events" / "cli.jsonl"
    events.parent.mkdir()
    events.write_text('{"event": "run", "run_id": "cut')
    assert cli.main([*words, "--success", "false", "--duration", "12m", "--tokens", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["recorded_in"] == str(events)
    collect([events], tmp_path / "tables", bad_line_share=1)
    (run,) = read_table(tmp_path / "tables", "runs").to_pylist()
    assert (run["agent"], run["success"], run["duration_s"], run["tokens"]) == ("coder-1", False, 720, 5)
    assert cli.main([*words, "--success", "true", "--cost", "-1"]) == 2
    events.unlink()
    events.mkdir()
    assert cli.main([*words, "--success", "true"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].count("not recorded") == 1
