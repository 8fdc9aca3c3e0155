"""Ranking configurations of a system by throughput, learned from other workloads: a forest taught to a network.

A few hundred measurements with a hundred knobs each are too few for a network to learn which knobs matter: trained on
them directly it follows noise. Extremely randomized trees (Geurts et al. 2006) are good at this, and the knobs
were drawn independently of each other, so as many new configurations as one likes can be drawn from the same
distribution. The forest names a score for each, and the network learns the forest: it is as accurate, smooth,
runs in the engine, and its size does not depend on the trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.studies.knobs.encoder import KnobEncoder

require("torch", "train")
import torch

from claude_flow.nets import OptimizationConfig, OptimizationNet

__all__ = ["KnobRanker", "Recipe", "Teacher", "fit", "targets"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """Sizes of the training; the same for every data set."""

    trees: int = 300
    least_leaf: int = 3
    drawn: int = 20_000
    epochs: int = 25
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 3e-3
    batch: int = 256


@dataclass(frozen=True)
class KnobRanker:
    """A trained network with its encoder; ``network`` maps ``[n, encoder.width]`` to a score ``[n, 1]``."""

    encoder: KnobEncoder
    network: OptimizationNet

    def scores(self, configurations: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """A score for each configuration, higher for more throughput; only their order has a meaning."""
        with torch.no_grad():
            found: NDArray[np.float32] = self.network(torch.from_numpy(self.encoder.encode(configurations)))[
                :, 0
            ].numpy()
        return found

    def metadata(self) -> dict[str, Any]:
        """What :func:`claude_flow.export.save` stores so that a host can encode configurations."""
        return {"features": self.encoder.schema()}


def targets(throughput: Array) -> Array:
    """What is learned of one workload's throughputs: half ranks, half sizes; mean 0, deviation 1.

    The mean of the normal scores and the standardized logarithm. Ranks alone say nothing about how much the best
    differs from the second best, which regret measures; logarithms alone follow a few outliers. Both make workloads
    comparable whose throughputs differ a hundredfold.

    >>> targets(np.array([5.0, 900.0, 7.0])).round(2).tolist()
    [-1.03, 1.35, -0.33]
    """
    stats = require("scipy.stats", "baselines")
    parts = stats.norm.ppf((stats.rankdata(throughput) - 0.5) / len(throughput)), np.log(throughput)
    return _standardized(_standardized(parts[0]) + _standardized(parts[1]))


def _standardized(values: Array) -> Array:
    deviation = values.std()
    found: Array = (values - values.mean()) / deviation if deviation > 1e-9 else np.zeros(len(values))
    return found


def fit(
    workloads: Sequence[tuple[Sequence[Mapping[str, Any]], Array]], seed: int, recipe: Recipe | None = None
) -> KnobRanker:
    """Learn from the configurations and throughputs of some workloads.

    :raises InputError: nothing to learn from. :raises ClaudeFlowError: the training diverged.
    """
    recipe = recipe or Recipe()
    configurations = [row for rows, _ in workloads for row in rows]
    if len(configurations) < 2:
        raise InputError(f"{len(configurations)} configurations to learn a ranking from: at least 2 are needed")
    encoder = KnobEncoder.fit(configurations)
    table = encoder.table(configurations)
    wanted = np.concatenate([targets(throughput) for _, throughput in workloads])
    teacher = Teacher.fit(table, wanted, seed, recipe)
    drawn = _drawn(table, recipe.drawn, np.random.default_rng(seed))
    labels = _standardized(teacher.predict(drawn))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its matrices are too small to share: two busy threads cost more than one
    try:
        return KnobRanker(encoder, _learn(encoder.columns(drawn), labels, seed, recipe))
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Teacher:
    """The forest that names the scores which the network learns; unknown settings are read as the mean."""

    forest: Any
    middle: Array

    @classmethod
    def fit(cls, table: Array, wanted: Array, seed: int, recipe: Recipe) -> Teacher:
        """Grow it on the rows of :meth:`KnobEncoder.table` and their :func:`targets`."""
        ExtraTreesRegressor = require("sklearn.ensemble", "baselines").ExtraTreesRegressor

        known = ~np.isnan(table)
        middle = np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1)
        forest = ExtraTreesRegressor(
            recipe.trees, max_features=1 / 3, min_samples_leaf=recipe.least_leaf, random_state=seed, n_jobs=1
        )
        return cls(forest.fit(np.where(known, table, middle), wanted), middle)

    def predict(self, table: Array) -> Array:
        """A score for each row ``[n]``."""
        found: Array = self.forest.predict(np.where(np.isnan(table), self.middle, table))
        return found


def _drawn(table: Array, count: int, generator: np.random.Generator) -> Array:
    """New configurations, each knob drawn on its own from those of the table."""
    rows = generator.integers(len(table), size=(count, table.shape[1]))
    found: Array = np.take_along_axis(table, rows, axis=0)
    return found


def _learn(inputs: Array, labels: Array, seed: int, recipe: Recipe) -> OptimizationNet:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OptimizationNet(OptimizationConfig(inputs.shape[1], recipe.hidden, 1, dropout=0.0))
    x, y = (torch.from_numpy(part.astype(np.float32)) for part in (inputs, labels))
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    batches = max(1, len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.epochs * batches)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.tensor_split(batches):
            loss = (network(x[rows])[:, 0] - y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if not torch.isfinite(loss):
        raise ClaudeFlowError(f"the loss became {loss.item()}: the configurations cannot be learned")
    return network.eval()
