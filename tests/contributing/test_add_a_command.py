"""docs/contributing/add_a_command.md, followed to the letter on a copy; no step of it can be left out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import claude_flow

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "docs" / "contributing" / "add_a_command.md").read_text("utf-8").partition("## What is there")[0]
STEP = re.compile(r"^   `([\w/.]+)`\n\n   ```python\n(.*?)^   ```", re.MULTILINE | re.DOTALL)
STEPS = {path: textwrap.dedent(re.sub("^   ", "", code, flags=re.MULTILINE)) for path, code in STEP.findall(RECIPE)}
ROW = "python/claude_flow/cli/__init__.py"


def copy(folder: Path) -> Path:
    """The package as it is installed, the commands' pages and what their tests need."""
    data = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.wasm")
    shutil.copytree(Path(claude_flow.__file__).parent, folder / "python" / "claude_flow", ignore=data)
    for part in (
        "docs/cli",
        "tests/cli",
        "tests/guide",
        "docs/architecture.md",
        "tests/conftest.py",
        "tests/__init__.py",
    ):
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, ignore=data) if source.is_dir() else shutil.copy(source, target)
    shutil.copy(ROOT / "tests" / "transcript.py", folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def follow(folder: Path, without: str = "") -> None:
    """Take the steps, all but the one ``without``."""
    for path, code in STEPS.items():
        target = folder / path
        if path == without:
            continue
        if path == ROW:
            row, lines = re.match(r' *"(\w+)"', code), target.read_text("utf-8").splitlines(keepends=True)
            names = {i: found[1] for i, line in enumerate(lines) if (found := re.match(r'    "([\w-]+)": \(', line))}
            place = next(i for i, name in names.items() if name > row[1])
            target.write_text("".join([*lines[:place], textwrap.indent(code, "    "), *lines[place:]]), "utf-8")
        else:
            target.write_text(code, "utf-8")
    command = re.search(r"```shell\n\s*python (.+)\n", RECIPE)[1]
    if without != command:
        assert python(folder, *command.split()).returncode == 0


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "python"), "CLAUDE_FLOW_HOME": str(folder / "workspace")}
    line = [sys.executable, *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_steps_are_all_found():
    assert list(STEPS) == ["python/claude_flow/cli/crew.py", ROW, "tests/cli/test_crew.py"]


def test_the_recipe_works(tmp_path):
    folder = copy(tmp_path)
    follow(folder)
    help_ = python(folder, "-m", "claude_flow", "neural", "crew", "busiest", "--help")
    assert "Name the agents with the highest load." in help_.stdout
    assert "# claude-flow neural crew" in (folder / "docs" / "cli" / "crew.md").read_text("utf-8")
    assert "crew.md" in (folder / "docs" / "cli" / "README.md").read_text("utf-8")
    tests = ["tests/cli/test_crew.py", "tests/cli/test_frame.py", "-k", "crew or neural or docs or examples"]
    done = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("step", ["python/claude_flow/cli/crew.py", ROW, "-m claude_flow.cli.reference"])
def test_a_step_that_is_left_out_is_noticed(tmp_path, step):
    folder = copy(tmp_path)
    if step == "python/claude_flow/cli/crew.py":
        with pytest.raises(AssertionError):  # the pages cannot be written
            follow(folder, without=step)
        return
    follow(folder, without=step)
    noticed = {
        ROW: python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cli/test_crew.py"),
        "-m claude_flow.cli.reference": python(folder, "-m", "claude_flow.cli.reference", "--check"),
    }[step]
    assert noticed.returncode == 1
