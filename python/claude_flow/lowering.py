"""Writing a network's op list: the program under construction that every ``net.lower`` fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.modelfile import ABSENT, Activation, Op, Program

__all__ = ["GELU", "NONE", "RELU", "TANH", "Lowering"]

NONE, RELU, GELU, TANH = Activation.NONE, Activation.RELU, Activation.GELU, Activation.TANH


class Lowering(Program):
    """A program under construction over a network's tensors; each method adds one op and returns its output value."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], max_tokens: int) -> None:
        super().__init__(max_tokens)
        self.data = tensors

    def named(self, name: str) -> int:
        """The id of a tensor, or ABSENT where the network has none of this name."""
        return self.tensor(name) if name in self.data else ABSENT

    def linear(self, source: int, name: str, *, activation: int = NONE, residual: int = ABSENT) -> int:
        target = self.value(self.values[source][0], self.data[f"{name}.weight"].shape[0])
        weight, bias = self.tensor(f"{name}.weight"), self.named(f"{name}.bias")
        self.op(
            Op.LINEAR,
            source=source,
            target=target,
            column=0,
            weight=weight,
            bias=bias,
            residual=residual,
            activation=activation,
        )
        return target

    def layer_norm(self, source: int, name: str) -> int:
        if f"{name}.weight" not in self.data:  # the network was built without layer norm
            return source
        target = self.value(*self.values[source])
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        bits = int(np.float32(1e-5).view(np.int32))
        self.op(Op.LAYER_NORM, source=source, target=target, weight=weight, bias=bias, epsilon=bits)
        return target
