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


def test_workflows_go_through_make_and_hooks_through_its_tools():
    """Nothing is built or tested on a server in another way than here."""
    yaml = pytest.importorskip("yaml", reason="run  pip install 'claude-flow[validate]'")
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        jobs = yaml.safe_load(path.read_text("utf-8"))["jobs"]
        commands = [step["run"] for job in jobs.values() for step in job.get("steps", []) if "run" in step]
        for command in commands:
            for target in re.findall(r"make (?:--silent )?([\w-]+)", re.sub(r"apt-get [^&]+", "", command)):
                assert target in targets, f"{path.name}: {command}"
            assert not re.search(r"\b(pytest|cmake|pip|cibuildwheel --)\b", command), f"{path.name}: {command}"
    (local,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    lint = read("Makefile").split("\nlint:")[1].split("\n\n")[0]
    for hook in local["hooks"]:
        tool = hook["entry"].removeprefix(".venv/bin/").split(" ")[0]
        assert hook["language"] == "system"
        assert f"$(BIN)/{tool}" in lint, f"make lint does not run {hook['entry']}"


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL))
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert broken == []
    listed = set(re.findall(r"\((\w+\.md)\)", read("docs/decisions/README.md")))
    assert listed == {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"README.md"}
