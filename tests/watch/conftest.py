"""``run(*words)``: a command of ``claude-flow neural`` in a new folder: its exit code, output and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from claude_flow.cli import main


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)

    def run_(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["neural", *words])
        return code, *capsys.readouterr()

    return run_
