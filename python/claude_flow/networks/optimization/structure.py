"""What may be left out of the optimization network: units of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from claude_flow.networks.structure import Group, Slice, repeated

__all__ = ["groups", "shrunk"]


def _together(config: Any) -> list[list[int]]:
    """Layers whose outputs are added to each other without a projection, and so lose the same units. Those that the
    input itself is added to lose none."""
    found: list[list[int]] = [[]]
    for layer, projected in enumerate(config.projections):
        if projected:
            found.append([])
        found[-1].append(layer)
    return found[1:]


def _name(layers: list[int]) -> str:
    return f"layers.{layers[0]}" + (f"-{layers[-1]}" if len(layers) > 1 else "")


def groups(config: Any) -> list[Group]:
    """The groups of a network of this configuration."""
    found, last = [], len(config.hidden) - 1
    for layers in _together(config):
        units = config.hidden[layers[0]]
        rows, slices = repeated(units), []
        for layer in layers:
            slices += [Slice(f"layers.{layer}.linear.{part}", 0, rows) for part in ("weight", "bias")]
            if config.projections[layer]:
                slices.append(Slice(f"layers.{layer}.shortcut.weight", 0, rows))
            if layer == last:
                slices.append(Slice("head.weight", 1, rows))
                continue
            slices.append(Slice(f"layers.{layer + 1}.linear.weight", 1, rows))
            if config.projections[layer + 1]:
                slices.append(Slice(f"layers.{layer + 1}.shortcut.weight", 1, rows))
        found.append(Group(_name(layers), "units", units, tuple(slices), step=16))
    return found


def shrunk(config: Any, sizes: Mapping[str, int]) -> Any:
    """The configuration with so many units in each group."""
    hidden = list(config.hidden)
    for layers in _together(config):
        for layer in layers:
            hidden[layer] = sizes.get(_name(layers), hidden[layer])
    return replace(config, hidden=tuple(hidden), projected=config.projections)
