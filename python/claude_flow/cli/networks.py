"""Groups with a command for every network, made from its row when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import click

from claude_flow import networks
from claude_flow.cli.command import Group

__all__ = ["NetworkGroup"]


class NetworkGroup(Group):
    """A group whose first commands are those that ``make`` builds from the rows of the networks."""

    def __init__(self, *args: Any, make: Callable[[networks.Network], click.Command], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._make = cache(make)

    def list_commands(self, context: click.Context) -> list[str]:
        """The networks in their order, then the group's own commands."""
        return [*networks.NETWORKS, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command ``name``, built if it is a network's."""
        row = networks.NETWORKS.get(name)
        return super().get_command(context, name) if row is None else self._make(row)
