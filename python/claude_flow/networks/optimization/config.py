"""Sizes of the optimization network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from claude_flow.errors import InputError
from claude_flow.schema import Flag, List, Number, Record, Whole

__all__ = ["DATA", "FIXED", "MEASURES", "TINY", "Config", "OptimizationConfig", "space"]

#: fields that the encoder and the catalogue dictate: a training cannot change them
FIXED = ("input_width", "output_width")
#: options of the training data
DATA = Record({})
#: what the validation split is judged by
MEASURES = (
    *("loss", "regret-at-1", "regret-at-5", "hit-at-5", "gain-at-1", "helpful-at-1", "spearman"),
    *("regret-at-1-whole", "spearman-whole"),
)


@dataclass(frozen=True)
class OptimizationConfig:
    """Sizes of :class:`OptimizationNet`; the defaults are the spec's.

    ``projected`` says of each layer whether its shortcut is a projection (empty: where the width changes).
    """

    input_width: Annotated[int, Whole(1, 65_536)] = 256
    hidden: Annotated[tuple[int, ...], List(Whole(1, 65_536), "width", 1, 64)] = (256, 512, 1024, 1024, 512, 256)
    output_width: Annotated[int, Whole(1, 65_536)] = 128
    dropout: Annotated[float, Number(0, 0.95)] = 0.2
    projected: Annotated[tuple[bool, ...], List(Flag(), "flag", 0, 64)] = ()

    def __post_init__(self) -> None:
        changes = tuple(a != b for a, b in pairwise((self.input_width, *self.hidden)))
        if self.projected and any(c and not p for c, p in zip(changes, self.projected, strict=False)):
            raise InputError("network.projected: a layer that changes the width needs its projection")
        if self.projected and len(self.projected) != len(changes):
            raise InputError(f"network.projected names {len(self.projected)} layers; hidden has {len(changes)}")

    @property
    def projections(self) -> tuple[bool, ...]:
        """Of each layer, whether its shortcut is a projection."""
        return self.projected or tuple(a != b for a, b in pairwise((self.input_width, *self.hidden)))


Config = OptimizationConfig
TINY = {"input_width": 5, "hidden": [5, 7], "output_width": 3}


def space(trial: Any) -> dict[str, Any]:
    """Sizes to try in an architecture search, by a trial's ``suggest_*``."""
    layers = trial.suggest_int("layers", 1, 8)
    width = trial.suggest_categorical("width", [32, 64, 96, 128, 192, 256])
    taper = trial.suggest_categorical("taper", [0.5, 0.75, 1.0])
    return {"hidden": [max(16, round(width * taper**place / 16) * 16) for place in range(layers)]}
