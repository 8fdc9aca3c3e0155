"""What may be left out of the prediction network: units of its layers, the same number in each of its members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from claude_flow.networks.structure import Group, Slice, repeated

__all__ = ["groups", "shrunk"]


def groups(config: Any) -> list[Group]:
    """The groups of a network of this configuration."""
    return [group for i in range(config.members) for group in _of_member(config, f"members.{i}")]


def _of_member(config: Any, member: str) -> list[Group]:
    found, depth = [], len(config.layer_widths)
    for layer, units in enumerate(config.layer_widths):
        rows = repeated(units)
        if config.layers:
            gates = repeated(units, times=4)
            name = f"{member}.lstm.{layer}"
            parts = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            slices = [Slice(f"{name}.{part}", 0, gates) for part in parts]
            slices.append(Slice(f"{name}.weight_hh_l0", 1, rows))
            following = f"{member}.lstm.{layer + 1}.weight_ih_l0"
        else:
            name = f"{member}.embed.{layer}"
            slices = [Slice(f"{name}.{part}", 0, rows) for part in ("weight", "bias")]
            following = f"{member}.embed.{layer + 1}.weight"
        if layer + 1 < depth:
            slices.append(Slice(following, 1, rows))
        else:  # the pooled state and the last one stand side by side
            reader = "first" if config.hidden else "head"
            slices.append(Slice(f"{member}.keys.weight", 1, rows))
            slices.append(Slice(f"{member}.{reader}.weight", 1, repeated(units, times=2)))
        found.append(Group(name, "units", units, tuple(slices), 16, f"layer {layer}"))
    keys = repeated(config.key_size)
    of_keys = [Slice(f"{member}.keys.weight", 0, keys), Slice(f"{member}.keys.bias", 0, keys)]
    of_keys.append(Slice(f"{member}.attention", 0, keys))
    found.append(Group(f"{member}.keys", "units", config.key_size, tuple(of_keys), 16, "keys"))
    if config.hidden:
        rows = repeated(config.hidden)
        slices = [
            Slice(f"{member}.{name}.{part}", 0, rows) for name in ("first", "second") for part in ("weight", "bias")
        ]
        slices += [Slice(f"{member}.{name}.weight", 1, rows) for name in ("second", "head")]
        found.append(Group(f"{member}.hidden", "units", config.hidden, tuple(slices), 16, "hidden"))
    return found


def shrunk(config: Any, sizes: Mapping[str, int]) -> Any:
    """The configuration with so many units in each group; members have the same numbers."""
    word = "lstm" if config.layers else "embed"
    widths = [sizes.get(f"members.0.{word}.{i}", width) for i, width in enumerate(config.layer_widths)]
    return replace(
        config,
        widths=tuple(widths),
        key_width=sizes.get("members.0.keys", config.key_size),
        hidden=sizes.get("members.0.hidden", config.hidden),
    )
