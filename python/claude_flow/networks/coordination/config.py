"""Sizes of the coordination network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from claude_flow.errors import InputError
from claude_flow.schema import Flag, List, Number, Record, Text, Whole

__all__ = ["DATA", "FIXED", "MEASURES", "TINY", "Config", "CoordinationConfig", "space"]

#: fields that the encoder dictates: a training cannot change them
FIXED = ("input_width", "commands")
#: options of the training data
DATA = Record({})
#: what the validation split is judged by; also by kind of pool, such as measured-regret
MEASURES = ("loss", "coordination-accuracy", "regret", "utility")


@dataclass(frozen=True)
class CoordinationConfig:
    """Sizes of :class:`CoordinationNet`; the defaults are the spec's.

    What pruning leaves is given by ``head_width`` (0: ``width / heads``) and, for each block, ``block_heads`` (empty:
    ``heads`` in each).
    """

    input_width: Annotated[int, Whole(1, 65_536)] = 512
    width: Annotated[int, Whole(1, 65_536)] = 512
    heads: Annotated[int, Whole(1, 256)] = 8
    feed_forward: Annotated[tuple[int, ...], List(Whole(1, 65_536), "width", 1, 64)] = (512, 1024, 1024, 512)
    output_width: Annotated[int, Whole(1, 65_536)] = 256
    max_tokens: Annotated[int, Whole(1, 65_536)] = 128
    commands: Annotated[tuple[str, ...], List(Text(), "name", 0, 256)] = ("defer", "split", "escalate", "spawn")
    dropout: Annotated[float, Number(0, 0.95)] = 0.1
    attention_dropout: Annotated[float, Number(0, 0.95)] = 0.1
    layer_norm: Annotated[bool, Flag()] = True
    scale_attention: Annotated[bool, Flag()] = True
    head_width: Annotated[int, Whole(0, 65_536)] = 0
    block_heads: Annotated[tuple[int, ...], List(Whole(1, 256), "number of heads", 0, 64)] = ()

    def __post_init__(self) -> None:
        if not self.head_width and self.width % self.heads:
            raise InputError(f"network.width {self.width} is not a multiple of network.heads {self.heads}")
        if self.block_heads and len(self.block_heads) != len(self.feed_forward):
            blocks = len(self.feed_forward)
            raise InputError(f"network.block-heads names {len(self.block_heads)} blocks; feed-forward has {blocks}")

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_width or self.width // self.heads

    def heads_of(self, block: int) -> int:
        """Heads of a block."""
        return self.block_heads[block] if self.block_heads else self.heads


Config = CoordinationConfig
TINY = {"input_width": 5, "width": 4, "heads": 2, "feed_forward": [4], "output_width": 3, "max_tokens": 4}


def space(trial: Any) -> dict[str, Any]:
    """Sizes to try in an architecture search, by a trial's ``suggest_*``."""
    heads = trial.suggest_categorical("heads", [1, 2, 4, 8])
    width = heads * trial.suggest_categorical("head_width", [8, 16, 32, 48])
    blocks = trial.suggest_int("blocks", 1, 4)
    ratio = trial.suggest_categorical("feed_forward_ratio", [1, 2, 4])
    return {"width": width, "heads": heads, "feed_forward": [ratio * width] * blocks}
