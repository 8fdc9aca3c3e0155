"""Sizes of the prediction network."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Config", "PredictionConfig"]


@dataclass(frozen=True)
class PredictionConfig:
    """Sizes of :class:`PredictionNet`; the defaults are the spec's. The output is ``targets * (quantiles + 1)``.

    ``layers`` 0 reads each record by itself, through two linear layers with GELU: only the attention then relates them.
    ``hidden`` above 0 puts two layers of that width (GELU, the second residual) before the head and shows them the
    open record beside what was read; ``members`` such networks are trained side by side and their outputs averaged.
    """

    input_width: int = 128
    width: int = 256
    layers: int = 3
    targets: int = 8
    quantiles: int = 7
    max_tokens: int = 128
    dropout: float = 0.1
    hidden: int = 0
    members: int = 1


Config = PredictionConfig
