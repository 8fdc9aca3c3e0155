"""Data, loss and measures of the toy network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from .config import Config
from .net import Net


class Data:
    splits = ("train", "validation", "test")

    def __init__(self, tensors: dict[str, Any], validation_split: float, seed: int) -> None:
        self.x, self.y = tensors["x"], tensors["y"]
        part = np.where(tensors["split"] == 1, 2, 0)
        train = np.random.default_rng(seed).permutation(np.flatnonzero(part == 0))
        part[train[: max(1, round(len(train) * validation_split))]] = 1
        self.rows = {name: np.flatnonzero(part == i) for i, name in enumerate(self.splits)}

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> "Data":
        return cls(load_file(path / "pools.safetensors"), validation_split, seed)

    def module(self, config: dict[str, Any]) -> nn.Module:
        return Net(Config(**config))

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        rows = generator.permutation(self.rows[split])
        for first in range(0, len(rows), batch_size):
            part = rows[first : first + batch_size]
            yield {"x": torch.from_numpy(self.x[part]), "y": torch.from_numpy(self.y[part])}

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return (module(batch["x"]) - batch["y"]).square().mean()

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        rows = self.rows[split]
        said = module(torch.from_numpy(self.x[rows])).numpy()
        return {"loss": float(np.square(said - self.y[rows]).mean()), "mae": float(np.abs(said - self.y[rows]).mean())}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        error = np.abs(self.y[self.rows[split]] - np.median(self.y[self.rows["train"]]))
        return {"median": {"mae": float(error.mean())}}

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        return {"features": {"encoder": "toy"}, "calibration": {}}


def distillation(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor], temperature: float) -> Tensor:
    return (student(batch["x"]) - teacher(batch["x"])).square().mean()
