"""What may be left out of the coordination network: heads, feed-forward units, the residual width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from claude_flow.networks.structure import Group, Slice, repeated

__all__ = ["groups", "shrunk"]


def groups(config: Any) -> list[Group]:
    """The groups of a network of this configuration."""
    found, size = [], config.head_size
    width = repeated(config.width)
    residual = [Slice("embedding.weight", 0, width), Slice("embedding.bias", 0, width)]
    norms = ["norm"]
    for i, units in enumerate(config.feed_forward):
        block, heads = f"blocks.{i}", config.heads_of(i)
        in_qkv, in_projection = repeated(heads, size=size, times=3), repeated(heads, size=size)
        attention = [Slice(f"{block}.qkv.{part}", 0, in_qkv) for part in ("weight", "bias")]
        attention.append(Slice(f"{block}.projection.weight", 1, in_projection))
        found.append(Group(f"{block}.heads", "heads", heads, tuple(attention)))
        rows = repeated(units)
        between = [Slice(f"{block}.up.{part}", 0, rows) for part in ("weight", "bias")]
        between.append(Slice(f"{block}.down.weight", 1, rows))
        found.append(Group(f"{block}.feed_forward", "units", units, tuple(between), step=16))
        residual += [Slice(f"{block}.{name}.weight", 1, width) for name in ("qkv", "up")]
        residual += [
            Slice(f"{block}.{name}.{part}", 0, width) for name in ("projection", "down") for part in ("weight", "bias")
        ]
        norms += [f"{block}.norm1", f"{block}.norm2"]
    if config.layer_norm:
        residual += [Slice(f"{norm}.{part}", 0, width) for norm in norms for part in ("weight", "bias")]
    residual.append(Slice("head.weight", 1, width))
    found.append(Group("width", "columns", config.width, tuple(residual), step=16))
    return found


def shrunk(config: Any, sizes: Mapping[str, int]) -> Any:
    """The configuration with so many units in each group."""
    blocks = range(len(config.feed_forward))
    return replace(
        config,
        width=sizes.get("width", config.width),
        head_width=config.head_size,
        block_heads=tuple(sizes.get(f"blocks.{i}.heads", config.heads_of(i)) for i in blocks),
        feed_forward=tuple(sizes.get(f"blocks.{i}.feed_forward", config.feed_forward[i]) for i in blocks),
    )
