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
    """A group whose first commands are those that ``make`` builds from the rows of the networks; ``line`` is a row's
    line of help, for which nothing is built."""

    def __init__(
        self,
        *args: Any,
        make: Callable[[networks.Network], click.Command],
        line: Callable[[networks.Network], str],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._make = cache(make)
        self._line = line

    def list_commands(self, context: click.Context) -> list[str]:
        """The networks in their order, then the group's own commands."""
        return [*networks.NETWORKS, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command ``name``, built if it is a network's."""
        row = networks.NETWORKS.get(name)
        return super().get_command(context, name) if row is None else self._make(row)

    def lines(self, context: click.Context) -> list[tuple[str, str]]:
        """Every command's name and line of help."""
        rows = {name: self._line(row) for name, row in networks.NETWORKS.items()}
        members = {name: line for name, (_, line) in self.members.items()}
        return [(name, {**rows, **members}[name]) for name in self.list_commands(context)]
