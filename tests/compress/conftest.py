"""A workspace with the small models and their datasets, and the command line that runs in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="compression needs the extra: pip install 'claude-flow[train]'")

from claude_flow import cli, registry

Command = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def workspace(small_models: dict[str, Path], _own_workspace: None) -> Path:
    """Models NETWORK-v1 and datasets preprocessed-NETWORK-data."""
    for network, path in small_models.items():
        registry.add_model(f"{network}-v1", None, path, {"network": network})
        data = registry.workspace() / "datasets" / f"preprocessed-{network}-data"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.symlink_to(path.parent.parent / f"{network}-data")
    return registry.workspace()


@pytest.fixture
def optimize(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """``optimize("prune", …)`` gives the exit code, the JSON on standard output (or None) and standard error."""

    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = cli.main(["neural", "optimize", *words, "--format", "json"])
        out, error = capsys.readouterr()
        return code, json.loads(out) if out else None, error

    return run
