"""Prediction: stacked LSTMs with additive attention, ending in monotone quantiles (spec: "Prediction Network")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PredictionConfig", "PredictionNet"]


@dataclass(frozen=True)
class PredictionConfig:
    """Sizes of :class:`PredictionNet`; the defaults are the spec's. The output is ``targets * (quantiles + 1)``."""

    input_width: int = 128
    width: int = 256
    layers: int = 3
    targets: int = 8
    quantiles: int = 7
    max_tokens: int = 128
    dropout: float = 0.1


class PredictionNet(nn.Module):
    """Quantiles and an occurrence logit for each target: ``[B, T, 128] -> [B, 64]`` float32.

    Per target 8 columns: 7 quantiles (2.5, 10, 25, 50, 75, 90, 97.5 %), never crossing because the outer ones are
    the median plus or minus sums of softplus steps, and one logit. ``lengths`` int64 ``[B]`` gives the real records
    per item (default: all); the open record is the last real one.

    >>> y = PredictionNet(PredictionConfig(width=32, layers=1))(torch.randn(2, 4, 128), torch.tensor([4, 2]))
    >>> bool((y.view(2, 8, 8)[..., :7].diff(dim=-1) > 0).all())
    True
    """

    def __init__(self, config: PredictionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PredictionConfig()
        widths = [config.input_width] + [config.width] * config.layers
        self.lstm = nn.ModuleList(nn.LSTM(a, config.width, batch_first=True) for a in widths[:-1])
        self.keys = nn.Linear(config.width, config.width)
        self.attention = nn.Parameter(torch.randn(config.width) * config.width**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.width, config.targets * (config.quantiles + 1))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        h = x
        for i, lstm in enumerate(self.lstm):
            h, _ = lstm(
                self.dropout(h) if i else h
            )  # causal: records after an item's length cannot reach its last state
        weights = torch.tanh(self.keys(h)) @ self.attention
        if lengths is None:
            last = h[:, -1]
        else:
            weights = weights.masked_fill(torch.arange(x.shape[1], device=x.device) >= lengths[:, None], float("-inf"))
            last = h[torch.arange(len(h), device=h.device), lengths - 1]
        pooled = (torch.softmax(weights, dim=1)[:, None, :] @ h)[:, 0]
        return self._monotone(self.head(self.dropout(torch.cat([pooled, last], dim=1))))

    def _monotone(self, raw: Tensor) -> Tensor:
        q = self.config.quantiles
        raw = raw.reshape(-1, self.config.targets, q + 1)
        middle = raw[..., q // 2 : q // 2 + 1]
        below = middle - functional.softplus(raw[..., : q // 2]).flip(-1).cumsum(-1).flip(-1)
        above = middle + functional.softplus(raw[..., q // 2 + 1 : q]).cumsum(-1)
        return torch.cat([below, middle, above, raw[..., q:]], dim=-1).flatten(1)
