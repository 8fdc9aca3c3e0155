"""A quantized model as an ONNX file that other runtimes load: 8-bit weights, and activations where a static range is
known, between QuantizeLinear and DequantizeLinear (QDQ).

Two things differ from the engine. Values beyond a static range are rounded instead of cut off, since the byte's upper
half is free. Where the engine finds the range of every row anew, ONNX has no op: these activations stay in float, and
only the weights are in 8 bits.

Inputs are ``x`` [items, width] or ``x`` [items, tokens, width] and ``lengths`` [items], the real tokens of each item;
with several inputs or token axes they are numbered. Rows of the output beyond an item's tokens are 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import require
from claude_flow.modelfile import ABSENT, PER_ITEM, Activation, ModelFile, Op
from claude_flow.modelfile.ranges import LEVELS

__all__ = ["save"]

_OPSET = 20  # the first that has Gelu
_ACTIVATIONS = {
    Activation.RELU: "Relu",
    Activation.GELU: "Gelu",
    Activation.TANH: "Tanh",
    Activation.SIGMOID: "Sigmoid",
}
_GATES = [0, 3, 1, 2]  # ONNX: input, output, forget, cell; a file: input, forget, cell, output


def save(file: ModelFile, path: Path) -> Path:
    """Write ``path``, checked by ONNX's own checker, and return it."""
    onnx: Any = require("onnx", "onnx")
    model = _Graph(file, onnx).model()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


class _Graph:
    """The nodes so far; every method adds some and returns the name of their output."""

    def __init__(self, file: ModelFile, onnx: Any) -> None:
        self._helper, self._numpy_helper, self._types = onnx.helper, onnx.numpy_helper, onnx.TensorProto
        self._file, self._program = file, file.parse()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._parts: dict[int, list[tuple[int, str]]] = {}  # value -> what fills it, from which column
        self._lengths: dict[int, str] = {}  # token axis -> [items]
        self._masks: dict[int, str] = {}  # token axis -> [items, tokens]: is it a real one

    def model(self) -> Any:
        """All of it."""
        program = self._program
        axes = [rows for rows, _ in (program.values[v] for v in program.inputs) if rows != PER_ITEM]
        for index, value in enumerate(program.inputs):
            self._input(value, f"x_{index}" if len(program.inputs) > 1 else "x", len(set(axes)) > 1)
        for code, operands in program.ops:
            self._op(code, operands)
        y, rows = self._value(program.target), program.values[program.target][0]
        if rows != PER_ITEM:
            y = self._node("Where", self._unsqueezed(self._masks[rows], 2), y, self._floats(0.0))
        shape = ["items", program.values[program.target][1]]
        if rows != PER_ITEM:
            shape.insert(1, f"tokens_{rows}")
        self._nodes.append(self._helper.make_node("Identity", [y], ["y"]))
        target = self._helper.make_tensor_value_info("y", self._types.FLOAT, shape)
        graph = self._helper.make_graph(self._nodes, self._file.network, self._inputs, [target], self._constants)
        opsets = [self._helper.make_opsetid("", _OPSET)]
        return self._helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="claude-flow")

    def _input(self, value: int, name: str, numbered: bool) -> None:
        rows, width = self._program.values[value]
        shape = ["items", width] if rows == PER_ITEM else ["items", f"tokens_{rows}", width]
        self._inputs.append(self._helper.make_tensor_value_info(name, self._types.FLOAT, shape))
        self._parts[value] = [(0, name)]
        if rows == PER_ITEM or rows in self._lengths:
            return
        lengths = self._lengths[rows] = f"lengths_{rows}" if numbered else "lengths"
        self._inputs.append(self._helper.make_tensor_value_info(lengths, self._types.INT64, ["items"]))
        tokens = self._node("Gather", self._node("Shape", name), self._ints(1, scalar=True))
        places = self._node("Range", self._ints(0, scalar=True), tokens, self._ints(1, scalar=True))
        self._masks[rows] = self._node("Less", self._unsqueezed(places, 0), self._unsqueezed(lengths, 1))

    def _op(self, code: Op, o: dict[str, int]) -> None:
        x = self._value(o["source"])
        rows, width = self._program.values[o["source"]]
        match code:
            case Op.LINEAR | Op.LINEAR_I8:
                y = self._product(code, o, x)
            case Op.LAYER_NORM:
                epsilon = float(np.int32(o["epsilon"]).view(np.float32))
                weight, bias = (self._floats(self._tensor(o, key)) for key in ("weight", "bias"))
                y = self._node("LayerNormalization", x, weight, bias, axis=-1, epsilon=epsilon)
            case Op.ATTENTION:
                y = self._attention(x, o["heads"], width // 3, self._masks[rows])
            case Op.LSTM | Op.LSTM_I8:
                y = self._lstm(o, x, self._lengths[rows])
            case Op.ATTENTION_POOL:
                keys = self._value(o["keys"])
                scores = self._node("MatMul", keys, self._floats(self._tensor(o, "weight").reshape(-1, 1)))
                shares = self._softmax(self._node("Squeeze", scores, self._ints([2])), self._masks[rows])
                y = self._node("MatMul", self._unsqueezed(shares, 1), x)
                y = self._node("Squeeze", y, self._ints([1]))
            case Op.LAST:
                end = self._node("Sub", self._lengths[rows], self._ints(1, scalar=True))
                y = self._node("GatherND", x, self._unsqueezed(end, 1), batch_dims=1)
            case Op.MONOTONE:
                y = self._monotone(x, o["quantiles"], o["group"], width, rows == PER_ITEM)
        self._parts.setdefault(o["target"], []).append((o.get("column", 0), y))

    def _product(self, code: Op, o: dict[str, int], x: str) -> str:
        weight = self._tensor(o, "weight")
        if code is Op.LINEAR_I8:
            if o["range"] != ABSENT:
                x = self._rounded(x, *map(float, self._tensor(o, "range")))
            matrix = self._dequantized(np.ascontiguousarray(weight.T), self._tensor(o, "scale"), axis=1)
        else:
            matrix = self._floats(np.ascontiguousarray(weight.T))
        y = self._node("MatMul", x, matrix)
        if o["bias"] != ABSENT:
            y = self._node("Add", y, self._floats(self._tensor(o, "bias")))
        if activation := _ACTIVATIONS.get(Activation(o["activation"])):
            y = self._node(activation, y)
        return y if o["residual"] == ABSENT else self._node("Add", y, self._value(o["residual"]))

    def _rounded(self, x: str, low: float, high: float) -> str:
        step = (high - low) / LEVELS
        scale, zero = self._floats(step), self._constant(np.uint8(np.rint(-low / step)))
        return self._node("DequantizeLinear", self._node("QuantizeLinear", x, scale, zero), scale, zero)

    def _dequantized(self, weight: NDArray[np.int8], scale: NDArray[np.float32], axis: int) -> str:
        zero = self._constant(np.zeros(len(scale), np.int8))
        return self._node("DequantizeLinear", self._constant(weight), self._floats(scale), zero, axis=axis)

    def _attention(self, x: str, heads: int, width: int, mask: str) -> str:
        parts = self._node("Reshape", x, self._ints([0, 0, 3, heads, width // heads]))
        parts = self._node("Transpose", parts, perm=[2, 0, 3, 1, 4])
        q, k, v = (self._node("Gather", parts, self._ints(part, scalar=True)) for part in range(3))
        scores = self._node("MatMul", q, self._node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self._node("Mul", scores, self._floats(1 / np.sqrt(width // heads)))
        shares = self._softmax(scores, self._node("Unsqueeze", mask, self._ints([1, 2])))
        y = self._node("Transpose", self._node("MatMul", shares, v), perm=[0, 2, 1, 3])
        return self._node("Reshape", y, self._ints([0, 0, width]))

    def _softmax(self, scores: str, mask: str) -> str:
        lowest = self._floats(np.finfo(np.float32).min)
        return self._node("Softmax", self._node("Where", mask, scores, lowest), axis=-1)

    def _lstm(self, o: dict[str, int], x: str, lengths: str) -> str:
        units = self._tensor(o, "recurrent").shape[1]
        order = np.concatenate([np.arange(gate * units, (gate + 1) * units) for gate in _GATES])

        def matrix(name: str, scale: str) -> str:
            weight = np.ascontiguousarray(self._tensor(o, name)[order])
            if scale not in o:
                return self._floats(weight[None])
            return self._unsqueezed(self._dequantized(weight, self._tensor(o, scale)[order], axis=0), 0)

        bias = np.zeros((1, 8 * units), np.float32)
        if o["bias"] != ABSENT:
            bias[0, : 4 * units] = self._tensor(o, "bias")[order]
        y = self._node(
            "LSTM",
            self._node("Transpose", x, perm=[1, 0, 2]),
            matrix("weight", "scale"),
            matrix("recurrent", "recurrent_scale"),
            self._floats(bias),
            self._node("Cast", lengths, to=self._types.INT32),
            hidden_size=units,
        )
        return self._node("Transpose", self._node("Squeeze", y, self._ints([1])), perm=[1, 0, 2])

    def _monotone(self, x: str, quantiles: int, group: int, width: int, per_item: bool) -> str:
        kept = [0] if per_item else [0, 0]
        groups = self._node("Reshape", x, self._ints([*kept, width // group, group]))
        half, axis = quantiles // 2, self._ints(-1, scalar=True)

        def columns(index: Any) -> str:
            return self._node("Gather", groups, self._ints(list(index)), axis=-1)

        middle = columns([half])
        below = self._node("CumSum", self._node("Softplus", columns(reversed(range(half)))), axis)
        below = self._node("Gather", below, self._ints(list(reversed(range(half)))), axis=-1)
        above = self._node("CumSum", self._node("Softplus", columns(range(half + 1, quantiles))), axis)
        parts = [self._node("Sub", middle, below), middle, self._node("Add", middle, above)]
        if group > quantiles:
            parts.append(columns(range(quantiles, group)))
        return self._node("Reshape", self._node("Concat", *parts, axis=-1), self._ints([*kept, width]))

    def _value(self, value: int) -> str:
        parts = [name for _, name in sorted(self._parts[value])]
        if len(parts) > 1:
            self._parts[value] = [(0, self._node("Concat", *parts, axis=-1))]
        return self._parts[value][0][1]

    def _tensor(self, o: dict[str, int], operand: str) -> NDArray[Any]:
        return np.asarray(self._file.tensors[self._program.tensors[o[operand]]])

    def _unsqueezed(self, name: str, axis: int) -> str:
        return self._node("Unsqueeze", name, self._ints([axis]))

    def _floats(self, value: Any) -> str:
        return self._constant(np.asarray(value, np.float32))

    def _ints(self, value: int | list[int], scalar: bool = False) -> str:
        return self._constant(np.asarray(value, np.int64) if scalar else np.atleast_1d(np.asarray(value, np.int64)))

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(self._numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, list(inputs), [name], **attributes))
        return name
