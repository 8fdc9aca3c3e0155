"""``claude-flow neural infer``: put a request to a trained network and print its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output
from claude_flow.errors import InputError
from claude_flow.values import json_argument, names

if TYPE_CHECKING:
    from claude_flow.model import Model

__all__ = ["group"]

group = Group("infer", help="Ask a trained network: who takes which task, what to change, when it is done.")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _model_options(function: _Function) -> _Function:
    """Which model answers and how it runs; the same for every network."""
    function = options.backend()(options.isa()(options.threads()(function)))
    return options.model(without="the workspace's newest of this network, else the built-in one")(function)


def _load(network: str, model: str | None, backend: str | None, isa: str, threads: int | None) -> Model:
    from claude_flow.model import load

    path = registry.newest_model(network) if model is None else registry.model_path(model)
    loaded = load(path, backend=backend, isa=isa, threads=threads)
    if loaded.network != network:
        raise InputError(f"{path} is a {loaded.network} model: name a {network} model, or ask  infer {loaded.network}")
    return loaded


def _request(options: dict[str, Any]) -> dict[str, Any]:
    """The request that options stand for: what was not given is not in it."""
    return {name.replace("_", "-"): value for name, value in options.items() if value is not None}


def _targets(text: str) -> Any:
    return json_argument(text) if text.lstrip().startswith(("{", "@")) else list(names(text))


@group.command(
    "coordination",
    examples=[
        """\
claude-flow neural infer coordination \\
  --input '{
    "current-agents": [
      {"id":"arch-001","type":"architect","load":0.6,"capabilities":["design","analysis"]},
      {"id":"code-001","type":"coder","load":0.8,"capabilities":["backend","apis"]}
    ],
    "pending-tasks": [
      {"id":"task-001","type":"api-design","priority":"high","complexity":0.7},
      {"id":"task-002","type":"implementation","priority":"medium","complexity":0.8}
    ],
    "system-state": {"memory-usage":0.65,"cpu-usage":0.45,"network-latency":25}
  }' \\
  --confidence-threshold 0.8 \\
  --explain-decision true""",
        "claude-flow neural infer coordination --input @swarm.json --format json",
    ],
)
@click.option(
    "--input",
    "request",
    type=params.Json(dict),
    required=True,
    help='The swarm: "current-agents", "pending-tasks", "system-state".',
)
@options.confidence_threshold()
@options.explain_decision()
@_model_options
@click.pass_obj
def coordination(
    output: Output,
    /,
    request: dict[str, Any],
    confidence_threshold: float,
    explain_decision: bool,
    **model: Any,
) -> None:
    """Say which agent should take which task."""
    from claude_flow.networks.coordination import answer as network

    answer = network.answer(
        _load("coordination", **model),
        request,
        confidence_threshold=confidence_threshold,
        explain=explain_decision,
    )
    output.result(answer, network.render(answer))


@group.command(
    "optimization",
    examples=[
        """\
claude-flow neural infer optimization \\
  --current-performance '{
    "throughput": 45.2,
    "latency": 120,
    "error-rate": 0.02,
    "resource-utilization": 0.78
  }' \\
  --constraints '{
    "max-memory": "16GB",
    "max-cpu": 0.9,
    "budget": 1000
  }' \\
  --optimization-targets '["reduce-latency","improve-throughput"]'""",
        "claude-flow neural infer optimization --current-performance @metrics.json --current-settings @settings.json",
    ],
)
@click.option("--current-performance", type=params.Json(dict), required=True, help="Metrics by name.")
@click.option("--current-settings", type=params.Json(dict), help='Settings by name, such as {"max-agents": 6}.')
@click.option("--workload", type=params.Json(dict), help='The work by name, such as {"arrival-rate": 50}.')
@click.option("--constraints", type=params.Json(dict), help='Limits by name, such as {"max-memory": "16GB"}.')
@click.option(
    "--optimization-targets",
    type=params.Parsed("targets", _targets),
    help='What to improve: names, or weights such as {"reduce-latency": 3}.',
)
@click.option("--top", type=click.IntRange(1, 128), default=5, show_default=True, help="The most changes to name.")
@options.confidence_threshold()
@options.explain_decision()
@_model_options
@click.pass_obj
def optimization(
    output: Output, /, top: int, confidence_threshold: float, explain_decision: bool, **options: Any
) -> None:
    """Say what to change to remove the bottleneck.

    docs/optimization.md lists every metric, setting, limit and target. What is left out is unknown, never zero.
    """
    from claude_flow.networks.optimization import answer as network

    loaded = _load("optimization", *(options.pop(name) for name in ("model", "backend", "isa", "threads")))
    request = _request(options)
    answer = network.answer(
        loaded, request, top=top, confidence_threshold=confidence_threshold, explain=explain_decision
    )
    output.result(answer, network.render(answer))


@group.command(
    "prediction",
    examples=[
        """\
claude-flow neural infer prediction \\
  --task-description "implement authentication microservice" \\
  --historical-context "similar-tasks-last-6-months" \\
  --current-team-capacity '{
    "available-agents": 4,
    "average-productivity": 0.85,
    "experience-level": "senior"
  }' \\
  --uncertainty-quantification true \\
  --confidence-intervals "80%,95%\"""",
        "claude-flow neural infer prediction --task-description 'fix a flaky test' --task-type bugfix --agent coder-1",
    ],
)
@click.option("--task-description", required=True, help="What is to be done, in words.")
@click.option(
    "--historical-context",
    metavar="CONTEXT",
    help="The past runs to learn from: a dataset of tables, or similar-tasks-last-6-months for those in the "
    "workspace's swarm-training-data.",
)
@click.option("--current-team-capacity", type=params.Json(dict), help='The team, such as {"available-agents": 4}.')
@params.switch("--uncertainty-quantification", default=True, help="Give intervals beside the median.")
@click.option(
    "--confidence-intervals", type=params.SHARES, default="80%,95%", show_default=True, help="Their levels, up to 95%."
)
@click.option("--task-type", help="The kind of task, as the history names it.")
@click.option("--agent", help="Who would do it, as the history names them.")
@click.option("--source", help="Whose log the task belongs to; by default that of the latest run.")
@click.option("--requested-time", type=params.DURATION, help="The time reserved for it, such as 2h.")
@click.option("--processors", type=params.Number(0), help="The processors reserved for it.")
@click.option("--decision-time", metavar="TIME", help="ISO 8601; only what was known then counts. Default: now.")
@options.explain_decision()
@_model_options
@click.pass_obj
def prediction(output: Output, /, explain_decision: bool, **options: Any) -> None:
    """Say when a task will be done, and how sure that is."""
    from claude_flow.networks.prediction import answer as network

    loaded = _load("prediction", *(options.pop(name) for name in ("model", "backend", "isa", "threads")))
    request = _request(options)
    answer = network.answer(loaded, request, explain=explain_decision)
    output.result(answer, network.render(answer))
