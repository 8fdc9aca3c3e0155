"""Optional libraries: what the code requires is in the extra that it names, and users and tests know of each extra."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import claude_flow
from claude_flow import errors

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def brought(extra: str) -> set[str]:
    """Names of what an extra brings, by itself and through other extras of ours."""
    names: set[str] = set()
    for wanted in EXTRAS[extra]:
        name, others = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", wanted).groups()
        if name == "claude-flow":
            names |= set(others.split(",")).union(*(brought(other) for other in others.split(",")))
        else:
            names.add(name)
    return names


def needed_by(names: set[str]) -> set[str]:
    """What those distributions require in turn, where they are installed."""
    found: set[str] = set()
    for name in names:
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found |= {re.match(r"[\w.-]+", line)[0].lower() for line in requirements if "extra ==" not in line}
    return found


def required() -> Iterator[tuple[str, str, str]]:
    """``(where, module, extra)`` for every call of ``require`` and ``MissingExtra`` in the package."""
    package = Path(claude_flow.__file__).parent
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("require", "MissingExtra"):
                words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                if len(words) == 2:
                    yield f"{path.relative_to(package)}:{node.lineno}", *words


def test_what_the_code_requires_is_in_the_extra_that_it_names():
    seen = list(required())
    assert len(seen) > 10
    wrong = []
    for where, module, extra in seen:
        name = errors._DISTRIBUTIONS.get(module.partition(".")[0], module.partition(".")[0])
        if extra not in EXTRAS or name not in (names := brought(extra)) | needed_by(names):
            wrong.append(f"{where}: {name} is not in the extra {extra!r}")
    assert wrong == []


#: MLflow's whole package wants an older pyarrow than all else, flwr an older rich, marimo is 130 MB, and rivals are for
#: measuring alone
APART = {"drift-peers", "experiments-server", "flower", "lint", "marimo", "peers"}


def test_every_extra_is_documented_and_tested():
    page = (ROOT / "docs" / "install.md").read_text("utf-8").split("## Extras")[1]
    rows = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`([\w-]+)`", row)) == sorted(EXTRAS)
    assert set(EXTRAS) - brought("test") == {*APART, "test"}


def test_all_brings_every_extra_that_users_have():
    assert brought("all") >= EXTRAS.keys() - {*APART, "all", "test"}
