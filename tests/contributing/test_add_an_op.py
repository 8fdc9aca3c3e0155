"""docs/contributing/add_an_op.md, followed to the letter on a copy: it builds, and the new op is right; no step of it
can be left out. docs/contributing/add_a_kernel.md: a row of the list of kernels demands all that the recipe names."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.contributing.test_recipes import ROOT, runs, steps, tree

__all__ = ["tree"]  # a fixture

CHANGES, (COMMANDS,) = steps("add_an_op.md")
BUILD, CHECKS = (COMMANDS.splitlines()[part] for part in (slice(0, 2), slice(2, None)))


@pytest.fixture
def engine(tree: Path) -> Path:
    """The copy with the engine's sources."""
    for folder in ("cpp", "emscripten"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("*.wasm", "node_modules"))
    shutil.copy(ROOT / "CMakeLists.txt", tree)
    return tree


def test_the_recipe_works(engine: Path) -> None:
    if shutil.which("cmake") is None or shutil.which("ninja") is None or find_spec("pybind11") is None:
        pytest.skip("building the engine needs cmake, ninja and pybind11: make test installs them")
    for step in CHANGES:
        step.apply(engine)
    for command in (*BUILD, *CHECKS):
        done = runs(command, engine)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("left_out", range(len(CHANGES)), ids=[f"{i} {s.path}" for i, s in enumerate(CHANGES)])
def test_a_step_that_is_left_out_is_noticed(engine: Path, left_out: int) -> None:
    for i, step in enumerate(CHANGES):
        if i != left_out:
            step.apply(engine)
    assert runs(f"{CHECKS[0]} -x", engine).returncode in (1, 2)  # a test fails, or the package cannot be imported


def test_every_kernel_has_what_its_recipe_names() -> None:
    rows = re.findall(r"^KERNEL\((\w+), (\w+)\)", (ROOT / "cpp/kernels/kernels.inc").read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 10
    recipe = (ROOT / "docs/contributing/add_a_kernel.md").read_text("utf-8")
    files = {
        "cpp/kernels/args.h": "struct {args} {{",
        "cpp/kernels/reference.cpp": "void {name}(",
        "tests/cpp/test_kernels.cpp": "check_{name}(",
        "tests/cpp/fuzz_kernels.cpp": "fuzz_{name}(",
    }
    for path, pattern in files.items():
        assert path in recipe
        text = (ROOT / path).read_text("utf-8")
        for name, args in rows:
            assert pattern.format(name=name, args=args) in text, (path, name)
