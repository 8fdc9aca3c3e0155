"""Optimization: a residual feed-forward network from the swarm's metrics to scores over a catalogue of changes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["OptimizationConfig", "OptimizationNet"]


@dataclass(frozen=True)
class OptimizationConfig:
    """Sizes of :class:`OptimizationNet`; the defaults are the spec's."""

    input_width: int = 256
    hidden: tuple[int, ...] = (256, 512, 1024, 1024, 512, 256)
    output_width: int = 128
    dropout: float = 0.2


class _Residual(nn.Module):
    """h = shortcut(x) + relu(W x + b); the shortcut is a bias-free projection where the width changes."""

    def __init__(self, width: int, next_width: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, next_width)
        self.shortcut = nn.Linear(width, next_width, bias=False) if width != next_width else nn.Identity()
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
        self.layers = nn.ModuleList(_Residual(a, b, config.dropout) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], config.output_width)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.head(x)
        return y
