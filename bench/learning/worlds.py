"""Where the proofs learn: logs of shared machines and algorithm portfolios; small, made once.

What is made stays in build/learning/data.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from claude_flow import files, networks
from claude_flow.data.collect import collect
from claude_flow.networks.prediction.history import KEYS
from claude_flow.train import config as training
from claude_flow.train import loop
from claude_flow.train.config import TrainingConfig
from claude_flow.train.recipes.source import Source, read

__all__ = [
    "PROJECTS",
    "SCENARIOS",
    "SWF",
    "fitted",
    "jobs",
    "largest",
    "loss",
    "opened",
    "scenario",
    "settings",
    "simulated",
    "thinned",
    "transcripts",
]

ROOT = Path(__file__).parents[2]
MADE = ROOT / "build" / "learning" / "data"
SWF = {"KTH-SP2": "KTH-SP2-1996-2.swf.gz", "LLNL-Atlas": "LLNL-Atlas-2006-2.1-cln.swf.gz"}
SCENARIOS = ("ASP-POTASSCO", "CSP-2010", "MAXSAT12-PMS", "QBF-2011", "SAT11-RAND", "SAT12-HAND")

#: projects of the transcripts with the most runs
PROJECTS = (
    "entireio__cli",
    "JanDeDobbeleer__oh-my-posh",
    "obsessiondb__chkit",
    "Viniciuscarvalho__FitToday",
    "FSM1__cipher-box",
)

#: Small networks: five seeds of every rival are to be affordable.
_NETWORK: dict[str, dict[str, Any]] = {
    "prediction": {
        "network": {"width": 32, "layers": 0, "hidden": 96, "members": 1},
        "sequence-length": 16,
        "batch-size": 64,
        "regularization": {"weight-decay": 0.02, "dropout": 0.1},
    },
    "optimization": {"network": {"hidden": [64, 64]}, "batch-size": 64},
    "coordination": {
        "network": {"width": 96, "feed-forward": [192]},
        "batch-size": 16,
        "regularization": {"weight-decay": 0.05, "dropout": 0.1, "layer-norm": True},
        "attention-config": {"num-heads": 4},
    },
}


def settings(network: str, epochs: int, rate: float = 2e-3, **more: Any) -> TrainingConfig:
    """The configuration of every rival alike; the epoch is chosen by the loss on the validation part."""
    document = {
        **_NETWORK[network],
        "epochs": epochs,
        "learning-rate": {"initial": rate, "schedule": "cosine-annealing", "warmup-steps": 10},
        "early-stopping": {"patience": max(4, epochs // 4), "monitor": "validation-loss"},
        **more,
    }
    return training.parse({f"{network}-training": document}, network)


def opened(network: str, folder: Path, validation: float, seed: int) -> Any:
    """A preprocessed folder as the loop takes it."""
    return networks.get(network).learn.Data.load(folder, validation, seed, asdict(settings(network, 1)))


def fitted(network: str, config: TrainingConfig, data: Any, seed: int, **options: Any) -> Source:
    """The best epoch's model of one training."""
    with files.temporary_folder() as scratch:
        loop.fit(network, config, data, scratch, seed=seed, distributed="off", **options)
        return read(scratch / "model.safetensors")


def loss(source: Source, data: Any, split: str = "test") -> float:
    """The mean loss on a part of the data."""
    source.module.eval()
    with torch.no_grad():
        return float(data.metrics(source.module, split)["loss"])


def thinned(data: Any, share: float, seed: int) -> Any:
    """The same with ``share`` of the training tasks of every pool; the others are unknown to it."""
    generator = np.random.default_rng([seed, 5])
    for pool in data._pools:
        train = np.flatnonzero(pool.split == 0)
        pool.split[generator.permutation(train)[max(8, round(share * len(pool.split))) :]] = -1
    return data


def jobs(data: Path, logs: str | Sequence[str], first: int, count: int, test: float) -> Path:
    """So many jobs of a log, or of each of several, as the prediction network's tensors; its latest share ``test``
    judges."""
    logs = [logs] if isinstance(logs, str) else logs
    name = f"{'+'.join(logs)}-{first}-{count}-{test:g}"

    def make(tables: Path) -> None:
        with files.temporary_folder() as folder:
            for log in logs:
                with gzip.open(data / "swf" / SWF[log], "rt", encoding="utf-8", errors="replace") as stream:
                    text = stream.read().splitlines()
                head = [line for line in text if line.startswith(";")]
                body = [line for line in text if line.strip() and not line.startswith(";")]
                (folder / f"{log}.swf").write_text("\n".join([*head, *body[first : first + count]]) + "\n", "utf-8")
            collect([folder / f"{log}.swf" for log in logs], tables, quality_filter="none")

    return _made("prediction", name, make, {"test_split": test, "history": 31})


def transcripts(data: Path, project: str = "", test: float = 0.2) -> Path:
    """The runs of all Claude Code projects, or of one, as the prediction network's tensors."""
    sessions = data / "claude-code" / "sessions" / project

    def make(tables: Path) -> None:
        collect([sessions], tables, quality_filter="none")

    return _made("prediction", project or "claude-code", make, {"test_split": test, "history": 15})


def simulated(swarms: int) -> Path:
    """Simulated swarms as the optimization network's tensors."""
    return _made("optimization", f"simulated-{swarms}", None, {"simulate": swarms})


def largest(data: Any, place: int) -> Any:
    """Which rows of the prediction network's data belong to the group (project, user) with the ``place``-th most."""
    groups = data.tasks.keys[:, KEYS.index("group")]
    values, counts = np.unique(groups, return_counts=True)
    return groups == values[np.argsort(-counts, kind="stable")[place]]


def scenario(data: Path, names: Sequence[str]) -> Path:
    """Algorithm portfolios as the coordination network's tensors, a pool each."""
    sources = [data / "aslib" / one for one in names]
    return _made(
        "coordination",
        f"{'+'.join(names)}",
        lambda tables: collect(sources, tables, quality_filter="none") and None,
        {},
    )


def _made(network: str, name: str, make: Any, options: dict[str, Any]) -> Path:
    target = MADE / network / name
    if not target.is_dir():
        tables = MADE / "tables"
        shutil.rmtree(tables, ignore_errors=True)
        tables.parent.mkdir(parents=True, exist_ok=True)
        if make is not None:
            make(tables)
        with files.atomic_folder(target) as folder:
            networks.get(network).prepare.preprocess(tables if make else None, folder, options)
        shutil.rmtree(tables, ignore_errors=True)
    return target
