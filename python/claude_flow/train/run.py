"""Train and store: the one way from a dataset to a model of the workspace, for every command and recipe."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_flow import files, registry
from claude_flow.train.config import TrainingConfig

__all__ = ["Trained", "folder", "train"]


@dataclass(frozen=True)
class Trained:
    """A new version of a model: its file, its folder of the run, its card."""

    name: str
    version: str
    path: Path
    run: Path
    card: dict[str, Any]


def folder(name: str) -> Path:
    """Where the run of the model ``name`` keeps its log and its checkpoint."""
    return registry.runs_dir() / name


def train(
    network: str, config: TrainingConfig, data: Any, name: str, *, command: str = "", **options: Any
) -> Trained | None:
    """Train a network and store the best epoch as a new version of the model ``name``.

    ``data`` is a preprocessed dataset, or what a recipe made of some.

    ``command``, for the card, is one that trains the same model. The run's folder is ``runs/NAME`` of the workspace.
    ``options`` are those of :func:`claude_flow.train.loop.fit`. Returns None in all processes of a ``torchrun`` but the
    first, which alone stores the model. Raises what ``fit`` raises; nothing is stored then.
    """
    from claude_flow.train.loop import fit  # torch takes seconds to load

    run = folder(name)
    if os.environ.get("RANK", "0") != "0":
        fit(network, config, data, run, **options)
        return None
    busy = f"another process is training {name}: wait for it, end it, or give this run another --output"
    with files.locked(run / ".lock", timeout=0, message=busy):
        card = fit(network, config, data, run, **options)
        card |= {"command": command} if command else {}
        path = registry.add_model(name, None, run / "model.safetensors", card)
    return Trained(name, path.parent.name, path, run, card)
