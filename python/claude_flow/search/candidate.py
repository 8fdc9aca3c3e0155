"""What is searched: sizes of a network, what their training shares, and what they came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_flow import networks
from claude_flow.errors import InputError
from claude_flow.train import config as training
from claude_flow.train.config import TrainingConfig

__all__ = ["Candidate", "Measured", "Setting", "space"]


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
    """What a candidate came to. ``loss`` is the metric with its sign turned where more is better.

    The rest is of one call of 8 tokens (of one row where the network takes rows) on one thread.
    """

    metric: float
    loss: float
    latency: float  # median milliseconds, native
    memory: float  # MiB of file and working memory
    flops: float  # operations
    wasm: float | None = None  # milliseconds as WebAssembly; None where wasmtime is not installed

    def to_json(self) -> dict[str, float]:
        """By name, as the commands print it."""
        found = {"metric": self.metric, "latency": self.latency, "memory": self.memory, "flops": self.flops}
        return found if self.wasm is None else {**found, "latency_wasm": self.wasm}


@dataclass(frozen=True)
class Candidate:
    """Sizes of a network, by the fields of its configuration, and what they came to."""

    sizes: dict[str, Any]
    measured: Measured


def space(network: str) -> Callable[[Any], dict[str, Any]]:
    """How a network's sizes are drawn: ``space(trial) -> sizes`` of its ``config`` module.

    Raises:
        InputError: the network declares none.
    """
    found: Callable[[Any], dict[str, Any]] | None = getattr(networks.get(network).part("config"), "space", None)
    if found is None:
        raise InputError(f"{network} has no search space: its sizes are not searched")
    return found
