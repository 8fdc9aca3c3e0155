"""Walk the guide: run every command line of it that exists, word for word, in its order, in one new workspace.

``make guide`` prints the table. A command is *done* when its line ends with exit code 0 and all that :data:`PROMISES`
says is there; *missing* when the program has no such command yet; *unavailable* when this machine lacks what it needs.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from tests.guide import swarm

from claude_flow import cli, registry
from claude_flow.cli.output import Output
from claude_flow.wasm import modules

__all__ = ["PROMISES", "Line", "Step", "is_registered", "lines", "walk"]

HERE = Path(__file__).parent
#: what training and measuring may take, each
BUDGET = "3s"
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Promise:
    """What a command leaves: ``keys`` of its JSON answer, as paths such as ``rows.0.p50_ms``, none of them null, and
    ``files`` of the workspace, as patterns. ``lacking`` tells why this machine cannot run it, or nothing."""

    keys: Sequence[str]
    files: Sequence[str] = ()
    lacking: Callable[[], str] = lambda: ""
    codes: Sequence[int] = (0,)  # 1 is the verdict of a test that failed

    def broken(self, answer: Any, workspace: Path) -> list[str]:
        """What is not there."""
        gone = [f"no {key} in the answer" for key in self.keys if _at(answer, key) is None]
        return gone + [f"no {pattern}" for pattern in self.files if not any(workspace.glob(pattern))]


def _no_wasm() -> str:
    return "" if modules.available() else "this package was built without Emscripten"


def _without(module: str, extra: str) -> Callable[[], str]:
    return lambda: "" if find_spec(module) else f"{module} is not installed: pip install 'claude-flow[{extra}]'"


def _no_model(name: str) -> Callable[[], str]:
    return lambda: "" if name in registry.models() else f"the model {name} does not ship yet"


_JUDGED = ("evaluations.0.scores.0.mean", "evaluations.0.tests")
_SMALLER = ("model", "evidence.comparisons.0.low", "size.bytes.after", "latency.native.speedup")
PROMISES = {
    "data collect": Promise(
        ["time_range.0", "tables.runs.rows", "filters.anonymized.email"],
        ["datasets/swarm-training-data/runs.parquet", "datasets/swarm-training-data/steps.parquet"],
    ),
    "data validate": Promise(["errors", "findings", "drift", "anomalies"]),
    "data preprocess": Promise(
        ["made.coordination.path", "made.prediction.path"],
        [
            "datasets/preprocessed-coordination-data/*.safetensors",
            "datasets/preprocessed-prediction-data/*.safetensors",
        ],
    ),
    "train coordination": Promise(
        ["version", "card.held_out.metrics.coordination-accuracy", "card.baselines.random"],
        [
            "models/coordination/*/model.safetensors",
            "models/coordination/*/card.json",
            "runs/coordination/tensorboard/*",
        ],
    ),
    "monitor training": Promise(["state", "metrics.0.name", "alerts"]),
    "experiments setup": Promise(
        ["tracking_uri", "artifacts.probe.delete", "artifacts.waiting_for"],
        ["experiments/settings.json"],
        lacking=_without("mlflow", "experiments"),
    ),
    "experiments log": Promise(["run", "delivered"], lacking=_without("mlflow", "experiments")),
    "monitor production": Promise(
        ["models.2.metrics.drift.note", "channels.2.needs"],
        ["monitor/metrics.prom", "monitor/alert-rules.yml", "monitor/dashboard.json"],
        lacking=_without("prometheus_client", "notify"),
    ),
    "maintain retrain-schedule": Promise(
        ["looks.coordination-v3.triggers.2.value", "cron", "systemd"],
        ["maintain/schedules.json", "maintain/audit.jsonl"],
    ),
    "monitor drift": Promise(["verdict", "groups.coordination.inputs.verdict", "groups.coordination.inputs.reference"]),
    "validate cross-fold": Promise(_JUDGED),
    "validate time-series": Promise(_JUDGED),
    "benchmark": Promise(_JUDGED),
    "infer coordination": Promise(
        ["assignments.1.task", "assignments.0.confidence", "assignments.0.explanation.0.input", "confidence_threshold"]
    ),
    "infer optimization": Promise(
        ["recommendations.0.tunable", "targets.reduce-latency", "targets.improve-throughput"]
    ),
    "infer prediction": Promise(
        [
            "predictions.duration.intervals.0\\.8",
            "predictions.duration.intervals.0\\.95",
            "history.since",
            "failure.status",
        ]
    ),
    "optimize quantize": Promise(_SMALLER, ["models/coordination-v3-int8/*/card.json"]),
    "optimize quantize-dynamic": Promise(
        [*_SMALLER, "candidates.0.milliseconds"], ["models/coordination-v3-dynamic/*/card.json"]
    ),
    "optimize prune": Promise([*_SMALLER, "method.groups"], ["models/coordination-v3-pruned/*/card.json"]),
    "optimize distill": Promise(
        [*_SMALLER, "method.student"],
        ["models/coordination-v3-large/*/model.safetensors", "models/coordination-v3-small/*/card.json"],
    ),
    "wasm optimize-simd": Promise(["file_bytes.after"], ["models/coordination-v3-simd/*/model.safetensors"]),
    "wasm profile-simd": Promise(["hosts.0.throughput", "hosts.0.latency.median"], lacking=_no_wasm),
    "wasm optimize-memory": Promise(["arena_bytes.pooled"], ["models/coordination-v3-memory/*/model.safetensors"]),
    "runtime setup-acceleration": Promise(["settings.backend", "effects.0.with"], ["runtime.json"], lacking=_no_wasm),
    "runtime benchmark": Promise(["rows.0.p50_ms", "rows.11.items_per_second"]),  # three workloads by four levels
    "transfer": Promise(["held_out.transfer", "layers.trained"], lacking=_no_model("coordination-v2-general")),
    "train federated": Promise(["version", "rounds.0", "epsilon"], lacking=_without("opacus", "federated")),
    "train reinforcement": Promise(
        ["version", "seeds.0.reward", "card.baselines.tuned-rule"],
        ["models/action/*/card.json"],
        lacking=_without("gymnasium", "rl"),
    ),
    "train incremental": Promise(["this.forgetting", "fine-tuning.forgetting"], ["models/coordination-v3/*/card.json"]),
    "train meta": Promise(["held_out_tasks.this.loss"], ["models/coordination-meta/*/model.safetensors"]),
    "train multimodal": Promise(
        ["held_out.text-to-code-recall@10", "held_out.diagrams-to-text+code-recall@10", "baselines.bm25"],
        ["datasets/functions/functions.parquet", "models/multimodal/*/model.safetensors"],
        lacking=_without("tree_sitter", "multimodal"),
    ),
    "transfer cross-modal": Promise(
        ["accuracy.zero-shot", "accuracy.few-shot", "accuracy.largest class", "retrieval.chance"],
        ["models/text-to-diagrams/*/card.json"],
        lacking=_without("tree_sitter", "multimodal"),
    ),
    "infer batch": Promise(["answered", "by_network.coordination", "by_network.prediction"]),
    "infer distributed": Promise(
        ["answered", "nodes.2.requests", "nodes.0.expected_seconds", "where"], lacking=_without("ray", "distributed")
    ),
    "nas search": Promise(["candidates.0.sizes", "hypervolume"], lacking=_without("optuna", "nas")),
    "nas evaluate": Promise(["candidates.0.metric", "seeds"], lacking=_without("optuna", "nas")),
    "nas optimize": Promise(["base.metric", "tried", "feasible"], lacking=_without("optuna", "nas")),
    "version create": Promise(["version", "checks.0.ok"], ["models/coordination/3.2.1/model.safetensors"]),
    "version rollback": Promise(["history.0.version"], ["models/coordination/3.1.0/model.safetensors"]),
    "profile computation": Promise(["ops.0.seconds", "memory", "cache.levels", "suggestions"]),
    "explain attention": Promise(["attention.0.weights", "agreement.rollout", "page"], ["reports/attention-*.html"]),
    "explain attention-evolution": Promise(
        ["heads.0.entropy.0", "trends.0.trend", "changes", "patterns", "clusters.0"],
        ["reports/attention-evolution-*.html"],
    ),
    "explain features": Promise(
        ["groups.2.name", "features.0.effect", "curves.deletion.area", "completeness.largest_error"],
        ["reports/features-*.html"],
        lacking=_without("captum", "explain"),
    ),
    "explain boundaries": Promise(
        ["decisions.0.choice", "decisions.0.held", "turned.of", "projection.points.0"], ["reports/boundaries-*.html"]
    ),
    "dev-env launch": Promise(
        ["url", "folder", "kernel.modules.matplotlib", "gpu", "notebooks.3"],
        ["notebooks/1_first_steps.ipynb", "notebooks/4_deploy.ipynb"],
        lacking=_without("jupyterlab", "notebooks"),
    ),
    "debug activations": Promise(["layers.0.deviation", "findings"]),
    "debug activation-comparison": Promise(
        ["groups.1.requests", "layers.0.p_corrected", "note"], ["reports/activation-comparison-*.html"]
    ),
    "debug gradients": Promise(["layers.0.norm", "median_ratio", "findings"]),
    "test integration": Promise(["checks.0.passed", "latencies.0.p50_ms", "passed"]),
    "test unit": Promise(["engines.0", "cases.0.error", "gradients.0.passed", "passed"]),
    "test regression": Promise(["quality.0.detectable", "costs.0.ratio", "regressions"], codes=(0, 1)),
    "playground": Promise(["address", "port", "models.2.network"]),
    "profile latency": Promise(["rows.0.p50_ms", "rows.0.p99_ms", "rows.0.bottleneck.kind"]),
}


#: Lines that train or search, ten to thirty seconds each even on a second's budget: `make test` leaves them to tests of
#: their own, in the places named here, and `make guide` runs them too.
LONG = {
    "tests/compress": ("optimize quantize", "optimize quantize-dynamic", "optimize prune", "optimize distill"),
    "tests/modalities": ("train multimodal", "transfer cross-modal"),
    "tests/run/test_distributed.py": ("infer distributed",),
    "tests/search": ("nas search", "nas evaluate", "nas optimize"),
    "tests/train/recipes": ("transfer", "train federated", "train incremental", "train meta"),
    "tests/networks/action": ("train reinforcement",),
    "tests/evaluate": (
        "validate cross-fold",
        "validate time-series",
        "benchmark",
        "test integration",
        "test regression",
    ),
}


#: what the guide takes for granted: lines that run before one of its own
BEFORE = {
    "infer batch": (
        "claude-flow neural infer coordination --input swarm.json --save-request inference-requests.jsonl",
        "claude-flow neural infer prediction --task-description 'fix a flaky test' "
        "--save-request inference-requests.jsonl",
    ),
    "experiments log": (
        "cp coordination-training-config.json training-config.json",
        "cp $(ls .claude-flow/neural/models/coordination/*/card.json | head -1) training-results.json",
        "mkdir model-checkpoints && cp .claude-flow/neural/runs/coordination/*.safetensors model-checkpoints/",
    ),
    "version create": (
        "claude-flow neural version create --model coordination-v3 --version 3.1.0 --changes 'the first'",
    ),
}
_SWARM = HERE.parents[1] / "docs" / "examples" / "swarm.json"


@dataclass(frozen=True)
class Line:
    """A command line of the guide, as it is printed there."""

    text: str

    @property
    def words(self) -> list[str]:
        """What a shell makes of it."""
        return shlex.split(self.text.replace("\\\n", " "))

    @property
    def name(self) -> str:
        """The words of the command: ``data collect``."""
        words = self.words[2:]  # after `claude-flow neural`
        return " ".join(words[: next(i for i, word in enumerate(words) if word.startswith("--"))])


@dataclass
class Step:
    """What became of a line."""

    line: Line
    state: str = "missing"
    seconds: float = 0.0
    why: list[str] = field(default_factory=list)  # it failed, or is unavailable

    @property
    def outputs(self) -> str:
        """What is there, or what is wrong."""
        if self.state == "done":
            promise = PROMISES[self.line.name]
            return ", ".join([*promise.files, *promise.keys])
        return "; ".join(self.why)


def lines() -> list[Line]:
    """The guide's command lines."""
    return [Line(part) for part in (HERE / "commands.sh").read_text("utf-8").strip().split("\n\n")[1:]]


def is_registered(line: Line) -> bool:
    """Whether the program has the command of this line."""
    command: click.Command | None = cli.root.commands["neural"]
    *groups, last = line.name.split()
    for name in groups:
        command = command.get_command(click.Context(command), name) if isinstance(command, click.Group) else None
    found = command.get_command(click.Context(command), last) if isinstance(command, click.Group) else None
    return found is not None and (not isinstance(found, click.Group) or getattr(found, "own", None) is not None)


def walk(folder: Path, budget: str = BUDGET, without: Collection[str] = ()) -> Iterator[Step]:
    """Run the lines in ``folder``, which becomes a project with a month's log; yields each as it ends. Those named in
    ``without`` are left out."""
    workspace = folder / ".claude-flow" / "neural"
    swarm.write(folder / "claude" / "projects", workspace / "events", datetime.now(timezone.utc))
    config = "coordination-training-config.json"
    (folder / config).write_bytes((HERE / config).read_bytes())
    (folder / _SWARM.name).write_bytes(_SWARM.read_bytes())
    environment = _environment(folder, budget)
    for line in lines():
        step = Step(line)
        if line.name in without:
            step.state = "left out"
        elif is_registered(line):
            _run(step, folder, workspace, environment)
        yield step


def _environment(folder: Path, budget: str) -> dict[str, str]:
    """The caller's, in which ``claude-flow`` is the program under test and everything else belongs to the walk."""
    program = folder / "bin" / "claude-flow"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m claude_flow "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLAUDE_")}
    return kept | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "CLAUDE_CONFIG_DIR": str(folder / "claude"),
        "CLAUDE_FLOW_FORMAT": "json",
        "CLAUDE_FLOW_TIME_BUDGET": budget,
        "OMP_NUM_THREADS": "1",
    }


def _run(step: Step, folder: Path, workspace: Path, environment: dict[str, str]) -> None:
    promise = PROMISES.get(step.line.name)
    if promise is None:
        step.state, step.why = "failed", ["nothing is promised of it: add a row to PROMISES"]
        return
    if reason := promise.lacking():
        step.state, step.why = "unavailable", [reason]
        return
    script = "\n".join(["set -e", *(f"{line} >&2" for line in BEFORE.get(step.line.name, ())), step.line.text])
    command = ["bash", "-c", script]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        step.why = [f"it had not ended after {_TIMEOUT_S} s"]
    else:
        step.why = _wrong(done, promise, workspace)
    step.seconds = time.monotonic() - begin
    step.state = "failed" if step.why else "done"


def _wrong(done: subprocess.CompletedProcess[str], promise: Promise, workspace: Path) -> list[str]:
    if done.returncode not in promise.codes:
        return [f"exit code {done.returncode}", *done.stderr.strip().splitlines()[-1:]]
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return ["its answer is not JSON"]
    return promise.broken(answer, workspace)


def _at(value: Any, path: str) -> Any:
    """The value at ``a.0.b`` in a JSON value, or None; ``\\.`` is a dot in a key."""
    for key in path.replace("\\.", "\0").split("."):
        key = key.replace("\0", ".")
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def main() -> int:
    """Walk in a temporary folder and print the table; 1 if a command failed."""
    output, steps = Output(), []
    with tempfile.TemporaryDirectory() as folder, output.progress("walking", len(lines()), "commands") as bar:
        for step in walk(Path(folder)):
            steps.append(step)
            bar.update(len(steps), note=step.line.name)
    rows = [[step.line.name, step.state, round(step.seconds, 1) or None, step.outputs] for step in steps]
    states = [step.state for step in steps]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    output.result(
        [dict(zip(("command", "state", "seconds", "outputs"), row, strict=True)) for row in rows],
        [(f"{len(steps)} commands of the guide: {counts}", ["command", "state", "seconds", "outputs"], rows)],
    )
    return int("failed" in states)


if __name__ == "__main__":
    sys.exit(main())
