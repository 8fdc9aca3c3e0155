"""What the loop asks of data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

__all__ = ["Data", "Learnable"]


class Learnable(Protocol):
    """What the loop needs of data: batches, a loss, and how what was learned is judged.

    ``test``, where the preprocessed data sets one apart, is never used for any choice; the card reports it. What a
    recipe makes of data sets says in ``fingerprint`` what it is; a data set's is its hash.
    """

    @property
    def splits(self) -> tuple[str, ...]: ...
    def module(self, config: dict[str, Any]) -> nn.Module: ...
    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]: ...
    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor: ...
    def metrics(self, module: nn.Module, split: str) -> dict[str, float]: ...
    def baselines(self, split: str) -> dict[str, dict[str, float]]: ...
    def metadata(self, module: nn.Module) -> dict[str, Any]: ...


class Data(Learnable, Protocol):
    """What a network's ``learn`` module provides: a preprocessed data set."""

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> Data: ...
    def parts(self) -> dict[str, Data]:
        """The data by what belongs together (projects, sites, families of work), by name, the largest first."""
