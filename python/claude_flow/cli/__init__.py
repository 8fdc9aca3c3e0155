"""The ``claude-flow`` command: the root of the tree of commands, and the entry point of the program.

The tree is lazy. :data:`NEURAL` names the module of every group beside its line of help, so that no group is
imported, nor what it needs, before one of its commands is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from claude_flow import __version__
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output

__all__ = ["NEURAL", "main", "root"]

NEURAL: dict[str, tuple[str, str]] = {
    # name: (module:attribute, the first line of its help; a test keeps the two equal)
    "benchmark": ("claude_flow.cli.benchmark:benchmark", "Benchmark a model against baselines."),
    "connect": ("claude_flow.cli.connect:group", "Tell other tools of this one, and take it back."),
    "data": ("claude_flow.cli.data:group", "Collect a swarm's logs and prepare them for training."),
    "debug": (
        "claude_flow.cli.debug:group",
        "Look into a model: dead and saturated units, gradients that vanish or explode.",
    ),
    "dev-env": ("claude_flow.cli.devenv:group", "Try the networks in notebooks."),
    "experiments": (
        "claude_flow.cli.experiments:group",
        "Keep what every run was given and what came out, and compare.",
    ),
    "explain": ("claude_flow.cli.explain:group", "Show what a model's answers rest on."),
    "infer": (
        "claude_flow.cli.infer:group",
        "Ask a trained network: who takes which task, what to change, when it is done.",
    ),
    "learn": ("claude_flow.cli.learn:learn", "Learn from the own log, and keep what is better for it."),
    "maintain": (
        "claude_flow.cli.maintain:group",
        "Train models again when it is time, and deploy what is not worse.",
    ),
    "mcp": ("claude_flow.cli.mcp:mcp", "Offer the networks to agents as MCP tools."),
    "monitor": ("claude_flow.cli.monitor:group", "Watch training runs, drift, production."),
    "nas": ("claude_flow.cli.nas:group", "Search for architectures that learn as well and run faster."),
    "optimize": (
        "claude_flow.cli.optimize:group",
        "Make models smaller and faster, with a guarantee of what they keep.",
    ),
    "playground": (
        "claude_flow.cli.playground:playground",
        "Try models on a local page: change a request, see every answer change.",
    ),
    "profile": ("claude_flow.cli.profile:group", "See where a model's time goes, and what this machine could do."),
    "record-outcome": (
        "claude_flow.cli.outcome:record_outcome",
        "Say how a task ended, so that later answers learn from it.",
    ),
    "runtime": ("claude_flow.cli.runtime:group", "Choose how models run here, and measure how fast they answer."),
    "serve": ("claude_flow.cli.serve:serve", "Answer requests to all networks over HTTP."),
    "test": (
        "claude_flow.cli.test:group",
        "Test the engine's parts, models together, and a new model against the old one.",
    ),
    "train": ("claude_flow.cli.train:group", "Train a network on a preprocessed dataset."),
    "transfer": ("claude_flow.cli.transfer:group", "Transfer what a model learned to another domain."),
    "validate": (
        "claude_flow.cli.validate:group",
        "Train a model anew on folds or windows of its data, and judge each.",
    ),
    "version": ("claude_flow.cli.version:group", "Choose which version of a model its name means."),
    "wasm": ("claude_flow.cli.wasm:group", "Prepack models for instruction sets, and measure them as WebAssembly."),
}


@click.group("claude-flow", cls=Group)
@click.version_option(__version__, message="claude-flow %(version)s")
def root() -> None:
    """Small neural networks that run a swarm of coding agents."""


root.add_command(
    Group("neural", members=NEURAL, help="Learn from a swarm's logs; assign, optimize and predict its work.")
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``claude-flow ARGUMENTS`` (default: the process's own) and return its exit code.

    0 done; 1 failed; 2 the input or the command line cannot be used; 130 interrupted; 141 the reader of
    standard output went away.
    """
    completion = os.environ.get("_CLAUDE_FLOW_COMPLETE")
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "claude-flow", "_CLAUDE_FLOW_COMPLETE", completion)
    output = Output()
    with output.guard():
        words = list(sys.argv[1:] if arguments is None else arguments)
        with root.make_context("claude-flow", words, obj=output) as context:
            root.invoke(context)
    return output.exit_code
