"""Optimization: a residual feed-forward network from the swarm's metrics to scores over a catalogue of changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow.lowering import RELU, Lowering
from claude_flow.modelfile import PER_ITEM
from claude_flow.networks.optimization.config import OptimizationConfig

__all__ = ["Net", "OptimizationNet", "lower", "restored", "stored"]


class _Residual(nn.Module):
    """h = shortcut(x) + relu(W x + b); the shortcut is x, or a bias-free projection of it where the width changes."""

    def __init__(self, width: int, next_width: int, projected: bool, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, next_width)
        self.shortcut = nn.Linear(width, next_width, bias=False) if projected else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(x)
        h: Tensor = shortcut + self.dropout(torch.relu(self.linear(x)))
        return h


class OptimizationNet(nn.Module):
    """Scores of the 128 recommendations: ``[B, 256] -> [B, 128]`` float32 (spec: "Optimization Network").

    >>> OptimizationNet(OptimizationConfig(hidden=(32, 64)))(torch.zeros(2, 256)).shape
    torch.Size([2, 128])
    """

    def __init__(self, config: OptimizationConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or OptimizationConfig()
        widths = (config.input_width, *config.hidden)
        layers = zip(pairwise(widths), config.projections, strict=True)
        self.layers = nn.ModuleList(_Residual(a, b, projected, config.dropout) for (a, b), projected in layers)
        self.head = nn.Linear(widths[-1], config.output_width)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.head(x)
        return y


Net = OptimizationNet


def layers(config: Any) -> dict[str, list[str]]:
    """Layer name -> beginnings of its parameters' names, from the input to the output."""
    return {**{f"layer-{i}": [f"layers.{i}"] for i in range(len(config.hidden))}, "output": ["head"]}


def lower(program: Lowering, config: Any) -> None:
    """Write the ops of a network of this configuration."""
    program.source = h = program.value(PER_ITEM, config.input_width)
    for i in range(len(config.hidden)):
        projected = f"layers.{i}.shortcut.weight" in program.data
        shortcut = program.linear(h, f"layers.{i}.shortcut") if projected else h
        h = program.linear(h, f"layers.{i}.linear", activation=RELU, residual=shortcut)
    program.target = program.linear(h, "head")


def stored(tensors: dict[str, NDArray[np.float32]], config: Any) -> tuple[dict[str, NDArray[np.float32]], Any]:
    """The tensors of the module as the ops take them, and the configuration that then holds."""
    return tensors, config


def restored(tensors: dict[str, NDArray[np.float32]], config: Any) -> dict[str, NDArray[np.float32]]:
    """The module's tensors out of those of a model file: the inverse of :func:`stored`."""
    return tensors
