"""``claude-flow neural infer``: put a request to a trained network and print its answer."""

from __future__ import annotations

from typing import Any

import click

from claude_flow import networks
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.networks import NetworkGroup
from claude_flow.cli.output import Output

__all__ = ["group"]


def _command(row: networks.Network) -> Command:
    """The command that asks a network: the options of its ``answer`` module, and how its model runs."""
    answers = row.answer

    @click.command(row.name, cls=Command, examples=answers.EXAMPLES, help=answers.HELP)
    @params.switch("--explain-decision", help="Name the inputs that decided.")
    @options.model(without="the workspace's newest of this network, else the built-in one")
    @options.backend()
    @options.isa()
    @options.threads()
    @click.pass_obj
    def infer(
        output: Output,
        /,
        explain_decision: bool,
        model: str | None,
        backend: str | None,
        isa: str,
        threads: int | None,
        **given: Any,
    ) -> None:
        from claude_flow.model import load_for

        loaded = load_for(row.name, model, backend=backend, isa=isa, threads=threads)
        request, keywords = split(row, given)
        answer = answers.answer(loaded, request, explain=explain_decision, **keywords)
        output.result(answer, answers.render(answer))

    infer.params[:0] = [params.of(option) for option in answers.OPTIONS]
    return infer


def split(row: networks.Network, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The request that a network's options make (what was not given is not in it), and the keywords of its answer."""
    request: dict[str, Any] = {}
    keywords: dict[str, Any] = {}
    for option in row.answer.OPTIONS:
        value = given[option.key]
        if option.part == "keyword":
            keywords[option.key] = value
        elif option.part == "request":
            request = value
        elif value is not None:
            request[option.name] = value
    return request, keywords


group = NetworkGroup(
    "infer", make=_command, help="Ask a trained network: who takes which task, what to change, when it is done."
)
