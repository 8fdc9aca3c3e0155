"""The data that a model is looked at with: its network's preprocessed data, else the simulated suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from claude_flow import export, modelfile, networks, registry
from claude_flow.errors import InputError
from claude_flow.evaluate import judge
from claude_flow.files import temporary_folder
from claude_flow.modelfile import Program

__all__ = ["Subject", "subject"]

_SUITE_SHARE, _SEED = 0.1, 1303  # of the standard suite


class Subject:
    """A model as a torch module, and batches of data that it has not been trained on."""

    def __init__(self, path: Path, data: Path, label: str) -> None:
        file = modelfile.read(path)
        self.name, self.label = registry.model_name(path), label
        self.module: nn.Module = export.from_file(file)
        #: layer -> code of the activation that the program fuses with it (docs/model_format.md)
        self.activations: dict[str, int] = {}
        program = Program.parse(file.program, file.program_tensors)
        for _, operands in program.ops:
            if "activation" in operands:
                name = program.tensors[operands["weight"]].removesuffix(".weight")
                self.activations[name] = operands["activation"]
        self._row = row = networks.get(file.network)
        self.network = row.name
        if len({judge.network_of(data), row.name}) > 1:
            raise InputError(f"{data} is a dataset for {judge.network_of(data)}; the model is for {row.name}")
        self._data: Any = row.learn.Data.load(data, 0.2, 0, {})

    def batches(self, most: int, size: int = 32) -> list[dict[str, Tensor]]:
        """Up to ``most`` batches of the validation part, always the same ones."""
        found: list[dict[str, Tensor]] = []
        for batch in self._data.batches("validation", size, np.random.default_rng(0)):
            found.append(batch)
            if len(found) == most:
                break
        if not found:
            raise InputError(f"{self.label}: its validation part is empty: collect more logs")
        return found

    def tokens(self, batch: dict[str, Tensor], item: int) -> list[str]:
        """Names of an item's tokens."""
        names: list[str] = self._row.part("explain").tokens(batch, item)
        return names

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The training loss of a batch."""
        loss: Tensor = self._data.loss(self.module, batch)
        return loss


@contextmanager
def subject(path: Path, data: str | None = None) -> Iterator[Subject]:
    """The model of ``path`` with the dataset ``data``; by default the workspace's, else a tenth of the suite."""
    row = networks.get(modelfile.read(path).network)
    own = f"preprocessed-{row.name}-data"
    try:
        place: Path | None = registry.dataset_path(data or own)
    except InputError:
        if data is not None:
            raise
        place = None
    if place is not None:
        yield Subject(path, place, data or own)
        return
    with temporary_folder() as scratch:
        place = scratch / row.name
        place.mkdir()
        tables, options = row.prepare.suite(scratch, _SEED, _SUITE_SHARE)
        row.prepare.preprocess(tables, place, options)
        yield Subject(path, place, f"simulated {row.name} data")
