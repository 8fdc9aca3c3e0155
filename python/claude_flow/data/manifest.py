"""The manifest of a dataset, ``manifest.json``: checked before anything of the folder is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from claude_flow import schema
from claude_flow.errors import InputError
from claude_flow.files import printable
from claude_flow.values import read_json

__all__ = ["FILE", "glance", "read"]

FILE = "manifest.json"
_MAKE = {"tables": "claude-flow neural data collect", "tensors": "claude-flow neural data preprocess"}
_WHAT = {"tables": "a dataset of tables", "tensors": "a preprocessed dataset"}


def glance(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says, unchecked; nothing where it is damaged."""
    try:
        found = read_json(folder / FILE)
    except InputError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def read(folder: Path, kind: str, fields: Mapping[str, schema.Kind], network: str = "") -> dict[str, Any]:
    """The manifest of a dataset of ``kind``, tables or tensors.

    Args:
        fields: those that it must have, beside format and kind; others may stand there too.
        network: what the tensors must be for; "" = any network.

    Raises:
        InputError: it is of another kind or network, or damaged; the message says what makes it.
    """
    make, where = _MAKE[kind], f"{printable(folder / FILE)}:"
    try:
        found = schema.check(read_json(folder / FILE), schema.Record({}, free=True), where) if folder.is_dir() else {}
        if found.get("kind") != kind:
            raise InputError(f"there is no {kind}")
        about: dict[str, schema.Kind] = {
            "format": schema.Fixed(1, "this version reads that"),
            "network": schema.Text(),
            **fields,
        }
        required = tuple(name for name in about if name != "network" or kind == "tensors")
        schema.check(found, schema.Record(about, required, free=True), where)
    except InputError as error:
        raise InputError(f"{folder} is not {_WHAT[kind]} ({error}): make one with  {make}") from None
    if network and found["network"] != network:
        raise InputError(f"{folder} holds data for {found['network']}, not for {network}")
    return dict(found)
