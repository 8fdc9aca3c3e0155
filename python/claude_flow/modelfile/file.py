"""What a model file holds, apart from how it lies in the file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from claude_flow.modelfile.program import Program

__all__ = ["ModelFile"]


@dataclass
class ModelFile:
    """What a model file holds.

    ``program`` is the flat op list (int32 words, docs/model_format.md) that the engine runs; its operands name
    tensors by their place in ``program_tensors``. ``features`` is the schema that turns a request into inputs,
    ``calibration`` the constants that turn outputs into probabilities and intervals, ``provenance`` the card.
    ``tensors``: arrays, or :class:`claude_flow.modelfile.layout.Packed` for prepacked weights.
    """

    network: str
    config: dict[str, Any]
    program: list[int]
    program_tensors: list[str]
    tensors: dict[str, Any]
    precision: str = "fp32"
    features: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def parse(self) -> Program:
        """The program as a structure; raises :class:`claude_flow.errors.InputError` for what is none."""
        return Program.parse(self.program, self.program_tensors)

    def rewritten(self, program: Program, tensors: dict[str, Any]) -> ModelFile:
        """The same model with another program over ``tensors``, which may hold more: those that the old program alone
        read go, and the new one's ids follow the order in which its ops name them."""
        tight = replace(program.like(), tensors=[])
        for code, operands in program.ops:
            named = program.tensor_names(operands)
            tight.op(code, **(operands | {key: tight.tensor(name) for key, name in named.items()}))
        others = {n: t for n, t in tensors.items() if n in self.tensors and n not in self.program_tensors}
        used = {name: tensors[name] for name in tight.tensors}
        return replace(self, program=tight.words(), program_tensors=tight.tensors, tensors=used | others)
