"""Who may import whom: THE list, tested by tests/test_layers.py and printed into docs/architecture.md.

A part is a folder or a module of the package; a new one needs a row here. An import in a function counts as any
other, one for type checking alone does not. Optional libraries come in through ``errors.require``; torch may come in
plainly where :data:`TORCH` says.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CORE", "CPP", "PYTHON", "TORCH", "markdown"]

#: what `pip install claude-flow` brings: any part may import numpy and safetensors, the others are named below
CORE = {"numpy", "safetensors", "click", "rich", "filelock"}
#: files that may import torch, as patterns of paths
TORCH = (
    *("nets.py", "export.py", "model.py", "networks/*/net.py", "networks/*/learn.py"),
    "networks/*/rollouts.py",
    *("train/*", "compress/*", "search/*", "insight/*", "evaluate/*", "studies/*", "fed/*"),
)


class Part(NamedTuple):
    """A part: what it is, which of our parts it may import, which libraries beside numpy and safetensors."""

    what: str
    ours: str
    libraries: str = ""


_GROUND = "errors forks values files schema statistics registry report"
_FILE = f"{_GROUND} modelfile lowering"
_RUN = f"{_FILE} _core engine ops model runtime wasm nets export networks requests"
_LEARN = f"{_RUN} data environments modalities train evaluate measure"

PYTHON: dict[str, Part] = {
    "__init__": Part("`claude_flow.load` and what else is public, on first use", "model engine ops nets export run"),
    "__main__": Part("`python -m claude_flow`", "cli"),
    "errors": Part("every error raised on purpose; `require`, the door to optional libraries", ""),
    "forks": Part("what threads share, made anew in a forked child", ""),
    "files": Part("atomic writes, locks, temporary folders, text whatever wrote it", "errors", "filelock"),
    "values": Part("text to values: JSON, durations, sizes, shares, lists", "errors files", "orjson"),
    "schema": Part("the one checker of requests, configurations, manifests, cards", "errors values"),
    "statistics": Part("intervals, paired tests, corrections, scores", "errors", "scipy"),
    "report": Part("how results are shown: pages, tables, drawings, charts, progress", "errors files", "matplotlib"),
    "registry": Part("names to things: models, datasets, configurations, runs", "errors values files schema"),
    "engine": Part("which instruction sets there are, and which one runs", "_core"),
    "ops": Part("single kernels on NumPy arrays", "_core errors modelfile"),
    "modelfile": Part(
        "model files and the list of ops: read, written, laid out, fused, quantized, probed", f"{_GROUND} _core"
    ),
    "lowering": Part("a torch module's tensors to ops", "errors modelfile"),
    "model": Part("`load`, `run`, `decide`", _RUN),
    "runtime": Part("how models run in this workspace", _GROUND),
    "run": Part("batches of requests, clusters, servers", _RUN, "pyarrow ray mcp anyio uvicorn prometheus_client"),
    "wasm": Part("the engine as WebAssembly", _GROUND, "wasmtime"),
    "nets": Part("the networks in torch at the guide's sizes", f"{_GROUND} networks"),
    "export": Part("a torch module to a model file", f"{_FILE} nets networks"),
    "networks": Part("one folder per network, one row each", f"{_RUN} data evaluate environments", "pyarrow"),
    "environments": Part("a swarm to act in, rules, reward functions", "errors values", "gymnasium scipy"),
    "modalities": Part(
        "text, code and diagrams of functions: read, as numbers, found",
        f"{_FILE} _core",
        "pyarrow tree_sitter tree_sitter_python",
    ),
    "requests": Part("requests as lines: files of them, and the workspace's log", f"{_GROUND} networks"),
    "data": Part(
        "logs to tables to tensors",
        f"{_GROUND} modelfile networks requests",
        "pyarrow pandera spacy presidio_analyzer sklearn",
    ),
    "train": Part("the one training loop, and the recipes on it", _LEARN, "tensorboard scipy opacus sklearn flwr"),
    "compress": Part("smaller or faster models: quantized, pruned, distilled, prepacked", f"{_LEARN} studies", "onnx"),
    "search": Part("architecture search", _LEARN, "optuna scipy"),
    "insight": Part("explanations and debugging", _LEARN, "captum sklearn"),
    "evaluate": Part("judging models on held-out data", _LEARN, "sklearn lightgbm scipy"),
    "studies": Part("protocols of public benchmarks", f"{_LEARN}", "sklearn lightgbm scipy"),
    "measure": Part("this machine's limits, the time of every op, load", _RUN, "hdrh"),
    "watch": Part(
        "production: drift, alarms, retraining, tracking",
        f"{_LEARN} search compress insight run",
        "pyarrow sklearn mlflow flask boto3 botocore sqlalchemy apprise prometheus_client apscheduler",
    ),
    "integrations": Part("what other tools run or read of this package: Claude Code", _GROUND),
    "notebooks": Part("example notebooks, and JupyterLab or marimo to run them in", "errors files registry"),
    "cli": Part("the commands", "*", "click rich textual uvicorn"),
}

CPP: dict[str, Part] = {
    "include": Part("the flat C ABI", ""),
    "base": Part("instruction sets, threads, status", ""),
    "simd": Part("vectors of every instruction set, and functions of them", "base"),
    "kernels": Part("`isa_*.cpp` → `*-inl.h` → `simd`; `table.h` is all that others see", "simd base"),
    "ops": Part("one file per op", "kernels base"),
    "model": Part("a program checked, planned, run", "ops kernels base"),
    "bind": Part("Python", "include"),
}


def markdown(present: set[str]) -> str:
    """The tables for docs/architecture.md, of the parts that are ``present``."""
    lines = ["| part | what | may import | libraries |", "|---|---|---|---|"]
    for name, part in PYTHON.items():
        if name in present:
            ours = "everything" if part.ours == "*" else ", ".join(n for n in part.ours.split() if n in present)
            lines.append(f"| `{name}` | {part.what} | {ours} | {', '.join(part.libraries.split())} |")
    lines += ["", "| C++ | what | may include |", "|---|---|---|"]
    for name, part in CPP.items():
        lines.append(f"| `cpp/{name}` | {part.what} | {', '.join([*part.ours.split(), '`claude_flow.h`'])} |")
    torch = ", ".join(f"`{pattern}`" for pattern in TORCH if pattern.partition("/")[0].removesuffix(".py") in present)
    return "\n".join([*lines, "", f"torch: {torch}."])
