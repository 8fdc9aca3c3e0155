"""A workspace with small models and the datasets that they were trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightgbm", reason="evaluation needs the extra: pip install 'claude-flow[train,baselines,bench]'")

from claude_flow import cli, registry


@pytest.fixture
def workspace(small_models: dict[str, Path], tmp_path: Path, _own_workspace: None) -> Path:
    """Models coordination-v3, coordination-v2, optimization-v2, prediction-v2, and preprocessed-NETWORK-data."""
    names = {"coordination": ["coordination-v3", "coordination-v2"], "optimization": ["optimization-v2"]}
    names["prediction"] = ["prediction-v2"]
    for network, own in names.items():
        for name in own:
            registry.add_model(name, None, small_models[network], {"network": network})
        data = registry.workspace() / "datasets" / f"preprocessed-{network}-data"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.symlink_to(small_models[network].parent.parent / f"{network}-data")
    return tmp_path


@pytest.fixture
def command(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str]]:
    """``command("benchmark", …)`` gives the exit code, the JSON on standard output and standard error."""

    def run(*words: str) -> tuple[int, Any, str]:
        code = cli.main(["neural", *words, "--format", "json"])
        out, error = capsys.readouterr()
        return code, json.loads(out) if code == 0 else None, error

    return run
