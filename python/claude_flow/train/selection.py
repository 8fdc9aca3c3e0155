"""Training a selector: a residual feed-forward network that scores algorithms (or agents) for an instance.

The rows are few (hundreds), the features many and uneven: there random forests beat networks trained from random
weights, which forget the shape of the data that axis-parallel splits see. So the network *starts* as a forest, and
is trained from there on what counts (neural random forests: Biau, Scornet and Welbl, Sankhya A 81, 2019):

1. Grow ``trees`` trees on the regrets, ``cost - least cost``, each on a bootstrap sample: half of them choose the best
   threshold of a feature, half a random one (extremely randomized trees), for their errors differ.
2. Write them down as the weights of :class:`claude_flow.nets.OptimizationNet` with two hidden layers. A split
   ``x > t`` becomes a ramp of two ReLU units, ``relu((x - t)/w + 1/2) - relu((x - t)/w - 1/2)``, from 0 to 1 over the
   width w; splits of several trees at one place share it. A leaf becomes one unit that is 1 where all ramps on its
   path agree and 0 where one does not: ``relu(1 - sum of disagreements)``. The head holds the leaves' mean regrets.
3. Train the head on the cost-weighted pairwise logistic loss: for two algorithms, the difference of their costs times
   ``log(1 + exp(-margin))``. A row passes through its *out-of-bag* trees only, those that were grown without it, so
   that the loss is the one on unseen instances; the distance to the forest's own values is penalized.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import export
from claude_flow.errors import InputError, MissingExtra
from claude_flow.features.selection import FeatureEncoder

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "train") from error

from torch import Tensor
from torch.nn import functional

from claude_flow.nets import OptimizationConfig, OptimizationNet

__all__ = ["SelectionConfig", "Selector", "fit"]

Array = NDArray[np.float64]

RAMP = 1 / 16  # a split's width in the encoder's units (ranks from -2 to 2)


@dataclass(frozen=True)
class SelectionConfig:
    """One training run: how many trees of how many leaves, which share of the features a split may choose from.

    ``anchor`` weighs the distance to the forest's own values; ``steps`` bounds the optimizer's iterations.
    """

    # Forty trees give 4,000 to 10,000 leaves and 1,000 to 5,000 ramps; 64 small trees of 64 leaves were worse on the
    # validation folds of the scenarios with many rows.
    trees: int = 40
    leaves: int = 256
    features: float = 1 / 3
    anchor: float = 0.03
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
    module = _network(forest, encoder.width, regrets.shape[1], config.trees)
    _train_head(module, forest, inputs, regrets, config)
    return Selector(encoder, module.eval())


@dataclass(frozen=True)
class _Forest:
    """Trees written as paths: ``splits`` (column, threshold) are shared; a leaf is a path of (split, side -1 or 1)."""

    splits: list[tuple[int, float]]
    paths: list[list[tuple[int, int]]]
    values: Array  # [leaves, algorithms]: mean regret
    tree: NDArray[np.int64]  # [leaves]: whose leaf it is
    unseen: NDArray[np.bool_]  # [rows, trees]: the tree was grown without the row


def _grow(inputs: NDArray[np.float32], regrets: Array, config: SelectionConfig, rng: np.random.Generator) -> _Forest:
    try:
        from sklearn.tree import DecisionTreeRegressor
    except ImportError as error:
        raise MissingExtra("scikit-learn", "baselines") from error
    splits: dict[tuple[int, float], int] = {}
    paths: list[list[tuple[int, int]]] = []
    values, owner = [], []
    unseen = np.ones((len(inputs), config.trees), np.bool_)
    for tree in range(config.trees):
        rows = rng.integers(len(inputs), size=len(inputs))
        unseen[rows, tree] = False
        grown = DecisionTreeRegressor(
            max_leaf_nodes=config.leaves,
            max_features=config.features,
            splitter=("best", "random")[tree % 2],
            random_state=int(rng.integers(2**31)),
        )
        nodes = grown.fit(inputs[rows], regrets[rows]).tree_
        pending: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
        while pending:
            node, path = pending.pop()
            if nodes.children_left[node] < 0:
                paths.append(path)
                values.append(nodes.value[node][:, 0])
                owner.append(tree)
                continue
            # A value that many rows share is encoded as a multiple of a sixteenth. All thresholds between two such
            # places (1.6 % of the rows) share one ramp, which rises from the one to the other: none lies on it.
            place = (int(nodes.feature[node]), (math.floor(float(nodes.threshold[node]) / RAMP) + 0.5) * RAMP)
            split = splits.setdefault(place, len(splits))
            pending.append((int(nodes.children_left[node]), [*path, (split, -1)]))
            pending.append((int(nodes.children_right[node]), [*path, (split, 1)]))
    return _Forest(list(splits), paths, np.array(values), np.array(owner), unseen)


def _network(forest: _Forest, width: int, algorithms: int, trees: int) -> OptimizationNet:
    """The forest as a network; the mean over the trees is in the head."""
    splits, leaves = len(forest.splits), len(forest.paths)
    # Equal neighbouring widths would make the shortcut an identity instead of a projection, which can be 0.
    ramps = 2 * splits + (2 * splits == width) if splits else 1 + (width == 1)
    units = leaves + (leaves == ramps)
    with torch.device("meta"):  # millions of weights need not be drawn at random to be replaced
        module = OptimizationNet(OptimizationConfig(width, (ramps, units), algorithms, dropout=0.0))
    state = {name: np.zeros(tensor.shape, np.float32) for name, tensor in module.state_dict().items()}
    slope, low = state["layers.0.linear.weight"], state["layers.0.linear.bias"]
    for split, (column, threshold) in enumerate(forest.splits):
        slope[2 * split : 2 * split + 2, column] = 1 / RAMP
        low[2 * split : 2 * split + 2] = -threshold / RAMP + np.array([0.5, -0.5])
    agree, offset = state["layers.1.linear.weight"], state["layers.1.linear.bias"]
    for leaf, path in enumerate(forest.paths):
        offset[leaf] = 1 - sum(side > 0 for _, side in path)
        for split, side in path:
            agree[leaf, 2 * split] += side
            agree[leaf, 2 * split + 1] -= side
    state["head.weight"][:, :leaves] = -forest.values.T / trees
    module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in state.items()}, assign=True)
    return module


def _train_head(
    module: OptimizationNet, forest: _Forest, inputs: NDArray[np.float32], regrets: Array, config: SelectionConfig
) -> None:
    """Minimize the pairwise loss over the rows' out-of-bag leaves, in place, by L-BFGS."""
    seen_without = forest.unseen.sum(axis=1)
    rows = np.flatnonzero((seen_without > 0) & (regrets.max(axis=1) > 0))
    if not len(rows) or not forest.splits:
        return
    with torch.no_grad():
        # The network's own hidden layers, less the shortcuts, which are 0: one weight in some hundreds is not 0.
        layers: Any = module.layers
        split, leaf = layers[0].linear, layers[1].linear
        ramps = torch.relu(split(torch.from_numpy(inputs[rows])))
        h = torch.relu(torch.sparse.mm(leaf.weight.to_sparse(), ramps.T).T + leaf.bias)
        # As many trees as the head averages over, so that a score has the same scale as in use.
        share = forest.unseen[rows][:, forest.tree] * (config.trees / seen_without[rows])[:, None]
        h[:, : len(forest.paths)] *= torch.from_numpy(share.astype(np.float32))
    cost = torch.from_numpy(regrets[rows].astype(np.float32))
    first, second = torch.triu_indices(cost.shape[1], cost.shape[1], 1)
    gap = cost[:, second] - cost[:, first]  # positive: the first is better
    start = module.head.weight.detach().clone()
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=config.steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = h @ weight.T
        margin = (scores[:, first] - scores[:, second]) * gap.sign() * config.sharpness
        wrong = (gap.abs() * functional.softplus(-margin)).sum(1).mean() / cost.shape[1]
        total: Tensor = wrong + config.anchor * (weight - start).pow(2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        module.head.weight.copy_(weight)
