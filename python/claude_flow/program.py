"""The op list of a model file as a structure: Python's one list of ops (docs/model_format.md gives their meaning)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from claude_flow.errors import InputError

__all__ = ["ABSENT", "OPERANDS", "PER_ITEM", "PER_TOKEN", "Op", "Program"]

ABSENT = -1
PER_ITEM, PER_TOKEN = 0, 1
FORMAT = 1


class Op(IntEnum):
    """Opcodes."""

    LINEAR = 1
    LAYER_NORM = 2
    ATTENTION = 3
    LSTM = 4
    ATTENTION_POOL = 5
    LAST = 6
    MONOTONE = 7
    LINEAR_I8 = 8
    LSTM_I8 = 9


#: opcode -> names of its operands, in order
OPERANDS: dict[Op, tuple[str, ...]] = {
    Op.LINEAR: ("source", "target", "column", "weight", "bias", "residual", "activation"),
    Op.LAYER_NORM: ("source", "target", "weight", "bias", "epsilon"),
    Op.ATTENTION: ("source", "target", "heads"),
    Op.LSTM: ("source", "target", "weight", "recurrent", "bias"),
    Op.ATTENTION_POOL: ("source", "keys", "weight", "target", "column"),
    Op.LAST: ("source", "target", "column"),
    Op.MONOTONE: ("source", "target", "quantiles", "group"),
    Op.LINEAR_I8: ("source", "target", "column", "weight", "scale", "bias", "residual", "activation", "range"),
    Op.LSTM_I8: ("source", "target", "weight", "scale", "recurrent", "recurrent_scale", "bias"),
}
#: operands that name tensors
TENSORS = frozenset({"weight", "bias", "recurrent", "scale", "recurrent_scale", "range"})


@dataclass
class Program:
    """Values ``(rows, width)`` and ops ``(opcode, operands by name)``; ``tensors`` names the tensors of the operands.

    >>> program = Program(max_tokens=1)
    >>> x, y = program.value(PER_ITEM, 8), program.value(PER_ITEM, 4)
    >>> program.op(Op.LAST, source=x, target=y, column=0)
    >>> program.source, program.target = x, y
    >>> Program.parse(program.words(), []).words() == program.words()
    True
    """

    max_tokens: int
    source: int = 0
    target: int = 0
    values: list[tuple[int, int]] = field(default_factory=list)
    ops: list[tuple[Op, dict[str, int]]] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)

    def value(self, rows: int, width: int) -> int:
        """Add a value, one row per item or per token, and return its id."""
        self.values.append((rows, width))
        return len(self.values) - 1

    def tensor(self, name: str) -> int:
        """The id of a tensor, added on first use."""
        if name not in self.tensors:
            self.tensors.append(name)
        return self.tensors.index(name)

    def op(self, code: Op, **operands: int) -> None:
        """Add an op; its operands are those of :data:`OPERANDS`."""
        assert tuple(operands) == OPERANDS[code], (code, operands)
        self.ops.append((code, operands))

    def words(self) -> list[int]:
        """The flat list of int32 words."""
        words = [FORMAT, len(self.values), len(self.ops), self.source, self.target, self.max_tokens]
        words += [word for value in self.values for word in value]
        return words + [w for code, operands in self.ops for w in (code.value, len(operands), *operands.values())]

    @classmethod
    def parse(cls, words: Sequence[int], tensors: Sequence[str]) -> Program:
        """The inverse of :meth:`words`; raises :class:`InputError` for what is not a program.

        It checks the form only: whether operands fit is the engine's to say.
        """
        try:
            form, values, ops, source, target, max_tokens = words[:6]
            program = cls(max_tokens, source, target, tensors=list(tensors))
            at = 6
            for _ in range(values):
                program.values.append((words[at], words[at + 1]))
                at += 2
            for _ in range(ops):
                code, count = Op(words[at]), words[at + 1]
                names = OPERANDS[code]
                operands = dict(zip(names, words[at + 2 : at + 2 + count], strict=True))
                if any(operands[n] != ABSENT and not 0 <= operands[n] < len(tensors) for n in names if n in TENSORS):
                    raise ValueError("an operand names no tensor")
                program.ops.append((code, operands))
                at += 2 + count
            if form != FORMAT or at != len(words):
                raise ValueError(f"format {form}, {len(words) - at} words left")
        except (ValueError, IndexError) as error:
            raise InputError(f"the program is damaged: {error}") from None
        return program
