"""What every command shares: ``--format``, ``--debug``, examples in its help, groups that load on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from claude_flow.cli.output import FORMATS, Output
from claude_flow.values import did_you_mean

__all__ = ["Command", "Group", "LazyGroup"]


def _set(context: click.Context, option: click.Parameter, value: Any) -> None:
    setattr(context.ensure_object(Output), option.name or "", value)


class Command(click.Command):
    """A command with ``examples`` (shell text, shown by ``--help`` and in the docs) and the shared options.

    Its function takes the sink as first argument, through ``@click.pass_obj``.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params += [
            click.Option(
                ["--format"],
                type=click.Choice(FORMATS),
                default=FORMATS[0],
                show_default=True,
                expose_value=False,
                is_eager=True,
                callback=_set,
                help="What goes to standard output: a table, JSON, or nothing.",
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_set,
                help="Show the traceback of an error.",
            ),
        ]

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples under the options, each as it would be typed."""
        with formatter.section("Examples"):
            for index, example in enumerate(self.examples):
                if index:
                    formatter.write_paragraph()
                for line in example.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group whose commands are :class:`Command`, and that names near matches for an unknown one."""

    command_class = Command

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Without a command, show the help as an error: on standard error, exit code 2."""
        if not args and self.no_args_is_help and not context.resilient_parsing:
            click.echo(context.get_help(), err=True)
            context.exit(2)
        return super().parse_args(context, args)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` starts with."""
        if not context.resilient_parsing and self.get_command(context, args[0]) is None and args[0][:1] != "-":
            near = did_you_mean(args[0], self.list_commands(context))
            context.fail(f"there is no command {args[0]!r}{near}")
        return super().resolve_command(context, args)


Group.group_class = Group


class LazyGroup(Group):
    """A group that imports a member (``name -> (module:attribute, line of help)``) when it is called."""

    def __init__(self, *args: Any, members: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.members = members

    def list_commands(self, context: click.Context) -> list[str]:
        """The members' names, in their order."""
        return list(self.members)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return the member ``name``."""
        if name not in self.members:
            return None
        module, _, attribute = self.members[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the members by their lines of help, importing none."""
        if self.members:
            with formatter.section("Commands"):
                formatter.write_dl([(name, line) for name, (_, line) in self.members.items()])
