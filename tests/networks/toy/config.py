"""Sizes of the toy network."""

from dataclasses import dataclass
from typing import Annotated

from claude_flow.schema import Record, Whole

FIXED = ("input_width",)
DATA = Record({})
MEASURES = ("loss", "mae")


@dataclass(frozen=True)
class Config:
    input_width: Annotated[int, Whole(1, 1024)] = 4
    hidden: Annotated[int, Whole(1, 1024)] = 8


TINY = {"hidden": 2}
