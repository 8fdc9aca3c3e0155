"""One architecture: trained for a few epochs, and measured on the engine that will run it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile, networks
from claude_flow.files import temporary_folder
from claude_flow.measure.graph import Graph
from claude_flow.model import load
from claude_flow.report.progress import Progress, nothing
from claude_flow.train import config as training
from claude_flow.train import loop
from claude_flow.train.config import TrainingConfig, lower_is_better
from claude_flow.wasm import modules

__all__ = ["Candidate", "Measured", "Setting", "example", "latency", "measure", "space"]

_TOKENS = 8
_CALLS = 60


@dataclass(frozen=True)
class Setting:
    """What every candidate of a search shares."""

    network: str
    data: Path
    epochs: int = 3
    validation_split: float = 0.2
    document: Mapping[str, Any] | None = None  # a training configuration, sizes aside

    def config(self, sizes: Mapping[str, Any]) -> TrainingConfig:
        """The training configuration of a candidate."""
        body = {**(self.document or {}), "epochs": self.epochs, "network": dict(sizes)}
        for section in ("attention-config", "model-architecture"):
            body.pop(section, None)
        return training.parse({f"{self.network}-training": body}, self.network)

    @property
    def metric(self) -> str:
        """What a candidate is judged by: the monitored measure of the validation part."""
        return self.config({}).monitor.removeprefix("validation-")


@dataclass(frozen=True)
class Measured:
    """What a candidate came to. ``loss`` is the metric with its sign turned where more is better."""

    metric: float
    loss: float
    latency: float  # median milliseconds of one call of 8 tokens, native, one thread
    memory: float  # MiB of file and working memory
    flops: float  # operations of that call
    wasm: float | None = None  # the same as WebAssembly, milliseconds; None where wasmtime is not installed

    def to_json(self) -> dict[str, float]:
        """By name, as the commands print it."""
        found = {"metric": self.metric, "latency": self.latency, "memory": self.memory, "flops": self.flops}
        return found if self.wasm is None else {**found, "latency_wasm": self.wasm}


@dataclass(frozen=True)
class Candidate:
    """Sizes of a network, by the fields of its configuration, and what they came to."""

    sizes: dict[str, Any]
    measured: Measured


def measure(
    setting: Setting,
    sizes: Mapping[str, Any],
    seed: int,
    *,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> Measured:
    """Train a candidate and measure it; :class:`claude_flow.errors.InputError` for sizes that do not fit together."""
    config = setting.config(sizes)
    with temporary_folder() as run:
        card = loop.fit(
            setting.network,
            config,
            setting.data,
            run,
            seed=seed,
            validation_split=setting.validation_split,
            time_budget=time_budget,
            distributed="off",
            progress=lambda epoch, of, done, values: progress((epoch - 1 + done) / of, f"epoch {epoch} of {of}"),
        )
        file = run / "model.safetensors"
        model = load(file, threads=1)
        x = example(model, file)
        tokens = x.shape[1] if x.ndim == 3 else 1
        graph = Graph(modelfile.read(file))
        flops = sum(graph.cost(node, [tokens]).operations for node in graph.nodes)
        wasm = latency(load(file, backend="wasm", threads=1), x) if _has_wasm() else None
        native = latency(model, x)
        memory = (file.stat().st_size + model.arena_bytes) / (1 << 20)
    metric = setting.metric
    scores = card["held_out"]["metrics"]
    value = float(scores[metric] if scores.get(metric) is not None else scores["loss"])
    name = metric if scores.get(metric) is not None else "loss"
    loss = value if lower_is_better(name) else -value
    return Measured(value, loss, native, memory, float(flops), wasm)


def example(model: Any, file: Path) -> NDArray[np.float32]:
    """An input of eight tokens, or of one row where the network takes rows."""
    graph = Graph(modelfile.read(file))
    width = model.config["input_width"]
    shape = (1, min(_TOKENS, graph.max_tokens), width) if len(graph.input_shape) > 1 else (1, width)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def latency(model: Any, x: NDArray[np.float32], calls: int = _CALLS) -> float:
    """The median milliseconds of a call."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        model.run(x)
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def _has_wasm() -> bool:
    return find_spec("wasmtime") is not None and bool(modules.available())


def space(network: str) -> Callable[[Any], dict[str, Any]]:
    """How a network's sizes are drawn: ``space(trial) -> sizes`` of its ``config`` module."""
    found: Callable[[Any], dict[str, Any]] = networks.get(network).part("config").space
    return found
