"""What a launcher's processes train together: ``torch.distributed.run … two_processes.py DATA NETWORK FOLDER``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from claude_flow.train import loop
from claude_flow.train.config import TrainingConfig, parse

GLOBAL_BATCH = 16


class Line:
    """96 examples of a sum of four numbers, for a linear module: what `fit` asks of data, and nothing else."""

    splits, fingerprint = ("train", "validation"), "a line"
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(96, 4)).astype(np.float32))

    def module(self, config: Any) -> torch.nn.Module:
        return torch.nn.Linear(4, 1)

    def batches(self, split: str, size: int, generator: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        for rows in np.array_split(generator.permutation(96), range(size, 96, size)):
            yield {"x": self.x[rows]}

    def loss(self, module: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return (module(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()

    def metrics(self, module: torch.nn.Module, split: str) -> dict[str, float]:
        return {"loss": float(self.loss(module, {"x": self.x}))}

    def baselines(self, split: str) -> dict[str, Any]:
        return {}

    def metadata(self, module: torch.nn.Module) -> dict[str, Any]:
        return {}


def curve(processes: int, folder: Path) -> list[float]:
    """The loss after every epoch on the line, of batches that ``processes`` share."""
    config = TrainingConfig(epochs=4, batch_size=GLOBAL_BATCH // processes, learning_rate=0.02, warmup_steps=1)
    card = loop.fit("optimization", config, Line(), folder, store=False)
    return card["history"]["loss"]  # type: ignore[no-any-return]


def main(data: str, network: str, folder: str) -> None:
    """Train a coordination network of the sizes ``network`` (JSON), then the line, in folders of ``folder``."""
    document = {"coordination-training": {"epochs": 2, "batch-size": 16, "network": json.loads(network)}}
    loop.fit("coordination", parse(document, "coordination"), Path(data), Path(folder, "run"))
    line = Path(folder, "line")
    line.mkdir(exist_ok=True)
    (line / "curve.json").write_text(json.dumps(curve(2, line)))


if __name__ == "__main__":
    main(*sys.argv[1:])
