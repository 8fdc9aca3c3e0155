"""Make training tensors for the optimization network: simulated swarms, each with the utility of all 128 moves.

A recorded run table cannot train this network: it says how the swarm performed under the settings it had, never
how it would have performed under others, so there is no honest label in it. :func:`preprocess` says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from claude_flow import schema
from claude_flow.data import manifest as manifests
from claude_flow.errors import InputError
from claude_flow.files import atomic_write
from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES, moved
from claude_flow.networks.optimization.features import Encoder
from claude_flow.networks.optimization.objective import sample_wishes, utility, with_instability
from claude_flow.networks.optimization.simulator import simulate
from claude_flow.networks.optimization.workloads import FAMILIES, VISIBLE, sample

__all__ = ["asked", "examples", "preprocess", "read_manifest", "requests", "suite"]

SHARD_ROWS = 10_000
_ROUNDS_AFTER_A_MOVE = 12
_NOISE = 0.03  # of every observed metric, log-normal: nobody's dashboard is exact


def preprocess(tables_dir: Path | None, out_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the training tensors to the existing folder ``out_dir`` and return their manifest.

    ``options``: ``simulate`` = number of swarms, ``seed``. Without ``simulate`` the tables of ``tables_dir`` were
    meant, and those hold no labels for this network: :class:`InputError`. Shards have :data:`SHARD_ROWS` rows and a
    seed each; the manifest names three families of work that no training may use (the test split).
    """
    rows = options.get("simulate")
    if rows is None:
        raise InputError(
            f"{tables_dir}: run tables cannot train optimization: they do not say how the swarm would have run under "
            "other settings; use simulated swarms: claude-flow neural data preprocess --dataset simulator"
        )
    if rows < 100:
        raise InputError(f"simulate: {rows} swarms are too few to train on; ask for at least 100")
    seed = int(options.get("seed", 0))
    shards = []
    for index, first in enumerate(range(0, rows, SHARD_ROWS)):
        name = f"shard-{index:04d}.safetensors"
        shard = examples([seed, index], min(SHARD_ROWS, rows - first))
        (out_dir / name).write_bytes(save(shard))
        shards.append(name)
    held_out = np.random.default_rng(seed).choice(len(FAMILIES), 3, replace=False)
    manifest = {
        "format": 1,
        "kind": "tensors",
        "network": "optimization",
        "source": "simulator",
        "seed": seed,
        "rows": rows,
        "shards": shards,
        "families": list(FAMILIES),
        "test_families": sorted(int(family) for family in held_out),
        "schema": Encoder().schema(),
    }
    atomic_write(out_dir / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def examples(seed: int | list[int], rows: int) -> dict[str, NDArray[Any]]:
    """``rows`` simulated swarms: ``inputs [rows, 256]`` (nothing missing but constraints that are not set),
    ``utilities [rows, 128]`` float32 and ``family [rows]`` int32 (index into ``workloads.FAMILIES``)."""
    generator = np.random.default_rng(seed)
    workload, settings, family = sample(generator, rows)
    metrics, state = simulate(workload, settings)
    weights, constraints = sample_wishes(generator, metrics, settings[:, 0])
    before = with_instability(metrics) | {"max-agents": settings[:, 0]}
    utilities = np.empty((rows, len(RECOMMENDATIONS)), dtype=np.float32)
    for output, recommendation in enumerate(RECOMMENDATIONS):
        column = output // 2
        changed = settings.copy()
        changed[:, column] = moved(recommendation.tunable, settings[:, column], recommendation.direction)
        after, _ = simulate(workload, changed, state, _ROUNDS_AFTER_A_MOVE)
        gains = utility(before, with_instability(after) | {"max-agents": changed[:, 0]}, weights, constraints)
        utilities[:, output] = gains
    observed = {name: value * np.exp(generator.normal(0.0, _NOISE, rows)) for name, value in metrics.items()}
    columns = {
        "current-performance": observed,
        "current-settings": {tunable.name: settings[:, index] for index, tunable in enumerate(TUNABLES)},
        "workload": {name: workload[name] for name in VISIBLE},
        "constraints": constraints,
    }
    inputs = Encoder().encode_columns(columns, weights)
    return {"inputs": inputs, "utilities": utilities, "family": family}


def requests(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Requests of simulated swarms: what they measure, their settings and the kind of work."""
    generator = np.random.default_rng(seed)
    workload, settings, _ = sample(generator, count)
    metrics, _ = simulate(workload, settings)
    for row in range(count):
        yield {
            "current-performance": {name: float(value[row]) for name, value in metrics.items()},
            "current-settings": {tunable.name: float(settings[row, i]) for i, tunable in enumerate(TUNABLES)},
            "workload": {name: float(workload[name][row]) for name in VISIBLE},
        }


def asked(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[int], dict[str, Any], int]]:
    """The requests that the runs of a log stand for: none, a log does not measure the swarm."""
    return iter(())


_MANIFEST: dict[str, schema.Kind] = {
    "schema": schema.Record({}, free=True),
    "shards": schema.List(schema.Text(), "name", least=1),
    "families": schema.List(schema.Text(), "name", least=2, unique=""),
    "test_families": schema.List(schema.Whole(), "number", least=1, unique=""),
}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a preprocessed folder; :class:`InputError` where it is damaged, or another network's."""
    found = manifests.read(folder, "tensors", _MANIFEST, "optimization")
    count, held_out = len(found["families"]), found["test_families"]
    if len(held_out) > count - 2 or max(held_out) >= count:
        raise InputError(f"{folder}: its families of work leave none to train and validate on: make the data again")
    return found


def suite(folder: Path, seed: int, share: float) -> tuple[Path | None, dict[str, Any]]:
    """Tables and options of the standard suite's data: 3000 simulated swarms, or a ``share`` of them."""
    return None, {"seed": seed, "simulate": max(200, round(3000 * share))}
