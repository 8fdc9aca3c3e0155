"""The dataset of functions: made of packages, kept as a table, split by package."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from claude_flow import files, registry
from claude_flow.errors import InputError, require
from claude_flow.modalities import MODALITIES, features, functions
from claude_flow.report.progress import Progress, nothing
from claude_flow.values import read_json

__all__ = ["COLUMNS", "PARTS", "collect", "load", "parts"]

_TABLE, _BAGS = "functions.parquet", "bags.safetensors"
_FORMAT = 2  # 1: hashes of fewer bits, which cannot be matched word by word
_FEW = 30  # functions that a package must have to be one of the three of a hasty dataset
#: modality -> column of the table
COLUMNS = {"text": "text", "code": "code", "diagrams": "diagram"}
PARTS = ("train", "validation", "test")


def collect(
    sources: Sequence[str],
    folder: Path,
    *,
    most: int = 1500,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Write the functions of ``sources`` (names of installed packages, folders) into ``folder``; returns the manifest.

    Without sources: every installed package of a permissive licence. ``most`` functions of each, so that no package
    outweighs the others; equal docstrings of equal names count once. The budget ends it, not before three packages have
    thirty functions.

    Raises:
        InputError: a source that is none, or fewer than three packages with functions, which no split by package has.
    """
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    packages = [functions.package(source) for source in sources] if sources else functions.installed()
    if not sources:  # the budget may end it early: then let what was read be of every size
        packages = [packages[i] for i in np.random.default_rng(seed).permutation(len(packages))]
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, str]] = set()
    used: dict[str, Any] = {}
    for place, package in enumerate(packages):
        if _enough(used) and time.monotonic() > deadline:
            break
        progress(place / len(packages), package.name)
        found = 0
        for function in functions.read(package, most, seed):
            if (key := (function.name, function.text)) not in seen:
                seen.add(key)
                rows.append(asdict(function))
                found += 1
            if _enough(used) and time.monotonic() > deadline:
                break
        if found:
            used[package.name] = {"version": package.version, "licence": package.licence, "functions": found}
    if len(used) < 3:
        raise InputError(
            f"functions with a docstring were found in {len(used)} packages ({', '.join(used) or 'none'}): a split by "
            "package needs three"
        )
    manifest = {"format": _FORMAT, "kind": "functions", "rows": len(rows), "packages": used}
    progress(1.0, "counting words")
    _write(folder, rows, manifest)
    return manifest


def _enough(used: dict[str, Any]) -> bool:
    return bool(sum(package["functions"] >= _FEW for package in used.values()) >= 3)


def _write(folder: Path, rows: Sequence[dict[str, Any]], manifest: dict[str, Any]) -> None:
    """The table, and beside it its items as bags of words: reading them takes as long as all the rest."""
    pyarrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    tensors: dict[str, NDArray[Any]] = {}
    for modality, column in COLUMNS.items():
        bags = features.bags(modality, [row[column] for row in rows])
        tensors |= {f"{modality}.{part}": value for part, value in vars(bags).items()}
    with files.atomic_folder(folder) as made:
        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), made / _TABLE)
        save_file(tensors, made / _BAGS)
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def load(name: str) -> tuple[Path, dict[str, list[str]], dict[str, features.Bags]]:
    """The folder, the columns, and the items of every modality of the dataset ``name``.

    Raises:
        InputError: there is no such dataset, or it holds something else.
    """
    folder = registry.dataset_path(name)
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("kind") != "functions":
        raise InputError(f"{name} holds no functions: make such a dataset with  claude-flow neural data functions")
    if manifest.get("format") != _FORMAT:
        raise InputError(f"{name} was made by another version: make it anew with  claude-flow neural data functions")
    table = require("pyarrow.parquet", "data").read_table(folder / _TABLE).to_pydict()
    tensors = load_file(folder / _BAGS)
    names = [field.name for field in fields(features.Bags)]
    bags = {m: features.Bags(*(tensors[f"{m}.{name}"] for name in names)) for m in MODALITIES}
    return folder, table, bags


def parts(packages: Sequence[str], seed: int) -> dict[str, NDArray[np.int64]]:
    """Rows of the training, validation and test part: whole packages, a tenth and a fifth of the rows held out.

    >>> {name: rows.tolist() for name, rows in parts(["a", "a", "b", "c"], 0).items()}
    {'train': [0, 1], 'validation': [3], 'test': [2]}
    """
    names = sorted(set(packages))
    of = np.array(packages)
    order = [names[i] for i in np.random.default_rng([seed, 17]).permutation(len(names))]
    share = {name: float((of == name).mean()) for name in names}
    # What is a quarter of all is learned from; what is a few functions alone would judge nothing.
    order.sort(key=lambda name: 2 if share[name] < 0.005 else int(share[name] > 0.25))
    held: dict[str, list[str]] = {"test": [order.pop(0)], "validation": [order.pop(0)]}
    for part, most in (("test", 0.2), ("validation", 0.1)):
        while len(order) > 1 and sum(share[name] for name in held[part]) + share[order[0]] <= most:
            held[part].append(order.pop(0))
    held["train"] = order
    return {part: np.flatnonzero(np.isin(of, held[part])) for part in PARTS}
