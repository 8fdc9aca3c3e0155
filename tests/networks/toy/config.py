"""Sizes of the toy network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    input_width: int = 4
    hidden: int = 8
