"""What may be left out of the toy network: its hidden units."""

from collections.abc import Mapping
from dataclasses import replace

from claude_flow.networks.structure import Group, Slice, repeated

from .config import Config


def groups(config: Config) -> list[Group]:
    units = repeated(config.hidden)
    first = [Slice(f"first.{part}", 0, units) for part in ("weight", "bias")]
    return [Group("hidden", "units", config.hidden, (*first, Slice("second.weight", 1, units)))]


def shrunk(config: Config, sizes: Mapping[str, int]) -> Config:
    return replace(config, hidden=sizes.get("hidden", config.hidden))
