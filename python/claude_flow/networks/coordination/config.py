"""Sizes of the coordination network."""

from __future__ import annotations

from dataclasses import dataclass

from claude_flow.errors import InputError

__all__ = ["Config", "CoordinationConfig"]


@dataclass(frozen=True)
class CoordinationConfig:
    """Sizes of :class:`CoordinationNet`; the defaults are the spec's."""

    input_width: int = 512
    width: int = 512
    heads: int = 8
    feed_forward: tuple[int, ...] = (512, 1024, 1024, 512)
    output_width: int = 256
    max_tokens: int = 128
    commands: tuple[str, ...] = ("defer", "split", "escalate", "spawn")
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm: bool = True
    scale_attention: bool = True

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError(f"network.width {self.width} is not a multiple of network.heads {self.heads}")


Config = CoordinationConfig
