"""The container file: no engine for containers runs here, so what its lines name is looked up instead."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import claude_flow
from claude_flow import cli

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "examples" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Its instructions with their arguments, comments left out and lines that go on joined."""
    lines = [line for line in FILE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def value(name: str) -> str:
    return next(rest for word, rest in instructions() if word == name)


def test_it_installs_the_wheel_that_make_wheel_leaves_with_an_extra_that_there_is() -> None:
    wheel = f"claude_flow-{claude_flow.__version__}-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    source, target = value("COPY").split()
    assert fnmatch.fnmatch(f"dist/{wheel}", source)
    run = value("RUN")
    pattern, extra = re.search(r'"\$\(ls (.+)\)\[(\w+)\]"', run).groups()
    assert fnmatch.fnmatch(f"{target}{wheel}", pattern.replace("$(uname -m)", "x86_64"))
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert value("FROM").startswith("python:3.12")
    assert "--python" in (ROOT / "Makefile").read_text("utf-8").partition("wheel.py")[2].splitlines()[0]
    assert (ROOT / ".dockerignore").read_text("utf-8").splitlines()[-2:] == ["*", "!dist"]
    subprocess.run(["sh", "-n", "-c", run], check=True)  # the shell reads it


def test_its_command_and_its_check_are_real(capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = json.loads(value("CMD"))
    assert program == "claude-flow"
    assert cli.main([*words, "--help"]) == 0
    port = words[words.index("--port") + 1]
    assert value("EXPOSE") == port
    check = json.loads(value("HEALTHCHECK").partition("CMD ")[2])
    assert f":{port}/health" in check[-1]
    compile(check[-1], "HEALTHCHECK", "exec")
    assert "0.0.0.0" in words  # so it ends unless a token is given
    assert int(value("USER")) > 0
