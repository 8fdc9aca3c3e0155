"""The integration layer and the decision engine: fused state, then a dueling Q-network over the action commands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from claude_flow.lowering import GELU, Lowering
from claude_flow.modelfile import PER_ITEM
from claude_flow.networks.action.config import ActionConfig

__all__ = ["ActionNet", "Net", "layers", "lower", "restored", "stored"]


class ActionNet(nn.Module):
    """Q-values of the 13 action commands: ``[B, 1282] -> [B, 13]`` float32.

    ``Q = V + A - mean A`` (Wang et al. 2016) of a fused state: the streams of the input, projected, added, normalized.

    >>> import torch
    >>> ActionNet()(torch.zeros(2, 1282)).shape
    torch.Size([2, 13])
    """

    def __init__(self, config: ActionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ActionConfig()
        self.integration = nn.Linear(config.input_width, config.fused)
        self.norm = nn.LayerNorm(config.fused)
        self.first = nn.Linear(config.fused, config.hidden)
        self.second = nn.Linear(config.hidden, config.hidden)
        self.value = nn.Linear(config.hidden, 1)
        self.advantage = nn.Linear(config.hidden, config.actions)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.gelu(self.first(self.norm(self.integration(x))))
        h = functional.gelu(self.second(h)) + h
        advantage = self.advantage(h)
        q: Tensor = self.value(h) + advantage - advantage.mean(1, keepdim=True)
        return q


Net = ActionNet


def layers(config: Any) -> dict[str, list[str]]:
    """Layer name -> beginnings of its parameters' names, from the input to the output."""
    return {
        "integration": ["integration", "norm"],
        "decision": ["first", "second"],
        "output": ["value", "advantage"],
    }


def lower(program: Lowering, config: Any) -> None:
    """Write the ops of a network of this configuration."""
    program.source = program.value(PER_ITEM, config.input_width)
    h = program.layer_norm(program.linear(program.source, "integration"), "norm")
    h = program.linear(h, "first", activation=GELU)
    h = program.linear(h, "second", activation=GELU, residual=h)
    program.target = program.linear(h, "q")


def stored(tensors: dict[str, NDArray[np.float32]], config: Any) -> tuple[dict[str, NDArray[np.float32]], Any]:
    """The tensors of the module as the ops take them: value and advantage become one layer, which gives Q."""
    for part in ("weight", "bias"):
        value, advantage = tensors.pop(f"value.{part}"), tensors.pop(f"advantage.{part}")
        tensors[f"q.{part}"] = np.ascontiguousarray(value + advantage - advantage.mean(0, keepdims=True))
    return tensors, config


def restored(tensors: dict[str, NDArray[np.float32]], config: Any) -> dict[str, NDArray[np.float32]]:
    """The module's tensors out of those of a model file: V is the mean of Q, since A's is 0."""
    for part in ("weight", "bias"):
        q = tensors.pop(f"q.{part}")
        value = q.mean(0, keepdims=True)
        tensors[f"value.{part}"], tensors[f"advantage.{part}"] = value, q - value
    return tensors
