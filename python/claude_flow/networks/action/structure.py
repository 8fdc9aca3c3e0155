"""What may be left out of the decision engine: units of its hidden layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from claude_flow.networks.structure import Group, Slice, repeated

__all__ = ["groups", "shrunk"]


def groups(config: Any) -> list[Group]:
    """The groups of a network of this configuration: both hidden layers are added, so they lose the same units."""
    units = repeated(config.hidden)
    rows = [Slice(f"{layer}.{part}", 0, units) for layer in ("first", "second") for part in ("weight", "bias")]
    columns = [Slice(f"{layer}.weight", 1, units) for layer in ("second", "value", "advantage")]
    return [Group("hidden", "units", config.hidden, (*rows, *columns), step=16)]


def shrunk(config: Any, sizes: Mapping[str, int]) -> Any:
    """The configuration with so many units in each group."""
    return replace(config, hidden=sizes.get("hidden", config.hidden))
