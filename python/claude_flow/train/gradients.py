"""Gradients of the training loss at given weights, without a step: what importance and curvature are estimated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from claude_flow import networks
from claude_flow.errors import InputError, require
from claude_flow.report.progress import Progress, nothing
from claude_flow.train.config import TrainingConfig

require("torch", "train")
import torch
from torch import Tensor

__all__ = ["Moments", "moments"]


@dataclass(frozen=True)
class Moments:
    """Means over batches of a parameter's gradient: itself, its size, its square (the diagonal of Fisher's matrix)."""

    mean: Tensor
    absolute: Tensor
    square: Tensor


def moments(
    network: str,
    config: TrainingConfig,
    data: Path,
    weights: Mapping[str, Tensor],
    *,
    batches: int = 64,
    validation_split: float = 0.2,
    seed: int = 0,
    progress: Progress = nothing,
) -> dict[str, Moments]:
    """Parameter -> moments over up to ``batches`` training batches, in evaluation mode. Raises :class:`InputError`
    where there is nothing to learn from."""
    source = networks.get(network).learn.Data.load(data, validation_split, seed, asdict(config))
    module = source.module(config.network)
    module.load_state_dict(dict(weights))
    module.eval()
    parameters = dict(module.named_parameters())
    sums = {name: [torch.zeros_like(p) for _ in range(3)] for name, p in parameters.items()}
    count = 0
    for batch in islice(source.batches("train", config.batch_size, np.random.default_rng([seed, 0])), batches):
        found = torch.autograd.grad(source.loss(module, batch), list(parameters.values()), allow_unused=True)
        for name, g in zip(parameters, found, strict=True):
            if g is not None:
                for total, part in zip(sums[name], (g, g.abs(), g.square()), strict=True):
                    total += part
        count += 1
        progress(count / batches, "gradients")
    if not count:
        raise InputError(f"{data}: nothing in its training part can be learned from")
    return {name: Moments(*(total / count for total in three)) for name, three in sums.items()}
