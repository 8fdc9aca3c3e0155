"""The op list of a model file, read for what it costs: operations and bytes of every op on a given batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from claude_flow.modelfile import ModelFile
from claude_flow.program import ABSENT, PER_TOKEN, TENSORS, Op, Program

__all__ = ["Cost", "Graph", "Node"]


@dataclass(frozen=True)
class Cost:
    """What one op must do: arithmetic operations (a multiply-add is two, an exponential one), and the bytes that it
    must move at least: ``weights`` once, ``again`` for weights that every time step reads anew, ``activations``."""

    operations: float
    weights: float
    again: float
    activations: float

    @property
    def bytes(self) -> float:
        """All bytes."""
        return self.weights + self.again + self.activations


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
        return self.code in (Op.LINEAR_I8, Op.LSTM_I8)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all its weights."""
        return sum(weight.nbytes for weight in self.weights.values())


class Graph:
    """The program of a model file, with its weights."""

    def __init__(self, file: ModelFile) -> None:
        self._program = program = Program.parse(file.program, file.program_tensors)
        self.nodes = []
        for code, operands in program.ops:
            named = {
                key: program.tensors[operands[key]] for key in operands if key in TENSORS and operands[key] != ABSENT
            }
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
        kind, source = self._program.values[node.operands["source"]]
        target = self._program.values[node.operands["target"]][1]
        rows = sum(lengths) if kind == PER_TOKEN else len(lengths)
        weights, moved = float(node.weight_bytes), 4.0 * rows * (source + target)
        match node.code:
            case Op.LINEAR | Op.LINEAR_I8:
                columns, depth = node.weights["weight"].shape
                terms = depth + columns * (2 if node.operands["residual"] != ABSENT else 1)
                return Cost(2.0 * rows * columns * depth, weights, 0.0, 4.0 * rows * terms)
            case Op.LAYER_NORM:
                return Cost(8.0 * rows * source, weights, 0.0, moved)
            case Op.ATTENTION:
                pairs = sum(length * length for length in lengths)
                return Cost(4.0 * pairs * (target + node.operands["heads"]), 0.0, 0.0, moved)
            case Op.LSTM | Op.LSTM_I8:
                gates, depth = node.weights["weight"].shape
                again = float(node.weights["recurrent"].nbytes) * (max(lengths) - 1)
                products = 2.0 * rows * gates * (depth + target)
                # The gates' input products are written and read once; 14 operations update a unit's cell.
                return Cost(products + 14.0 * rows * target, weights, again, moved + 8.0 * rows * gates)
            case Op.ATTENTION_POOL:
                keys = self._program.values[node.operands["keys"]][1]
                return Cost(2.0 * rows * (keys + source), weights, 0.0, 4.0 * rows * (keys + source))
            case Op.LAST:
                return Cost(0.0, 0.0, 0.0, 8.0 * len(lengths) * source)
        return Cost(10.0 * rows * source, 0.0, 0.0, moved)  # monotone
