"""The recipes of docs/contributing, followed to the letter on a copy of the tree; and each again with one step left
out, which must be noticed.

A block of code whose first line names a file beside the language is a step: ``python PATH`` writes the file, ``diff
PATH`` replaces the lines with - by those with + (lines with neither are context). ``sh`` blocks are commands that
must succeed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

import claude_flow

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "contributing"
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w+)(?: (?P<path>\S+))?\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S)


@dataclass
class Step:
    kind: str
    path: str | None
    body: str

    def apply(self, tree: Path) -> None:
        file = tree / (self.path or "")
        if self.kind == "diff":
            lines = self.body.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            content = file.read_text("utf-8")
            assert content.count(old) == 1, f"{self.path} has not these lines once:\n{old}"
            file.write_text(content.replace(old, new), "utf-8")
        else:
            file.write_text(self.body, "utf-8")


def steps(recipe: str) -> tuple[list[Step], list[str]]:
    """The changes of a recipe, and its commands."""
    found = [
        Step(block["kind"], block["path"], textwrap.dedent(block["body"]))
        for block in _BLOCK.finditer((RECIPES / recipe).read_text("utf-8"))
    ]
    return [step for step in found if step.path], [step.body for step in found if step.kind == "sh"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what recipes change, with the engine that is at hand."""
    ignore = shutil.ignore_patterns("__pycache__", "*.wasm", "*.svg")
    for folder in ("python", "docs", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module in Path(claude_flow._core.__file__).parent.glob("_core.*"):
        shutil.copy(module, tmp_path / "python" / "claude_flow")
    return tmp_path


def runs(command: str, tree: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    environ |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(tree / "python"),
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
    }
    return subprocess.run(["bash", "-ec", command], cwd=tree, env=environ, capture_output=True, text=True)


@pytest.mark.parametrize("recipe", ["add_a_log_format.md", "add_an_extra.md"])
def test_a_recipe_works_and_needs_every_step(recipe, tree):
    changes, commands = steps(recipe)
    assert len(changes) >= 3
    assert commands
    touched = {step.path: (tree / step.path).read_bytes() if (tree / step.path).exists() else None for step in changes}
    for left_out in [None, *changes]:
        for path, content in touched.items():
            if content is None:
                (tree / path).unlink(missing_ok=True)
            else:
                (tree / path).write_bytes(content)
        for step in changes:
            if step is not left_out:
                step.apply(tree)
        results = [runs(command, tree) for command in commands]
        said = "".join(done.stdout + done.stderr for done in results)
        failed = any(done.returncode for done in results)
        assert failed is (left_out is not None), f"without {left_out}:\n{said}" if left_out else said
