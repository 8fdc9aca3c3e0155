"""Make training tensors for the optimization network: simulated swarms, each with the utility of all 128 moves.

A recorded run table holds no labels: it says how the swarm performed under the settings it had, never how it would have
performed under others. So the simulator is fitted to it, period by period (:mod:`.twin`), and the swarms are drawn
around what fits; the newest periods are the test part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from claude_flow import schema
from claude_flow.data import manifest as manifests
from claude_flow.errors import InputError
from claude_flow.files import atomic_write
from claude_flow.networks.optimization import twin
from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES, moved
from claude_flow.networks.optimization.features import Encoder
from claude_flow.networks.optimization.objective import sample_wishes, utility, with_instability
from claude_flow.networks.optimization.simulator import simulate
from claude_flow.networks.optimization.workloads import FAMILIES, VISIBLE, sample

__all__ = ["asked", "examples", "preprocess", "read_manifest", "requests", "suite"]

SHARD_ROWS = 10_000
_ROUNDS_AFTER_A_MOVE = 12
_OF_LOG, _PERIODS = 400, 12  # swarms around a log in all, its newest periods
_NOISE = 0.03  # of every observed metric, log-normal: nobody's dashboard is exact


def preprocess(tables_dir: Path | None, out_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the training tensors to the existing folder ``out_dir`` and return their manifest.

    ``options``: ``simulate`` = number of swarms, ``seed``. Without ``simulate`` the swarms are drawn around those that
    fit the log of ``tables_dir``. Shards have :data:`SHARD_ROWS` rows and a seed each; the manifest names families of
    work, or periods of the log, that no training may use (the test split).

    Raises:
        InputError: the log is too short to fit the simulator to.
    """
    rows = options.get("simulate")
    if rows is None:
        return _of_log(tables_dir, out_dir, int(options.get("seed", 0)))
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
    about = {"source": "simulator", "seed": seed, "rows": rows, "shards": shards, "families": list(FAMILIES)}
    return _written(out_dir, {**about, "test_families": sorted(int(family) for family in held_out)})


def _of_log(tables_dir: Path | None, out_dir: Path, seed: int) -> dict[str, Any]:
    """Swarms around those that fit the newest periods of a log."""
    if tables_dir is None:
        raise InputError("name a dataset of a log, or say how many swarms to simulate")
    try:
        measured = twin.periods(twin.runs_of(tables_dir))[-_PERIODS:]
    except InputError as error:
        raise InputError(
            f"{tables_dir}: {error}; or use simulated swarms: claude-flow neural data preprocess --dataset simulator"
        ) from None
    generator, each = np.random.default_rng([seed, 0x106]), max(_OF_LOG // len(measured), 20)
    drawn = [twin.around(period, generator, each) for period in measured]
    workload = {name: np.concatenate([part[0][name] for part in drawn]) for name in drawn[0][0]}
    family = np.repeat(np.arange(len(measured), dtype=np.int32), each)
    shard = _labelled(generator, workload, np.concatenate([part[1] for part in drawn])) | {"family": family}
    (out_dir / "shard-0000.safetensors").write_bytes(save(shard))
    names = [datetime.fromtimestamp(m.begin, timezone.utc).isoformat(timespec="minutes") for m in measured]
    test = list(range(len(names) - max(1, min(3, len(names) // 4)), len(names)))
    about = {"source": str(tables_dir.name), "seed": seed, "rows": len(family), "shards": ["shard-0000.safetensors"]}
    return _written(out_dir, {**about, "families": names, "test_families": test})


def _written(out_dir: Path, about: dict[str, Any]) -> dict[str, Any]:
    manifest = {"format": 1, "kind": "tensors", "network": "optimization", **about, "schema": Encoder().schema()}
    atomic_write(out_dir / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def examples(seed: int | list[int], rows: int) -> dict[str, NDArray[Any]]:
    """``rows`` simulated swarms: ``inputs [rows, 256]`` (nothing missing but constraints that are not set),
    ``utilities [rows, 128]`` float32 and ``family [rows]`` int32 (index into ``workloads.FAMILIES``)."""
    generator = np.random.default_rng(seed)
    workload, settings, family = sample(generator, rows)
    return _labelled(generator, workload, settings) | {"family": family}


def _labelled(
    generator: np.random.Generator, workload: dict[str, NDArray[np.float64]], settings: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """``inputs`` and ``utilities`` of swarms: see :func:`examples`."""
    rows = len(settings)
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
    return {"inputs": inputs, "utilities": utilities}


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
