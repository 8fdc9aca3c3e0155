"""What every command shares: ``--format``, ``--debug``, examples in its help; groups that load on demand, and
names that are a command and a group at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from claude_flow.cli.output import FORMATS, Output
from claude_flow.values import did_you_mean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["TRACKED", "Command", "Group"]

#: groups of commands whose runs are kept where experiments are tracked
TRACKED = ("train", "transfer", "optimize", "nas", "validate")


def _set(context: click.Context, option: click.Parameter, value: Any) -> None:
    setattr(context.ensure_object(Output), option.name or "", value)


class Command(click.Command):
    """A command with ``examples`` (shell text, shown by ``--help`` and in the docs) and the shared options.

    Its function takes the sink as first argument, through ``@click.pass_obj``.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.group: Group | None = None  # the group of the same name
        self.params += [
            click.Option(
                ["--format"],
                type=click.Choice(FORMATS),
                envvar="CLAUDE_FLOW_FORMAT",
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

    def invoke(self, context: click.Context) -> Any:
        """Run it; where experiments are tracked, the run of some commands is kept (:mod:`claude_flow.cli.tracked`)."""
        words = context.command_path.split()[2:]
        if not words or words[0] not in TRACKED:
            return super().invoke(context)
        from claude_flow.cli.tracked import recorded

        with recorded(context):
            return super().invoke(context)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of the group of its name, then the examples, each as it would be typed."""
        if self.group is not None:
            self.group.format_commands(context, formatter)
        with formatter.section("Examples"):
            for index, example in enumerate(self.examples):
                if index:
                    formatter.write_paragraph()
                for line in example.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group of :class:`Command`, some of which may load on demand; it names near matches for an unknown one.

    ``members`` maps a name to ``module:attribute`` and the command's line of help. Such a member is imported when it is
    called, and the group's help imports none.

    The group's name may be a command too, made with :meth:`itself`: ``transfer --epochs 5`` beside ``transfer
    cross-modal``. A first word that is an option, or none, means the command.
    """

    command_class = Command

    def __init__(self, *args: Any, members: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.members = dict(members or {})
        self.own: Command | None = None

    def itself(self, *, examples: Sequence[str], **settings: Any) -> Callable[[Callable[..., Any]], Command]:
        """A decorator: its function is what the group's name does as a command."""

        def decorate(function: Callable[..., Any]) -> Command:
            self.own = click.command(self.name, cls=Command, examples=examples, **settings)(function)
            self.own.group = self
            return self.own

        return decorate

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the group, or of the command of its name."""
        if self.own is not None and (args[0].startswith("-") if args else not extra.get("resilient_parsing")):
            return self.own.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

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

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands, in alphabetical order."""
        return sorted({*self.commands, *self.members})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command ``name``, imported if need be."""
        if name in self.members and name not in self.commands:
            module, _, attribute = self.members[name][0].partition(":")
            self.add_command(getattr(import_module(module), attribute), name)
        return super().get_command(context, name)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The group's line of help; where its name is a command, that one's."""
        return super().get_short_help_str(limit) if self.own is None else self.own.get_short_help_str(limit)

    def lines(self, context: click.Context) -> list[tuple[str, str]]:
        """Every command's name and line of help; no member is imported for it."""
        found = []
        for name in self.list_commands(context):
            command = None if name in self.members else self.get_command(context, name)
            found.append((name, command.get_short_help_str(200) if command else self.members[name][1]))
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by their lines of help."""
        if lines := self.lines(context):
            with formatter.section("Commands"):
                formatter.write_dl(lines)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin with ``incomplete``, or the options."""
        from click.shell_completion import CompletionItem

        lines = self.lines(context)
        found = [CompletionItem(name, help=line) for name, line in lines if name.startswith(incomplete)]
        return found or click.Command.shell_complete(self.own or self, context, incomplete)


Group.group_class = Group
