"""The toy network: two linear layers that say how long a run takes."""

from typing import Any

import torch
from torch import Tensor, nn

from claude_flow.lowering import GELU, Lowering
from claude_flow.modelfile import PER_ITEM

from .config import Config


class Net(nn.Module):
    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config or Config()
        self.first = nn.Linear(self.config.input_width, self.config.hidden)
        self.second = nn.Linear(self.config.hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.nn.functional.gelu(self.first(x)))
        return y


def layers(config: Config) -> dict[str, list[str]]:
    return {"hidden": ["first"], "output": ["second"]}


def lower(program: Lowering, config: Config) -> None:
    program.source = program.value(PER_ITEM, config.input_width)
    program.target = program.linear(program.linear(program.source, "first", activation=GELU), "second")


def stored(tensors: dict[str, Any], config: Config) -> tuple[dict[str, Any], Config]:
    return tensors, config


def restored(tensors: dict[str, Any], config: Config) -> dict[str, Any]:
    return tensors
