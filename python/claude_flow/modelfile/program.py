"""The op list of a model file as a structure (docs/model_format.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from claude_flow.errors import InputError
from claude_flow.modelfile.ops import ABSENT, TENSORS, VALUES, Op

__all__ = ["PER_ITEM", "PER_TOKEN", "Program"]

#: Rows of a value: one per item, or one per token of an axis; most programs have the one axis.
PER_ITEM, PER_TOKEN = 0, 1


@dataclass
class Program:
    """Values ``(rows, width)`` and ops ``(opcode, operands by name)``; ``tensors`` names the tensors of the operands.

    ``inputs`` are the values that the caller gives, ``target`` the one that it gets; ``max_tokens`` is the most tokens
    of an item, ``more_tokens`` that of the token axes 2, 3, ...

    >>> program = Program(max_tokens=1)
    >>> x, y = program.input(PER_ITEM, 8), program.value(PER_ITEM, 4)
    >>> program.op(Op.LAST, source=x, target=y, column=0)
    >>> program.target = y
    >>> Program.parse(program.words(), []) == program
    True
    """

    max_tokens: int
    inputs: list[int] = field(default_factory=list)
    target: int = 0
    values: list[tuple[int, int]] = field(default_factory=list)
    ops: list[tuple[Op, dict[str, int]]] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)
    more_tokens: list[int] = field(default_factory=list)

    @property
    def source(self) -> int:
        """The input of a program that has one."""
        return self.inputs[0]

    @source.setter
    def source(self, value: int) -> None:
        self.inputs = [value]

    def value(self, rows: int, width: int) -> int:
        """Add a value, one row per item or per token, and return its id."""
        self.values.append((rows, width))
        return len(self.values) - 1

    def input(self, rows: int, width: int) -> int:
        """Add a value that the caller gives, after the inputs so far, and return its id."""
        self.inputs.append(self.value(rows, width))
        return self.inputs[-1]

    def axis(self, max_tokens: int) -> int:
        """Add an axis of tokens, of which an item may have other numbers; returned is what :meth:`value` takes."""
        self.more_tokens.append(max_tokens)
        return PER_TOKEN + len(self.more_tokens)

    def most_tokens(self, value: int) -> int:
        """The most rows that an item may have of a value."""
        return [1, self.max_tokens, *self.more_tokens][self.values[value][0]]

    def tensor(self, name: str) -> int:
        """The id of a tensor, added on first use."""
        if name not in self.tensors:
            self.tensors.append(name)
        return self.tensors.index(name)

    def op(self, code: Op, **operands: int) -> None:
        """Add an op; its operands are those of the list of ops, in that order."""
        assert tuple(operands) == code.operands, (code, operands)
        self.ops.append((code, operands))

    def like(self) -> Program:
        """A program of the same values, tensor ids, inputs and output, yet without ops."""
        return replace(
            self,
            inputs=list(self.inputs),
            values=list(self.values),
            ops=[],
            tensors=list(self.tensors),
            more_tokens=list(self.more_tokens),
        )

    def tensor_names(self, operands: dict[str, int]) -> dict[str, str]:
        """The tensors that an op's operands name, by operand."""
        return {key: self.tensors[v] for key, v in operands.items() if key in TENSORS and v != ABSENT}

    def read_by(self, operands: dict[str, int]) -> set[int]:
        """The values that an op of these operands reads."""
        return {v for key, v in operands.items() if key in VALUES and key != "target" and v != ABSENT}

    def words(self) -> list[int]:
        """The flat list of int32 words: format 1 if one input and one axis suffice, else format 2."""
        sizes = [len(self.values), len(self.ops)]
        if len(self.inputs) == 1 and not self.more_tokens:
            words = [1, *sizes, self.source, self.target, self.max_tokens]
        else:
            tokens = [self.max_tokens, *self.more_tokens]
            if not any(rows == PER_TOKEN for rows, _ in self.values) and not self.more_tokens:
                tokens = []  # every axis has an input
            words = [2, *sizes, len(self.inputs), self.target, len(tokens), *tokens, *self.inputs]
        words += [word for value in self.values for word in value]
        return words + [w for code, operands in self.ops for w in (code.value, len(operands), *operands.values())]

    @classmethod
    def parse(cls, words: Sequence[int], tensors: Sequence[str]) -> Program:
        """The inverse of :meth:`words`; raises :class:`InputError` for what is not a program.

        It checks the form only: whether operands fit is the engine's to say.
        """
        try:
            form, values, ops, first, target, last = words[:6]
            at = 6
            if form == 1:
                program = cls(last, [first], target)
            elif form == 2 and first >= 1 and last >= 0:
                most, at = words[at : at + last], at + last
                program = cls(most[0] if last else 1, list(words[at : at + first]), target)
                program.more_tokens, at = list(most[1:]), at + first
            else:
                raise ValueError(f"format {form}")
            program.tensors = list(tensors)
            for _ in range(values):
                program.values.append((words[at], words[at + 1]))
                at += 2
            for _ in range(ops):
                code, count = Op(words[at]), words[at + 1]
                operands = dict(zip(code.operands, words[at + 2 : at + 2 + count], strict=True))
                if any(n in TENSORS and v != ABSENT and not 0 <= v < len(tensors) for n, v in operands.items()):
                    raise ValueError("an operand names no tensor")
                program.ops.append((code, operands))
                at += 2 + count
            if at != len(words):
                raise ValueError(f"{len(words) - at} words left")
        except (ValueError, IndexError) as error:
            raise InputError(f"the program is damaged: {error}") from None
        return program
