"""Sizes of the optimization network."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Config", "OptimizationConfig"]


@dataclass(frozen=True)
class OptimizationConfig:
    """Sizes of :class:`OptimizationNet`; the defaults are the spec's."""

    input_width: int = 256
    hidden: tuple[int, ...] = (256, 512, 1024, 1024, 512, 256)
    output_width: int = 128
    dropout: float = 0.2


Config = OptimizationConfig
