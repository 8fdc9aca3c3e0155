"""The program as a user runs it: a process of its own, in a workspace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from claude_flow import cli

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(_own_workspace: None) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """``run("neural", "infer", ...)`` in a new folder; standard output and error are pipes."""

    def run_(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
        settings = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 120}
        return subprocess.run([sys.executable, "-m", "claude_flow", *words], **{**settings, **options})

    return run_


@pytest.fixture
def here(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The same within this process, for what asks nothing of a process: torch is imported once for all of them."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run_(*words: str) -> subprocess.CompletedProcess[str]:
        code = cli.main(list(words))
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run_
