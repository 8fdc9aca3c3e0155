"""THE list of ops: what a program may hold, and what each op is to every reader of programs.

A new op is one row here and one in ``cpp/ops/ops.inc`` (docs/contributing/add_an_op.md); a test ties the two. An
operand's name says what it is: :data:`VALUES` name values of the program, :data:`TENSORS` tensors of the file, all
others are plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from numpy.typing import NDArray

__all__ = ["ABSENT", "TENSORS", "VALUES", "Activation", "Cost", "Kind", "Op", "Work"]

#: An operand that names no tensor, or no value.
ABSENT = -1
#: operands that name values: an op writes its ``target`` and reads the others
VALUES = frozenset({"source", "keys", "residual", "target"})
#: operands that name tensors
TENSORS = frozenset({"weight", "bias", "recurrent", "scale", "recurrent_scale", "range"})


class Activation(IntEnum):
    """What a product applies to its sums; ``EXP`` serves :func:`claude_flow.ops.exp` alone."""

    NONE = 0
    RELU = 1
    GELU = 2
    TANH = 3
    SIGMOID = 4
    EXP = 5


class Kind(Enum):
    """What reads a matrix, which decides the order of its rows: a product, or an LSTM (its input, its recurrence)."""

    PRODUCT = 1
    GATES = 2
    RECURRENT = 3


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
class Work:
    """One op on a batch: ``lengths``, the rows that each item has of its source; ``widths`` of the values that its
    operands name; its ``weights`` and ``operands`` by name."""

    lengths: Sequence[int]
    widths: Mapping[str, int]
    weights: Mapping[str, NDArray[Any]]
    operands: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Rows of the source."""
        return sum(self.lengths)

    @property
    def moved(self) -> float:
        """Bytes of the source and of as many rows of the target."""
        return 4.0 * self.rows * (self.widths["source"] + self.widths["target"])

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights."""
        return float(sum(weight.nbytes for weight in self.weights.values()))


def _product(work: Work) -> Cost:
    columns, depth = len(work.weights["weight"]), work.widths["source"]
    terms = depth + columns * (2 if work.operands["residual"] != ABSENT else 1)
    return Cost(2.0 * work.rows * columns * depth, work.weight_bytes, 0.0, 4.0 * work.rows * terms)


def _layer_norm(work: Work) -> Cost:
    return Cost(8.0 * work.rows * work.widths["source"], work.weight_bytes, 0.0, work.moved)


def _attention(work: Work) -> Cost:
    pairs = sum(length * length for length in work.lengths)
    return Cost(4.0 * pairs * (work.widths["target"] + work.operands["heads"]), 0.0, 0.0, work.moved)


def _recurrence(work: Work) -> Cost:
    gates, depth = len(work.weights["weight"]), work.widths["source"]
    units = work.widths["target"]
    again = float(work.weights["recurrent"].nbytes) * (max(work.lengths) - 1)
    # The gates' input products are written and read once; 14 operations update a unit's cell.
    operations = 2.0 * work.rows * gates * (depth + units) + 14.0 * work.rows * units
    return Cost(operations, work.weight_bytes, again, work.moved + 8.0 * work.rows * gates)


def _pool(work: Work) -> Cost:
    read = work.rows * (work.widths["keys"] + work.widths["source"])
    return Cost(2.0 * read, work.weight_bytes, 0.0, 4.0 * read)


def _last(work: Work) -> Cost:
    return Cost(0.0, 0.0, 0.0, 8.0 * len(work.lengths) * work.widths["source"])


def _monotone(work: Work) -> Cost:
    return Cost(10.0 * work.rows * work.widths["source"], 0.0, 0.0, work.moved)


@dataclass(frozen=True)
class _Row:
    code: int
    operands: str
    cost: Callable[[Work], Cost]
    #: weight matrices -> what reads them: these can be prepacked, and quantized if there is an op for it
    matrices: Mapping[str, Kind] = field(default_factory=dict)
    #: operands that have a row, or an entry, per column of the target: such ops side by side can be fused
    by_column: tuple[str, ...] = ()
    #: names of the ops that do the same on 8-bit and on 4-bit weights
    int8: str = ""
    int4: str = ""
    #: bits of a weight
    bits: int = 32
    #: matrices of integers -> the operand with the scales of their rows, or of the groups of these
    scales: Mapping[str, str] = field(default_factory=dict)


class Op(IntEnum):
    """Opcodes.

    >>> Op.LAST.operands
    ('source', 'target', 'column')
    >>> Op.LSTM.int8
    <Op.LSTM_I8: 9>
    """

    operands: tuple[str, ...]
    cost: Callable[[Work], Cost]
    matrices: Mapping[str, Kind]
    by_column: tuple[str, ...]
    scales: Mapping[str, str]
    bits: int
    _int8: str
    _int4: str

    def __new__(cls, row: Any) -> Op:  # a _Row; callers look opcodes up, Op(1)
        op = int.__new__(cls, row.code)
        op._value_ = row.code
        op.operands = tuple(row.operands.split())
        op.cost, op.matrices, op.by_column = row.cost, row.matrices, row.by_column
        op._int8, op._int4, op.bits, op.scales = row.int8, row.int4, row.bits, row.scales
        return op

    @property
    def int8(self) -> Op | None:
        """The op that does the same on 8-bit weights."""
        return Op[self._int8] if self._int8 else None

    @property
    def int4(self) -> Op | None:
        """The op that does the same on 4-bit weights."""
        return Op[self._int4] if self._int4 else None

    LINEAR = _Row(
        1,
        "source target column weight bias residual activation",
        _product,
        matrices={"weight": Kind.PRODUCT},
        by_column=("weight", "bias"),
        int8="LINEAR_I8",
        int4="LINEAR_I4",
    )
    LAYER_NORM = _Row(2, "source target weight bias epsilon", _layer_norm)
    ATTENTION = _Row(3, "source target heads", _attention)
    LSTM = _Row(
        4,
        "source target weight recurrent bias",
        _recurrence,
        matrices={"weight": Kind.GATES, "recurrent": Kind.RECURRENT},
        int8="LSTM_I8",
        int4="LSTM_I4",
    )
    ATTENTION_POOL = _Row(5, "source keys weight target column", _pool)
    LAST = _Row(6, "source target column", _last)
    MONOTONE = _Row(7, "source target quantiles group", _monotone)
    LINEAR_I8 = _Row(
        8,
        "source target column weight scale bias residual activation range",
        _product,
        matrices={"weight": Kind.PRODUCT},
        by_column=("weight", "scale", "bias"),
        bits=8,
        scales={"weight": "scale"},
    )
    LSTM_I8 = _Row(
        9,
        "source target weight scale recurrent recurrent_scale bias",
        _recurrence,
        matrices={"weight": Kind.GATES, "recurrent": Kind.RECURRENT},
        bits=8,
        scales={"weight": "scale", "recurrent": "recurrent_scale"},
    )
    # Without `matrices`: the engine packs 4-bit weights itself.
    LINEAR_I4 = _Row(
        10,
        "source target column weight scale bias residual activation range",
        _product,
        by_column=("weight", "scale", "bias"),
        bits=4,
        scales={"weight": "scale"},
    )
    LSTM_I4 = _Row(
        11,
        "source target weight scale recurrent recurrent_scale bias",
        _recurrence,
        bits=4,
        scales={"weight": "scale", "recurrent": "recurrent_scale"},
    )
