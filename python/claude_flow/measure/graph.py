"""The op list of a model file, read for what it costs: operations and bytes of every op on a given batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from claude_flow.modelfile import ABSENT, PER_ITEM, PER_TOKEN, ModelFile, Op
from claude_flow.modelfile.ops import VALUES, Cost, Work

__all__ = ["Cost", "Graph", "Node"]


@dataclass(frozen=True)
class Node:
    """One op of the program with its weights by operand; ``name`` tells it from its like."""

    code: Op
    name: str
    operands: dict[str, int]
    weights: dict[str, NDArray[Any]]

    @property
    def int8(self) -> bool:
        """Whether its products are of integers."""
        return bool(self.code.scales)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all its weights."""
        return sum(weight.nbytes for weight in self.weights.values())


class Graph:
    """The program of a model file, with its weights."""

    def __init__(self, file: ModelFile) -> None:
        self._program = program = file.parse()
        self.nodes = []
        for code, operands in program.ops:
            named = program.tensor_names(operands)
            name = named.get("weight", code.name.lower()).rpartition(".")[0] or named.get("weight", "")
            self.nodes.append(Node(code, name, operands, {key: file.tensors[tensor] for key, tensor in named.items()}))
        self.max_tokens = program.max_tokens
        self.weight_bytes = sum(node.weight_bytes for node in self.nodes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one item at its longest: ``(max_tokens, width)`` or ``(width,)``."""
        rows, width = self._program.values[self._program.source]
        return (self.max_tokens, width) if rows == PER_TOKEN else (width,)

    def cost(self, node: Node, lengths: list[int]) -> Cost:
        """The cost of ``node`` for items of these many tokens (1 each for a network without tokens)."""
        values = self._program.values
        named = {key: v for key, v in node.operands.items() if key in VALUES and v != ABSENT}
        widths = {key: values[v][1] for key, v in named.items()}
        per_item = values[node.operands["source"]][0] == PER_ITEM
        rows = [1] * len(lengths) if per_item else lengths
        return node.code.cost(Work(rows, widths, node.weights, node.operands))
