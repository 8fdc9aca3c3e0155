"""Training a selector: a residual feed-forward network that scores algorithms (or agents) for an instance.

The rows are few (hundreds), the features many and uneven: there random forests beat networks trained from random
weights, which forget the shape of the data that axis-parallel splits see. So the network *starts* as a forest, and
is trained from there on what counts (neural random forests: Biau, Scornet and Welbl, Sankhya A 81, 2019):

1. Grow ``trees`` trees, each on a bootstrap sample. Half of them are regression trees of the regrets, ``cost - least
   cost``; half are classification trees of the best algorithm, each row weighted by what the best single algorithm
   loses on it, for their errors differ. The value of a leaf is its rows' mean regrets in both.
2. Write them down as the weights of :class:`claude_flow.nets.OptimizationNet` with two hidden layers. The encoder's
   values are multiples of :data:`STEP`, and at each multiple k where trees split there
   is one unit ``relu(x / STEP - k)``. The difference of two neighbours is 0 on one side of a split and 1 on the other.
   A leaf becomes one unit that is 1 where all splits on its path agree and 0 where one does not:
   ``relu(1 - sum of disagreements)``. All of this is in small integers, so the network is the forest exactly. The head
   holds the leaves' values.
3. Train the head on the cost-weighted pairwise logistic loss: for two algorithms, the difference of their costs times
   ``log(1 + exp(-margin))``. A row passes through its *out-of-bag* trees only, those that were grown without it, so
   that the loss is the one on unseen instances; the distance to the forest's own values is penalized.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import export
from claude_flow.errors import InputError, require
from claude_flow.studies.selection.encoder import STEP, FeatureEncoder

require("torch", "train")
import torch
from torch import Tensor
from torch.nn import functional

from claude_flow.nets import OptimizationConfig, OptimizationNet

__all__ = ["SelectionConfig", "Selector", "fit"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SelectionConfig:
    """One training run: how many trees of how many leaves, which share of the features a split may choose from.

    ``anchor`` weighs the distance to the forest's own values; ``steps`` bounds the optimizer's iterations.
    """

    # The second layer is dense, leaves times ramps, so that trees cost memory; 200 trees gained 0.01 nPAR10 over 100 on
    # inner folds.
    trees: int = 160
    leaves: int = 128
    features: float = 1 / 3
    anchor: float = 0.2
    sharpness: float = 2.0
    steps: int = 20


@dataclass(frozen=True)
class Selector:
    """A trained selector: encoded features go in, a score per algorithm comes out, the highest is chosen."""

    encoder: FeatureEncoder
    module: OptimizationNet

    def scores(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Scores float32 ``[n, algorithms]`` of rows ``[n, features]``: higher is better, NaN is a missing value."""
        with torch.no_grad():
            found: NDArray[np.float32] = self.module(torch.from_numpy(self.encoder.apply(features))).numpy()
        return found

    def choose(self, features: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The chosen algorithm of each row, int64 ``[n]``."""
        chosen: NDArray[np.int64] = self.scores(features).argmax(axis=1)
        return chosen

    def save(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write a model file; its ``features`` hold the encoder. :func:`claude_flow.load` runs it without torch."""
        metadata = {"features": {"encoder": self.encoder.to_json()}, "provenance": dict(provenance or {})}
        export.save(self.module, path, metadata=metadata)


def fit(
    features: NDArray[np.floating[Any]],
    costs: NDArray[np.floating[Any]],
    *,
    seed: int = 0,
    config: SelectionConfig | None = None,
) -> Selector:
    """Train a selector from what each algorithm cost on each instance.

    :param features: ``[n, F]``, NaN where missing.
    :param costs: ``[n, algorithms]``, lower is better, any unit, all finite.
    :raises InputError: there is no row, or a cost is not finite.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3))
    >>> selector = fit(x, np.stack([x[:, 0] > 0, x[:, 0] <= 0], axis=1).astype(float))
    >>> selector.choose(np.array([[-2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])).tolist()
    [0, 1]
    """
    config = config or SelectionConfig()
    costs = np.asarray(costs, np.float64)
    if costs.ndim != 2 or not costs.size or len(costs) != len(features):
        raise InputError(f"a selector learns from features and costs of the same rows, not {costs.shape} costs")
    if not np.isfinite(costs).all():
        raise InputError("a selector's costs must all be finite: leave out rows with unknown ones")
    encoder = FeatureEncoder.fit(np.asarray(features, np.float64))
    inputs = encoder.apply(np.asarray(features, np.float64))
    regrets = costs - costs.min(axis=1, keepdims=True)
    scale = regrets.std()
    regrets = regrets / (scale if scale > 0 else 1.0)
    forest = _grow(inputs, regrets, config, np.random.default_rng(seed))
    module = _network(forest.paths, _head(forest, regrets, config), encoder.width)
    return Selector(encoder, module.eval())


#: the way to a leaf: (column, threshold, side), the side -1 (not above the threshold) or 1
_Path = list[tuple[int, float, int]]


@dataclass(frozen=True)
class _Forest:
    paths: list[_Path]
    values: Array  # [leaves, algorithms]: mean regret
    leaf: NDArray[np.int64]  # [rows, trees]: where a row ends
    unseen: NDArray[np.bool_]  # [rows, trees]: the tree was grown without the row


def _grow(inputs: NDArray[np.float32], regrets: Array, config: SelectionConfig, rng: np.random.Generator) -> _Forest:
    trees = require("sklearn.tree", "baselines")
    order = regrets.mean(axis=0).argsort(kind="stable")
    best = order[regrets[:, order].argmin(axis=1)]  # of equal ones the best on average
    stake = regrets[:, order[0]] + 0.05  # rows on which the best single algorithm loses nothing count a little
    paths: list[_Path] = []
    values: list[Array] = []
    leaf = np.empty((len(inputs), config.trees), np.int64)
    unseen = np.ones((len(inputs), config.trees), np.bool_)
    for tree in range(config.trees):
        rows = rng.integers(len(inputs), size=len(inputs))
        unseen[rows, tree] = False
        settings: dict[str, Any] = {
            "max_leaf_nodes": config.leaves,
            "max_features": config.features,
            "random_state": int(rng.integers(2**31)),
        }
        if tree % 2:
            grown = trees.DecisionTreeClassifier(**settings).fit(inputs[rows], best[rows], sample_weight=stake[rows])
        else:
            grown = trees.DecisionTreeRegressor(**settings).fit(inputs[rows], regrets[rows])
        nodes, ends = grown.tree_, grown.apply(inputs)
        places = np.zeros(nodes.node_count, np.int64)
        pending: list[tuple[int, _Path]] = [(0, [])]
        while pending:
            node, path = pending.pop()
            if nodes.children_left[node] < 0:
                places[node] = len(paths)
                paths.append(path)
                values.append(regrets[rows[ends[rows] == node]].mean(axis=0))
                continue
            split = int(nodes.feature[node]), float(nodes.threshold[node])
            pending.append((int(nodes.children_left[node]), [*path, (*split, -1)]))
            pending.append((int(nodes.children_right[node]), [*path, (*split, 1)]))
        leaf[:, tree] = places[ends]
    return _Forest(paths, np.array(values), leaf, unseen)


def _network(paths: Sequence[_Path], head: Tensor, width: int) -> OptimizationNet:
    """Leaves, and their weights ``[leaves, algorithms]``, as a network."""
    # The encoder's values are multiples of STEP: a ramp rises from the highest that goes left to the next one.
    steps = [[(column, math.floor(threshold / STEP), side) for column, threshold, side in path] for path in paths]
    hinges = sorted({(column, at + end) for path in steps for column, at, _ in path for end in (0, 1)})
    place = {hinge: unit for unit, hinge in enumerate(hinges)}
    # Equal neighbouring widths would make the shortcut an identity instead of a projection, which can be 0.
    ramps = max(1, len(hinges))
    ramps += ramps == width
    leaves = len(paths) + (len(paths) == ramps)
    with torch.device("meta"):  # millions of weights need not be drawn at random to be replaced
        module = OptimizationNet(OptimizationConfig(width, (ramps, leaves), head.shape[1], dropout=0.0))
    state = {name: np.zeros(tensor.shape, np.float32) for name, tensor in module.state_dict().items()}
    slope, low = state["layers.0.linear.weight"], state["layers.0.linear.bias"]
    for (column, at), unit in place.items():
        slope[unit, column] = 1 / STEP
        low[unit] = -at
    agree, offset = state["layers.1.linear.weight"], state["layers.1.linear.bias"]
    for leaf, path in enumerate(steps):
        offset[leaf] = 1 - sum(side > 0 for _, _, side in path)
        for column, at, side in path:
            agree[leaf, place[column, at]] += side
            agree[leaf, place[column, at + 1]] -= side
    state["head.weight"][:, : len(paths)] = head.numpy().T
    module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in state.items()}, assign=True)
    return module


def _head(forest: _Forest, regrets: Array, config: SelectionConfig) -> Tensor:
    """The head's weights [leaves, algorithms] that minimize the pairwise loss over the rows' out-of-bag leaves."""
    start = torch.from_numpy((-forest.values / config.trees).astype(np.float32))
    seen_without = forest.unseen.sum(axis=1)
    rows = np.flatnonzero((seen_without > 0) & (regrets.max(axis=1) > 0))
    if not len(rows):
        return start
    bags = torch.from_numpy(forest.leaf[rows])
    # As many trees as the head averages over, so that a score has the same scale as in use.
    share = torch.from_numpy((forest.unseen[rows] * (config.trees / seen_without[rows])[:, None]).astype(np.float32))
    cost = torch.from_numpy(regrets[rows].astype(np.float32))
    first, second = torch.triu_indices(cost.shape[1], cost.shape[1], 1)
    gap = cost[:, second] - cost[:, first]  # positive: the first is better
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=config.steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = functional.embedding_bag(bags, weight, mode="sum", per_sample_weights=share)
        margin = (scores[:, first] - scores[:, second]) * gap.sign() * config.sharpness
        wrong = (gap.abs() * functional.softplus(-margin)).sum(1).mean() / cost.shape[1]
        total: Tensor = wrong + config.anchor * (weight - start).pow(2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach()
