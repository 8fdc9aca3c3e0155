"""Run tables to the toy network's tensors."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table
from claude_flow.networks.prediction import simulator


def encode(description: str | None, tokens: float | None) -> list[float]:
    """Input [4]: words and characters of the description, tokens, 1."""
    text = description or ""
    return [len(text.split()) / 10, len(text) / 100, float(np.log1p(tokens or 0)) / 10, 1.0]


def preprocess(tables: Path | None, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    rows = read_table(tables, "runs").select(["description", "tokens", "duration_s"]).to_pylist()
    rows = [row for row in rows if row["duration_s"] is not None]
    tensors = {
        "x": np.array([encode(row["description"], row["tokens"]) for row in rows], np.float32),
        "y": np.log1p(np.array([[row["duration_s"]] for row in rows], np.float32)),
        "split": (np.arange(len(rows)) % 5 == 4).astype(np.int32),
    }
    save_file(tensors, folder / "pools.safetensors")
    manifest = {"format": 1, "kind": "tensors", "network": "toy", "rows": len(rows)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def suite(folder: Path, seed: int, share: float) -> tuple[Path | None, dict[str, Any]]:
    lines = folder / "runs.jsonl"
    lines.write_text("".join(json.dumps(event) + "\n" for event in simulator.log(200, seed)))
    collect([lines], folder / "tables")
    return folder / "tables", {}


def requests(count: int, seed: int) -> Iterator[dict[str, Any]]:
    return ({"task-description": event["description"]} for event in simulator.log(count, seed))


def asked(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[int], dict[str, Any], int]]:
    return (([i], {"task-description": run["description"]}, 1) for i, run in enumerate(runs) if run["description"])
