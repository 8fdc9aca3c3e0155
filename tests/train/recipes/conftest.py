"""A workspace with a small model and simulated data of two periods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

from claude_flow import registry
from claude_flow.networks.optimization.prepare import preprocess
from claude_flow.train import run
from claude_flow.train.config import parse


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLAUDE_FLOW_HOME", str(folder))
        for name, options in {
            "preprocessed-optimization-data": {"simulate": 600},
            "october": {"simulate": 400, "seed": 5},
        }.items():
            with registry_folder(folder / "datasets" / name) as data:
                preprocess(None, data, options)
        body: dict[str, Any] = {"epochs": 2, "batch-size": 64, "network": {"hidden": [32, 32]}}
        config = parse({"optimization-training": body}, "optimization")
        run.train("optimization", config, folder / "datasets/preprocessed-optimization-data", "base")
    return folder


def registry_folder(path: Path) -> Any:
    from claude_flow.files import atomic_folder

    return atomic_folder(path)


@pytest.fixture
def workspace(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace; models and runs that a test makes go with it."""
    import shutil

    shutil.copytree(_made, tmp_path / "home")
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "home"))
    assert registry.workspace() == tmp_path / "home"
    return tmp_path / "home"
