"""What there is to name: models, datasets and views, in the workspace and built in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from claude_flow import modelfile, registry
from claude_flow.data import manifest as manifests
from claude_flow.data.views import VIEWS, missing
from claude_flow.errors import InputError

__all__ = ["inventory"]


def inventory() -> dict[str, Any]:
    """The workspace's place, and rows of ``models``, ``datasets`` and ``views``, JSON-ready.

    A model of the network None, and a dataset of the kind None, is damaged. A view's ``missing`` says why it is empty
    here, or is None.
    """
    return {
        "workspace": str(registry.workspace()),
        "models": [_model(name, file) for name, files in registry.models().items() for file in files],
        "datasets": [_dataset(folder) for folder in registry.datasets()],
        "views": [
            {"name": view.name, "kind": view.kind, "what": view.what, "missing": missing(view) or None}
            for view in VIEWS
        ],
    }


def _model(name: str, file: Path) -> dict[str, Any]:
    try:
        network: str | None = modelfile.read(file).network
    except InputError:
        network = None
    built_in = file.stem == name
    return {
        "name": name,
        "version": None if built_in else file.parent.name,
        "network": network,
        "built_in": built_in,
        "bytes": file.stat().st_size,
        "path": str(file),
    }


def _dataset(folder: Path) -> dict[str, Any]:
    about = manifests.glance(folder)
    tables = about.get("tables")
    runs = tables.get("runs", {}).get("rows") if isinstance(tables, dict) else None
    return {
        "name": folder.name,
        "kind": about.get("kind"),
        "network": about.get("network"),
        "runs": runs,
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "path": str(folder),
    }
