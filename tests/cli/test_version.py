"""Versions: a name means one of them, changes are kept with when, who and why."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from claude_flow import cli, registry


@pytest.fixture
def neural(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = cli.main(["neural", "version", *words, "--format", "json"])
        out, error = capsys.readouterr()
        return code, json.loads(out) if out else None, error

    return run


def test_create_and_rollback_as_the_guide_prints_them(neural: Any) -> None:
    create = ("create", "--model", "coordination-v3", "--changes", "improved attention mechanism, reduced latency")
    for number in ("3.1.0", "3.2.1"):
        code, answer, error = neural(
            *create, "--version", number, "--compatibility-check", "true", "--backward-compatibility", "true"
        )
        assert code == 0, error
        assert answer["family"] == "coordination"
    assert registry.model_name(registry.model_path("coordination")) == "coordination/3.2.1"
    assert registry.newest_model("coordination") == registry.model_path("coordination")
    words = ("rollback", "--model", "coordination", "--target-version", "3.1.0", "--reason", "performance-regression")
    code, answer, error = neural(*words, "--immediate", "true")
    assert code == 0, error
    assert [entry["version"] for entry in answer["history"]][-2:] == ["3.2.1", "3.1.0"]
    assert answer["history"][-1]["why"] == "performance-regression"
    assert registry.model_name(registry.model_path("coordination")) == "coordination/3.1.0"
    code, answer, _ = neural("list")
    assert answer["models"]["coordination"] == {"current": "3.1.0", "versions": ["3.1.0", "3.2.1"], "canary": None}
    code, answer, _ = neural("show", "--model", "coordination")
    assert answer["card"]["made_from"] == "coordination-v3"
    code, answer, _ = neural("diff", "--model", "coordination/3.1.0", "--with", "coordination/3.2.1")
    assert all(check["ok"] for check in answer["checks"])


def test_what_would_break_callers_is_refused(neural: Any) -> None:
    create = ("create", "--family", "mine", "--changes", "x")
    assert neural(*create, "--model", "coordination-v3", "--version", "1.0.0")[0] == 0
    words = (*create, "--model", "optimization-v2", "--version", "1.1.0", "--backward-compatibility", "true")
    code, answer, error = neural(*words)
    assert code == 1
    assert not answer["created"]
    assert "same network" in error
    assert registry.versions("mine") == ["1.0.0"]
    assert neural(*create, "--model", "optimization-v2", "--version", "1.1.0")[0] == 0
    code, _, error = neural("rollback", "--model", "mine", "--target-version", "1.0.0", "--reason", "y")
    assert code == 2
    assert "cannot take the place" in error


def test_golden_answers_are_recorded_and_an_engine_that_gives_others_is_refused(neural: Any) -> None:
    create = ("create", "--model", "coordination-v3", "--changes", "x")
    for number in ("1.0.0", "1.1.0"):
        assert neural(*create, "--version", number)[0] == 0
    path = registry.workspace() / "models/coordination/1.0.0/golden.json"
    found = json.loads(path.read_text())
    _, answer, _ = neural("diff", "--model", "coordination/1.0.0", "--with", "coordination/1.1.0")
    checks = {check["name"]: check for check in answer["checks"]}
    assert {"engine version", "op list", "request schema", "answers", "outputs", "golden answers"} <= set(checks)
    assert all(check["ok"] for check in checks.values())
    path.write_text(json.dumps({**found, "values": [1.01 * value for value in found["values"]]}))
    code, _, error = neural("rollback", "--model", "coordination", "--target-version", "1.0.0", "--reason", "x")
    assert code == 2
    assert "golden answers: 9.9e-03 from what" in error
    assert registry.current("coordination") == "1.1.0"


def test_outputs_beyond_the_tolerance_are_refused(neural: Any) -> None:
    create = ("create", "--family", "mine", "--changes", "x")
    assert neural(*create, "--model", "coordination-v3", "--version", "1.0.0")[0] == 0
    words = (*create, "--model", "coordination-v2-general", "--version", "1.1.0", "--output-tolerance", "0.01")
    code, answer, error = neural(*words)
    assert code == 1
    assert "outputs" in error or "request schema" in error
    assert not answer["created"]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("create", "--model", "coordination-v3", "--version", "three", "--changes", "x"), "three numbers"),
        (("create", "--model", "no-such", "--version", "1.0.0", "--changes", "x"), "no-such"),
        (("rollback", "--model", "coordination", "--reason", "x"), "no model"),
    ],
)
def test_mistakes_are_one_line(neural: Any, words: tuple[str, ...], word: str) -> None:
    code, _, error = neural(*words)
    assert code == 2
    assert word in error
    assert error.count("\n") == 1


def test_a_version_that_exists_and_a_name_that_points_nowhere(neural: Any) -> None:
    create = ("create", "--model", "coordination-v3", "--version", "1.0.0", "--changes", "x")
    assert neural(*create)[0] == 0
    code, _, error = neural(*create)
    assert code == 2
    assert "already" in error
    code, _, error = neural("rollback", "--model", "coordination", "--target-version", "1.0.0", "--reason", "x")
    assert code == 2
    assert "already" in error
    (registry.workspace() / "models/coordination/current.json").write_text('{"history": [{"version": "9.9.9"}]}')
    code, _, error = neural("show", "--model", "coordination")
    assert code == 2
    assert "is gone" in error


def test_concurrent_changes_are_serialized(neural: Any) -> None:
    for number in ("1.0.0", "1.1.0"):
        code, _, error = neural("create", "--model", "coordination-v3", "--version", number, "--changes", "x")
        assert code == 0, error
    before = len(registry.history("coordination"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: registry.point("coordination", f"1.{i % 2}.0", f"change {i}"), range(40)))
    entries = registry.history("coordination")
    assert len(entries) == before + 40
    assert {entry["why"] for entry in entries[before:]} == {f"change {i}" for i in range(40)}


def test_the_workspace_is_the_projects_whatever_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLAUDE_FLOW_HOME")
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    inner = tmp_path / "project/src/deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert registry.workspace() == Path(".claude-flow/neural")
    (tmp_path / "project/.claude-flow/neural").mkdir(parents=True)
    assert registry.workspace() == tmp_path / "project/.claude-flow/neural"
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(tmp_path / "other"))
    assert registry.workspace() == tmp_path / "other/.claude-flow/neural"
