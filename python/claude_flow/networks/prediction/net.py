"""Prediction: stacked LSTMs with additive attention, ending in monotone quantiles (spec: "Prediction Network")."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from claude_flow.lowering import GELU, TANH, Lowering
from claude_flow.modelfile import ABSENT, PER_ITEM, PER_TOKEN, Op
from claude_flow.networks.prediction.config import PredictionConfig

__all__ = ["Net", "PredictionNet", "lower", "restored", "stored"]


class _Member(nn.Module):
    """One network: ``[B, T, 128]`` and lengths ``[B]`` to unordered outputs ``[B, targets * (quantiles + 1)]``."""

    def __init__(self, config: PredictionConfig) -> None:
        super().__init__()
        widths = [config.input_width, *config.layer_widths]
        pairs = list(pairwise(widths))
        self.lstm = nn.ModuleList(nn.LSTM(a, b, batch_first=True) for a, b in pairs if config.layers)
        self.embed = nn.ModuleList(nn.Linear(a, b) for a, b in pairs if not config.layers)
        self.keys = nn.Linear(widths[-1], config.key_size)
        self.attention = nn.Parameter(torch.randn(config.key_size) * config.key_size**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        width = 2 * widths[-1]
        if config.hidden:
            self.first = nn.Linear(width + config.input_width, config.hidden)
            self.second = nn.Linear(config.hidden, config.hidden)
            width = config.hidden
        self.hidden = config.hidden > 0
        self.head = nn.Linear(width, config.targets * (config.quantiles + 1))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        h = x
        for embed in self.embed:
            h = functional.gelu(embed(h))
        for i, lstm in enumerate(self.lstm):
            h, _ = lstm(
                self.dropout(h) if i else h
            )  # causal: records after an item's length cannot reach its last state
        weights = torch.tanh(self.keys(h)) @ self.attention
        weights = weights.masked_fill(torch.arange(x.shape[1], device=x.device) >= lengths[:, None], float("-inf"))
        items = torch.arange(len(h), device=h.device)
        pooled = (torch.softmax(weights, dim=1)[:, None, :] @ h)[:, 0]
        summary = torch.cat([pooled, h[items, lengths - 1]], dim=1)
        if self.hidden:
            summary = self.dropout(torch.cat([summary, x[items, lengths - 1]], dim=1))
            summary = self.dropout(functional.gelu(self.first(summary)))
            summary = functional.gelu(self.second(summary)) + summary
        out: Tensor = self.head(self.dropout(summary))
        return out


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
        self.members = nn.ModuleList(_Member(config) for _ in range(config.members))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self._monotone(self._raw(x, lengths).mean(0))

    def each(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What every member says by itself ``[members, B, 64]``: members that are trained to be right together
        would not differ, and it is their differences that an average takes out."""
        return self._monotone(self._raw(x, lengths).flatten(0, 1)).reshape(self.config.members, len(x), -1)

    def _raw(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        return torch.stack([member(x, lengths) for member in self.members])

    def _monotone(self, raw: Tensor) -> Tensor:
        q = self.config.quantiles
        raw = raw.reshape(-1, self.config.targets, q + 1)
        middle = raw[..., q // 2 : q // 2 + 1]
        below = middle - functional.softplus(raw[..., : q // 2]).flip(-1).cumsum(-1).flip(-1)
        above = middle + functional.softplus(raw[..., q // 2 + 1 : q]).cumsum(-1)
        return torch.cat([below, middle, above, raw[..., q:]], dim=-1).flatten(1)


Net = PredictionNet


def layers(config: Any) -> dict[str, list[str]]:
    """Layer name -> beginnings of its parameters' names, from the input to the output; of all members together."""

    def every(*parts: str) -> list[str]:
        return [f"members.{member}.{part}" for member in range(config.members) for part in parts]

    first = {f"lstm-{i}": every(f"lstm.{i}") for i in range(config.layers)} or {"embedding": every("embed")}
    hidden = {"hidden": every("first", "second")} if config.hidden else {}
    return {**first, "attention": every("keys", "attention"), **hidden, "output": every("head")}


def lower(program: Lowering, config: Any) -> None:
    """Write the ops of a network of this configuration."""
    program.source = program.value(PER_TOKEN, config.input_width)
    raw = ABSENT
    for i in range(config.members):
        raw = _lower_member(program, config, f"members.{i}", raw)
    program.target = program.value(PER_ITEM, program.values[raw][1])
    q = config.quantiles
    program.op(Op.MONOTONE, source=raw, target=program.target, quantiles=q, group=q + 1)


def _lower_member(program: Lowering, config: Any, name: str, total: int) -> int:
    """One member; its output, whose average is folded into its head, is added to ``total``."""
    h = program.source
    for i in range(0 if config.layers else 2):
        h = program.linear(h, f"{name}.embed.{i}", activation=GELU)
    for i in range(config.layers):
        target = program.value(PER_TOKEN, config.layer_widths[i])
        weight, recurrent, bias = (
            program.tensor(f"{name}.lstm.{i}.{part}") for part in ("weight_ih_l0", "weight_hh_l0", "bias_l0")
        )
        program.op(Op.LSTM, source=h, target=target, weight=weight, recurrent=recurrent, bias=bias)
        h = target
    keys = program.linear(h, f"{name}.keys", activation=TANH)
    width = config.layer_widths[-1]
    summary = program.value(PER_ITEM, 2 * width + (config.input_width if config.hidden else 0))
    vector = program.tensor(f"{name}.attention")
    program.op(Op.ATTENTION_POOL, source=h, keys=keys, weight=vector, target=summary, column=0)
    program.op(Op.LAST, source=h, target=summary, column=width)
    if config.hidden:
        program.op(Op.LAST, source=program.source, target=summary, column=2 * width)
        first = program.linear(summary, f"{name}.first", activation=GELU)
        summary = program.linear(first, f"{name}.second", activation=GELU, residual=first)
    return program.linear(summary, f"{name}.head", residual=total)


def stored(tensors: dict[str, NDArray[np.float32]], config: Any) -> tuple[dict[str, NDArray[np.float32]], Any]:
    """The tensors of the module as the ops take them, and the configuration that then holds."""
    for name in [name for name in tensors if name.endswith(".bias_ih_l0")]:
        base = name.removesuffix("bias_ih_l0")
        tensors[f"{base}bias_l0"] = tensors.pop(name) + tensors.pop(f"{base}bias_hh_l0")
    for name in [name for name in tensors if ".head." in name]:  # the engine sums what the network averages
        tensors[name] = tensors[name] / np.float32(config.members)
    return tensors, config


def restored(tensors: dict[str, NDArray[np.float32]], config: Any) -> dict[str, NDArray[np.float32]]:
    """The module's tensors out of those of a model file: the inverse of :func:`stored`."""
    for name in [name for name in tensors if name.endswith(".bias_l0")]:
        bias = tensors.pop(name)
        tensors[name.replace("bias_l0", "bias_ih_l0")] = bias
        tensors[name.replace("bias_l0", "bias_hh_l0")] = np.zeros_like(bias)
    for name in [name for name in tensors if ".head." in name]:
        tensors[name] = tensors[name] * np.float32(config.members)
    return tensors
