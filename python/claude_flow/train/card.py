"""The end of a run: its best weights as a model file, and the card that says what they are worth."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from claude_flow import __version__
from claude_flow.files import atomic_write
from claude_flow.train.checkpoint import Run
from claude_flow.train.config import TrainingConfig
from claude_flow.train.learnable import Learnable

__all__ = ["finish"]


def finish(
    source: Learnable,
    run: Run,
    config: TrainingConfig,
    identity: dict[str, Any],
    run_dir: Path,
    stopped: str,
    store: bool,
) -> dict[str, Any]:
    """Judge the best weights on the held-out part, write model and card if they are to be stored; returns the card."""
    from claude_flow import export

    run.module.load_state_dict(run.best)
    run.module.cpu().eval()
    split = "test" if "test" in source.splits else "validation"
    with torch.no_grad():
        held_out = source.metrics(run.module, split)
        metadata = source.metadata(run.module)
    followed = ("loss", "validation-loss", config.monitor)
    card: dict[str, Any] = {
        "network": identity["network"],
        "config": config.source,
        "data": {"sha256": identity["data"], "validation_split": identity["validation_split"]},
        "seed": identity["seed"],
        **{name: identity[name] for name in ("start", "trainable", "hooks") if name in identity},
        "commit": _commit(),
        "versions": {"claude-flow": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "learning_rate": run.learning_rate,
        "epochs": run.epoch,
        "best_epoch": run.best_epoch,
        "stopped": stopped,
        "seconds": round(run.seconds, 1),
        "parameters": sum(p.numel() for p in run.module.parameters()),
        "history": {name: [float(f"{e[name]:.5g}") for e in run.history if name in e] for name in followed},
        "held_out": {"split": split, "used_for_early_stopping": split == "validation", "metrics": _told(held_out)},
        "baselines": {name: _told(scores) for name, scores in source.baselines(split).items()},
    }
    card |= metadata.pop("card", {})
    if store:
        write = getattr(source, "export", export.save)  # what is no network of the list knows how it is written
        write(run.module, run_dir / "model.safetensors", metadata={**metadata, "provenance": card})
        atomic_write(run_dir / "card.json", json.dumps(card, indent=2) + "\n")
    return card


def _told(scores: dict[str, float]) -> dict[str, float | None]:
    """Scores for a card: None where the split cannot tell, such as one without a positive."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _commit() -> str:
    """The commit of the source tree that this package runs from, or its version when it is installed."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"release {__version__}"
