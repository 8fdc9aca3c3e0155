"""Training: a step of each network in torch beside its forward half, and an epoch by the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs it: run  pip install 'claude-flow[train]'")

from bench import peers, points
from bench.logs import write_log


@pytest.mark.parametrize(("net", "shape"), [pytest.param(*point, id=points.ident(*point)) for point in points.TRAINING])
@pytest.mark.parametrize("engine", ["step", "forward"])
def test_step(contender: Callable[..., Any], net: str, shape: tuple[int, ...], engine: str) -> None:
    torch.set_num_threads(1)
    module = peers.network(net).train()
    optimizer = torch.optim.AdamW(module.parameters())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        module(x).square().mean().backward()
        optimizer.step()

    def forward() -> None:
        with torch.no_grad():
            module(x)

    contender(f"training {points.label(net, shape)}", engine, step if engine == "step" else forward)


def test_epoch(contender: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch of a small coordination network on the log of 2,000 runs, the process and its imports included."""
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    config = {"coordination-training": {"epochs": 1, "network": {"width": 64, "feed-forward": [128]}}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def neural(*words: str) -> None:
        command = [sys.executable, "-m", "claude_flow", "neural", *words, "--format", "quiet"]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    log = write_log(tmp_path / "events.jsonl", runs=2000)
    neural("data", "collect", "--source", str(log), "--quality-filter", "none", "--output", "log")
    neural("data", "preprocess", "--dataset", "log")
    train = ["train", "coordination", "--config", "config.json", "--data", "preprocessed-coordination-data"]
    contender("training by the command", "coordination, one epoch", lambda: neural(*train, "--output", "m"), rounds=2)
