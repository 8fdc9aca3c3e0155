"""Tables to the tensors of every network that they can teach."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_flow import files, networks, registry, schema
from claude_flow.data import manifest as manifests
from claude_flow.data import views
from claude_flow.errors import InputError
from claude_flow.report.progress import Progress, nothing
from claude_flow.values import read_json

__all__ = ["Preprocessed", "for_network", "preprocess"]


@dataclass
class Preprocessed:
    """``made``: network -> dataset, path and manifest; ``skipped``: network -> why; ``kept``: folders of networks that
    were skipped and have data of an earlier preprocessing, which was left as it was."""

    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    kept: list[Path] = field(default_factory=list)


def preprocess(
    tables: Path | None, options: Mapping[str, Any], progress: Progress = nothing, only: Collection[str] = ()
) -> Preprocessed:
    """Write ``preprocessed-NETWORK-data`` of the workspace for every network that ``tables`` can teach.

    Args:
        tables: a dataset of tables; None = no log, for the networks whose data can be simulated.
        options: see each network's ``prepare.preprocess``.
        progress: is told the share of the networks that is done, and which one is next.
        only: the names of the networks; all, if empty.

    Raises:
        InputError: the tables can teach no network, or there is no such one.
    """
    chosen = [networks.get(name) for name in only] or networks.NETWORKS.values()
    rows = [row for row in chosen if tables is not None or row.simulates]
    result = Preprocessed()
    for done, row in enumerate(rows):
        progress(done / len(rows), row.name)
        target = registry.workspace() / "datasets" / f"preprocessed-{row.name}-data"
        try:
            with files.atomic_folder(target, replace=True) as folder:
                manifest = row.prepare.preprocess(tables, folder, options)
        except InputError as error:
            result.skipped[row.name] = str(error)
            if target.exists():
                result.kept.append(target)
            continue
        result.made[row.name] = {"dataset": target.name, "path": str(target), "manifest": manifest}
    if not result.made:
        reasons = "; ".join(f"{network}: {reason}" for network, reason in result.skipped.items())
        raise InputError(f"the dataset {tables or 'simulator'} can teach no network ({reasons})")
    return result


def for_network(
    network: str, name: str, note: Callable[[str], None] = lambda text: None, use: str | None = "train"
) -> Path:
    """The tensors of the dataset or view ``name`` to train one network on: itself, or preprocessed from its tables.

    What is made from tables is kept as ``NAME-for-NETWORK`` of the workspace, and made anew each time; ``note`` is told
    what a view is.

    Raises:
        InputError: there is no such dataset, it holds another network's tensors, or its tables cannot teach this one.
    """
    row = networks.get(network)
    found = views.find(name, network, use=use)
    folder = found.folder
    if found.says:
        note(found.says)
    manifest = schema.check(read_json(folder / manifests.FILE), schema.Record({}, free=True), f"{folder}:")
    if manifest.get("kind") == "tensors":
        if manifest.get("network") != network:
            raise InputError(f"{folder} holds data for {manifest.get('network')}, not for {network}")
        return folder
    target = registry.workspace() / "datasets" / f"{folder.name}-for-{network}"
    with files.atomic_folder(target, replace=True) as made:
        row.prepare.preprocess(folder, made, {})
    return target
