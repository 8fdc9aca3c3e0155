"""Training on data that teaches little or nothing: a sensible model, or one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import registry
from claude_flow.data.events import Run
from claude_flow.data.tables import writing
from claude_flow.errors import InputError
from claude_flow.train import loop
from claude_flow.train.config import parse

T0 = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
SIZES = {"coordination": {"width": 16, "heads": 2, "feed-forward": [16]}, "prediction": {"width": 8, "layers": 1}}
Change = dict[str, Any]


def log(count: int = 60, **change: Any) -> list[Run]:
    """A swarm's runs, one every half hour; ``change`` sets columns to a value or to a function of (index, run)."""
    generator = np.random.default_rng(1)
    runs = []
    for i in range(count):
        start, seconds = T0 + timedelta(minutes=30 * i), float(generator.lognormal(4, 0.7))
        run = Run(
            run_id=f"r{i}",
            source="jsonl",
            group="g",
            project="p",
            agent=f"a{i % 3}",
            agent_type=["coder", "tester"][i % 2],
            task=f"t{i}",
            task_type=["write", "test"][i // 2 % 2],
            description=f"do {i % 5}",
            submitted=start,
            start=start,
            end=start + timedelta(seconds=seconds),
            duration_s=seconds,
            status="completed",
            success=bool(generator.random() < 0.7),
            tokens=int(generator.integers(1000, 2000)),
        )
        runs.append(replace(run, **{k: v(i, run) if isinstance(v, Callable) else v for k, v in change.items()}))
    return runs


def train(network: str, runs: list[Run], folder: Path) -> dict[str, Any]:
    """Preprocess and train for two epochs in one batch larger than the data; returns the card as it was stored."""
    torch.set_num_threads(1)
    (folder / "data").mkdir()
    with writing(folder / "tables") as writer:
        for run in runs:
            writer.write(run)
        writer.finish({"format": 1, "kind": "tables", "name": "tables"})
    import_module(f"claude_flow.networks.{network}.prepare").preprocess(folder / "tables", folder / "data", {})
    body = {"epochs": 2, "batch-size": 512, "network": SIZES[network]}
    card = loop.fit(network, parse({f"{network}-training": body}, network), folder / "data", folder / "run")
    model = registry.add_model("m", None, folder / "run" / "model.safetensors", card)
    shape = (1, 4, 512) if network == "coordination" else (1, 4, 128)
    assert np.isfinite(cf.load(model).run(np.ones(shape, np.float32))).all()
    stored = registry.model_card(model)
    json.dumps(stored, allow_nan=False)
    return stored


def backwards(i: int, run: Run) -> datetime | None:
    return run.start - timedelta(seconds=30) if i % 3 == 0 and run.start else run.end


POOR: dict[str, Change] = {
    "constant features": {"task_type": "write", "description": "same", "tokens": 5},
    "constant outcome": {"duration_s": 60.0, "end": lambda i, run: run.start + timedelta(seconds=60)},
    "every run succeeds": {"success": True},
    "no positive in the test part": {"success": lambda i, run: i < 45},
    "clocks backwards": {"end": backwards, "duration_s": lambda i, run: -30.0 if i % 3 == 0 else run.duration_s},
    "handed over after the start": {"submitted": lambda i, run: run.start + timedelta(hours=5)},
    "categories never seen": {
        "task_type": lambda i, run: "new" if i > 46 else "write",
        "agent_type": lambda i, run: "stranger" if i > 46 else run.agent_type,
        "agent": lambda i, run: "s" if i > 46 else run.agent,
    },
    "smaller than a batch": {},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("network", SIZES)
@pytest.mark.parametrize("case", POOR)
def test_poor_data_makes_a_model_that_says_how_good_it_is(case, network, tmp_path):
    card = train(network, log(**POOR[case]), tmp_path)
    assert card["held_out"]["split"] == "test"
    assert card["best_epoch"] in (1, 2)


USELESS: list[tuple[str, int, Change, str]] = [
    ("coordination", 60, {"success": False, "status": "failed"}, "no run is known to have succeeded"),
    ("coordination", 60, {"success": lambda i, run: i >= 57}, "nothing in its training part can be learned from"),
    ("coordination", 60, {"success": lambda i, run: i < 30 or i >= 48}, "nothing in its validation part"),
    ("coordination", 60, {"agent_type": "coder", "agent": "a"}, "fewer than two agents"),
    ("coordination", 60, {"submitted": None, "start": None, "end": None}, "no times that tell what came before"),
    ("coordination", 3, {}, "two agents and ten tasks"),
    ("prediction", 12, {}, "at least 20 are needed"),
    ("prediction", 60, {"duration_s": 1e300, "tokens": 2**62, "end": None}, "at least 20 are needed"),
    ("prediction", 60, {"submitted": T0, "start": T0, "end": T0 + timedelta(seconds=9)}, "fewer than 4 rows"),
]


@pytest.mark.parametrize(("network", "count", "change", "why"), USELESS)
def test_useless_data_is_one_clear_line(network, count, change, why, tmp_path):
    with pytest.raises(InputError, match=why) as caught:
        train(network, log(count, **change), tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run" / "model.safetensors").exists()
