"""``claude-flow neural infer``: put a request to a trained network and print its answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from claude_flow import files, networks, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.networks import NetworkGroup
from claude_flow.cli.output import Output, Table
from claude_flow.errors import ClaudeFlowError

__all__ = ["group"]


def _line(row: networks.Network) -> str:
    return f"Say {row.question}."


def _command(row: networks.Network) -> Command:
    """The command that asks a network: the options of its ``answer`` module, and how its model runs."""
    answers = row.answer

    @click.command(row.name, cls=Command, examples=answers.EXAMPLES, help=f"{_line(row)}\n\n{answers.HELP}")
    @params.switch("--explain-decision", help="Name the inputs that decided.")
    @options.model(without="the workspace's newest of this network, else the built-in one")
    @options.backend()
    @options.isa()
    @options.threads()
    @click.option(
        "--adapt",
        metavar="DATASET",
        help="Adapt a meta-trained model (train meta) to this dataset's own examples first, and show both answers.",
    )
    @click.option(
        "--keep-adapted", metavar="NAME", type=params.NAME, help="Store the adapted model as a version of NAME."
    )
    @click.option(
        "--save-request",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Append the request to this file, for `infer batch`.",
    )
    @options.log_request()
    @click.pass_obj
    def infer(
        output: Output,
        /,
        explain_decision: bool,
        model: str | None,
        backend: str | None,
        isa: str,
        threads: int | None,
        adapt: str | None,
        keep_adapted: str | None,
        save_request: Path | None,
        log_request: bool | None,
        **given: Any,
    ) -> None:
        from claude_flow import requests
        from claude_flow.model import load_to_answer

        how = {"backend": backend, "isa": isa, "threads": threads}
        request, keywords = split(row, given)
        if keep_adapted and adapt is None:
            raise click.UsageError("--keep-adapted needs --adapt")
        if adapt is not None:
            path = registry.model_path(model or f"{row.name}-meta")
            answer, other, tables = _adapted(
                output, row, path, adapt, keep_adapted, how, request, explain_decision, keywords
            )
            output.result({**answer, "adapted": other}, tables)
            return
        if model is None:
            for note in registry.passed_over(row.name):
                output.warn(note)
        loaded = load_to_answer(row.name, model, **how)
        begin = time.perf_counter()
        answer = answers.answer(loaded, request, explain=explain_decision, **keywords)
        seconds = time.perf_counter() - begin
        tables = answers.render(answer)
        if tables and "model" in answer:
            title, *rest = tables[0]
            tables[0] = (f"{title} ({answer['model']})", *rest)
        output.result(answer, tables)
        if save_request:
            requests.append(save_request, requests.Request("", row.name, request, model))
        if requests.is_kept(log_request):
            try:
                requests.keep(row.name, request, model, seconds, answer)
            except (OSError, ClaudeFlowError) as error:  # it was answered all the same
                output.warn(f"the request was not logged: {error}")

    infer.params[:0] = [params.of(option) for option in answers.OPTIONS]
    return infer


def _adapted(
    output: Output,
    row: networks.Network,
    path: Path,
    data: str,
    name: str | None,
    how: dict[str, Any],
    request: Any,
    explain: bool,
    keywords: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], list[Table]]:
    """The answer of a meta-trained model after a few steps on a dataset's own examples; how it was adapted, with the
    answer before; the tables of both."""
    from claude_flow import modelfile
    from claude_flow.data import preprocess
    from claude_flow.model import load_for
    from claude_flow.train.recipes import meta

    folder = preprocess.for_network(row.name, data, output.note)
    answers: list[dict[str, Any]] = []
    tables: list[Table] = []
    with files.temporary_folder() as scratch:
        file = scratch / "adapted.safetensors"
        told = meta.adapted(path, folder, file)
        for which, title in ((file, "adapted to"), (scratch / "plain.safetensors", "not adapted to")):
            answer = row.answer.answer(load_for(row.name, which, **how), request, explain=explain, **keywords)
            answers.append({**answer, "model": registry.model_name(path)} if "model" in answer else answer)
            first, *rest = row.answer.render(answer)
            tables += [(f"{first[0]} ({registry.model_name(path)}, {title} {data})", *first[1:]), *rest]
        if name is not None:
            card = {**modelfile.read(file).provenance, "network": row.name, "parent": registry.model_name(path)}
            told["stored"] = registry.model_name(registry.add_model(name, None, file, card))
            output.note(f"{told['stored']} is stored")
    return answers[0], {"data": folder, **told, "before": answers[1]}, tables


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
    "infer",
    make=_command,
    line=_line,
    help="Ask a trained network: who takes which task, what to change, when it is done.",
    members={
        "batch": ("claude_flow.cli.batch:batch", "Answer a file of requests of all kinds."),
        "distributed": ("claude_flow.cli.distributed:distributed", "Answer requests on several nodes."),
        "multimodal": ("claude_flow.cli.multimodal:infer", "Find functions by words, code or call graph."),
    },
)
