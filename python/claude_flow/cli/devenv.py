"""``claude-flow neural dev-env``: a place to try things in."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table

__all__ = ["group"]

group = Group("dev-env", help="Try the networks in notebooks.")


@group.command(
    "launch",
    examples=[
        """\
claude-flow neural dev-env launch \\
  --environment "jupyter-neural" \\
  --gpu-support true \\
  --visualization-tools true \\
  --debugging-enabled true""",
        "claude-flow neural dev-env launch --port 8899 --time-budget 8h",
        "claude-flow neural dev-env launch --environment marimo-neural",
    ],
)
@click.option(
    "--environment",
    type=click.Choice(["jupyter-neural", "marimo-neural"]),
    default="jupyter-neural",
    show_default=True,
    help="JupyterLab, or marimo; the kernel is the Python that runs here.",
)
@params.switch("--gpu-support", help="Look for a GPU that torch can use, and say which, or why there is none.")
@params.switch("--visualization-tools", default=True, help="Refuse to start without matplotlib.")
@params.switch("--debugging-enabled", default=True, help="Give the kernel a debugger, and show it: JupyterLab.")
@click.option("--port", type=click.IntRange(1, 65535), show_default="a free one", help="Where it listens.")
@options.time_budget("End after this time.")
@click.pass_obj
def launch(
    output: Output,
    environment: str,
    gpu_support: bool,
    visualization_tools: bool,
    debugging_enabled: bool,
    port: int | None,
    time_budget: float | None,
) -> None:
    """Launch notebooks on this workspace, with examples, until Ctrl-C.

    The server listens to this machine alone, and asks for the token that is in its address. The notebooks are in
    notebooks/ of the workspace; an example that is there stays as you left it. JupyterLab needs
    `pip install 'claude-flow[notebooks]'`, marimo 'claude-flow[marimo]'.
    """
    from claude_flow import notebooks
    from claude_flow.notebooks import jupyter, marimo

    begin = time.monotonic()
    folder = registry.workspace().resolve() / "notebooks"
    is_marimo = environment.startswith("marimo")
    name = "marimo" if is_marimo else "JupyterLab"
    debugger = debugging_enabled and not is_marimo
    if is_marimo:
        settings, needed = marimo.configure(), ["claude_flow", "marimo"]
        folder.mkdir(parents=True, exist_ok=True)
    else:
        settings, needed = jupyter.configure(folder, debugging_enabled), ["claude_flow", "ipykernel"]
    with output.progress("checking the kernel"):
        kernel = jupyter.check(folder, settings, gpu_support, visualization_tools, debugger, needed)
    gpu = kernel.pop("gpu")
    if gpu and gpu["reason"]:
        output.warn(f"no GPU: {gpu['reason']}; everything runs on the CPU")
    if debugging_enabled and is_marimo:
        output.note("marimo has no debugger of its own: breakpoint() in a cell stops there")
    examples = (marimo if is_marimo else notebooks).copy(folder)
    with contextlib.ExitStack() as stack:
        with output.progress(f"{name} starts"):
            lab = stack.enter_context((marimo if is_marimo else jupyter).launch(folder, settings, port))
        answer = {
            "environment": environment,
            "url": lab.url,
            "folder": str(folder),
            "kernel": kernel,
            "gpu": gpu,
            "debugger": debugger,
            "notebooks": [file.name for file in examples],
        }
        output.result(answer, _tables(name, answer))
        sys.stdout.flush()  # who reads it through a pipe wants the address now
        output.note("Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            lab.wait(None if time_budget is None else max(0.0, begin + time_budget - time.monotonic()))


def _tables(name: str, answer: dict[str, Any]) -> list[Table]:
    gpu = answer["gpu"]
    rows = [
        ["address", answer["url"]],
        ["folder", answer["folder"]],
        ["kernel", answer["kernel"]["python"]],
        ["GPU", "not asked for" if gpu is None else gpu["name"] or f"none: {gpu['reason']}"],
        ["debugger", answer["debugger"]],
        ["notebooks", answer["notebooks"]],
    ]
    modules = [list(row) for row in answer["kernel"]["modules"].items()]
    return [(name, ["", ""], rows), ("In the kernel", ["module", "version"], modules)]
