"""What the project's own files promise each other: one version, one list of extras, hooks and workflows that go through
the same doors as everyone."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

import claude_flow as cf

ROOT = Path(__file__).parents[2]
tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))


def test_the_version_has_one_source():
    """``__init__.py``: the build reads it there, and whoever must repeat it says the same."""
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["scikit-build"]["metadata"]["version"]["input"] == "python/claude_flow/__init__.py"
    assert importlib.metadata.version("claude-flow") == cf.__version__
    assert json.loads(read("emscripten/package.json"))["version"] == cf.__version__
    assert re.search(rf"^## {re.escape(cf.__version__)}\b", read("CHANGELOG.md"), re.MULTILINE)
