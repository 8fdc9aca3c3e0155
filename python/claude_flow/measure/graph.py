"""The op list of a model file, read for what it costs: operations and bytes of every op on a given batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from claude_flow.modelfile import ModelFile

__all__ = ["Cost", "Graph", "Op"]

NAMES = {
    1: "linear",
    2: "layer_norm",
    3: "attention",
    4: "lstm",
    5: "attention_pool",
    6: "last",
    7: "monotone",
    8: "linear_int8",
    9: "lstm_int8",
}
_LINEAR, _LAYER_NORM, _ATTENTION, _LSTM, _POOL, _LAST, _MONOTONE = range(1, 8)
_WEIGHT_OPERANDS = {_LINEAR: (3, 4), _LAYER_NORM: (2, 3), _LSTM: (2, 3, 4), _POOL: (2,)}


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
class Op:
    """One op of the program; ``name`` tells it from its like by the tensor that it reads."""

    code: int
    name: str
    operands: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]  # of its weights


@dataclass(frozen=True)
class Graph:
    """The program of a model file: its ops, the widths of its values, the shape of its input."""

    ops: tuple[Op, ...]
    widths: tuple[int, ...]
    per_token: tuple[bool, ...]
    input: int
    max_tokens: int

    @staticmethod
    def of(file: ModelFile) -> Graph:
        """Read ``file.program``, which the engine has checked."""
        words = file.program
        values, count, source, _, max_tokens = words[1:6]
        kinds = [(words[6 + 2 * i], words[7 + 2 * i]) for i in range(values)]
        ops, at = [], 6 + 2 * values
        for _ in range(count):
            code, size = words[at : at + 2]
            operands = tuple(words[at + 2 : at + 2 + size])
            at += 2 + size
            tensors = [operands[place] for place in _WEIGHT_OPERANDS.get(code, ()) if operands[place] >= 0]
            names = [file.program_tensors[tensor] for tensor in tensors]
            shapes = tuple(file.tensors[name].shape for name in names)
            ops.append(Op(code, names[0].rpartition(".")[0] if names else NAMES.get(code, str(code)), operands, shapes))
        return Graph(tuple(ops), tuple(w for _, w in kinds), tuple(k == 1 for k, _ in kinds), source, max_tokens)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one item at its longest: ``[max_tokens, width]`` or ``[width]``."""
        width = self.widths[self.input]
        return (self.max_tokens, width) if self.per_token[self.input] else (width,)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in fp32."""
        return sum(4 * int(np.prod(shape)) for op in self.ops for shape in op.shapes)

    def cost(self, op: Op, lengths: list[int], int8: bool = False) -> Cost:
        """The cost of ``op`` for items of these many tokens (1 each for a network without tokens)."""
        items, tokens = len(lengths), sum(lengths)
        source, target = (self.widths[i] for i in self._values(op))
        rows = tokens if self.per_token[self._values(op)[0]] else items
        weights = sum(float(np.prod(shape)) for shape in op.shapes) * (1 if int8 else 4)
        moved = 4.0 * rows * (source + target)
        match op.code:
            case 1:
                columns, depth = op.shapes[0]
                residual = 4.0 * rows * columns if op.operands[5] >= 0 else 0.0
                return Cost(2.0 * rows * columns * depth, weights, 0.0, 4.0 * rows * (depth + columns) + residual)
            case 2:
                return Cost(8.0 * rows * source, weights, 0.0, moved)
            case 3:
                squares = sum(length * length for length in lengths)
                heads = op.operands[2]
                return Cost(4.0 * squares * target + 4.0 * heads * squares, 0.0, 0.0, moved)
            case 4:
                gates, depth = op.shapes[0]
                units = op.shapes[1][1]
                recurrent = float(gates * units) * (1 if int8 else 4)
                steps = max(lengths)
                operations = 2.0 * rows * gates * (depth + units) + 14.0 * rows * units
                return Cost(operations, weights, recurrent * (steps - 1), moved + 8.0 * rows * gates)
            case 5:
                keys = self.widths[op.operands[1]]
                return Cost(2.0 * rows * (keys + source), weights, 0.0, 4.0 * rows * (keys + source))
            case 6:
                return Cost(0.0, 0.0, 0.0, 8.0 * items * source)
            case _:
                return Cost(10.0 * rows * source, 0.0, 0.0, moved)

    def _values(self, op: Op) -> tuple[int, int]:
        """The values that it reads and writes; only the pool has its output elsewhere than second."""
        return op.operands[0], op.operands[3 if op.code == _POOL else 1]
