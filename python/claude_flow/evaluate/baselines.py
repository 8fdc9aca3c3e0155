"""Classical learners as baselines, with the settings of the published comparisons: nothing here is tuned.

They need scikit-learn and LightGBM, the extra ``[baselines]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import require

__all__ = ["REGRESSORS", "TABLES", "fit", "fit_chance", "fit_quantiles", "fit_table"]

Array = NDArray[Any]
Predict = Callable[[Array], Array]

REGRESSORS = ("k-nn", "gradient-boosting", "random-forest")
TABLES = ("k-nn", "gradient-boosting", "multi-output-forest", "per-algorithm-forest")
_NEIGHBOURS = 20
_TREES = 100
_MOST_ROWS = 60_000  # that a forest or the neighbours see: later ones tell little, and cost minutes
_BOOSTING: dict[str, Any] = {"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 31, "min_child_samples": 20}


def fit(name: str, x: Array, y: Array, seed: int) -> Predict:
    """A regressor of :data:`REGRESSORS` from ``x [n, features]`` to ``y [n]``; NaN features are missing ones."""
    if name == "gradient-boosting":
        model = _lightgbm().LGBMRegressor(**_BOOSTING, random_state=seed, n_jobs=1, verbose=-1)
        return _plain(model.fit(x, y))
    if len(x) > _MOST_ROWS:
        rows = np.random.default_rng(seed).permutation(len(x))[:_MOST_ROWS]
        x, y = x[rows], y[rows]
    if name == "k-nn":
        return _neighbours(x, y)
    return _plain(_filled(_forest(seed)).fit(x, y))


def fit_table(name: str, x: Array, y: Array, seed: int) -> Predict:
    """A learner of :data:`TABLES` from ``x [n, features]`` to every column of ``y [n, outputs]`` (NaN = unknown).

    A learner of all columns at once takes a column's mean for what is unknown.
    """
    known = np.isfinite(y)
    mean = np.divide(np.where(known, y, 0).sum(0), np.maximum(known.sum(0), 1))
    if name == "multi-output-forest":
        return _plain(_filled(_forest(seed)).fit(x, np.where(known, y, mean)))
    if name == "k-nn":
        return _neighbours(x, np.where(known, y, mean))
    columns: list[Predict] = []
    for column in range(y.shape[1]):
        rows = known[:, column]
        if rows.sum() < 2:
            columns.append(lambda q, value=float(mean[column]): np.full(len(q), value))  # type: ignore[misc]
        elif name == "gradient-boosting":
            columns.append(fit(name, x[rows], y[rows, column], seed))
        else:
            columns.append(_plain(_filled(_forest(seed)).fit(x[rows], y[rows, column])))
    return lambda q: np.stack([predict(q) for predict in columns], axis=1)


def fit_quantiles(name: str, x: Array, y: Array, levels: Sequence[float], seed: int) -> Predict:
    """Quantiles ``[n, levels]``, in order, by boosting the pinball loss or from the 20 nearest neighbours."""
    if name == "k-nn":
        nearest, scale = _nearest(x)

        def predict(q: Array) -> Array:
            found = y[nearest.kneighbors(scale(q), return_distance=False)]
            quantiles: Array = np.quantile(found, levels, axis=1).T
            return quantiles

        return predict
    regressor = _lightgbm().LGBMRegressor
    settings = {**_BOOSTING, "random_state": seed, "n_jobs": 1, "verbose": -1}
    models = [_plain(regressor(objective="quantile", alpha=level, **settings).fit(x, y)) for level in levels]
    return lambda q: np.maximum.accumulate(np.stack([m(q) for m in models], axis=1), axis=1)


def fit_chance(x: Array, y: Array, seed: int) -> Predict:
    """The chance of ``y`` being 1, by boosting; ``y`` has both classes."""
    model = _lightgbm().LGBMClassifier(**_BOOSTING, random_state=seed, n_jobs=1, verbose=-1).fit(x, y)
    return lambda q: np.asarray(model.predict_proba(q)[:, 1], np.float64)


def _forest(seed: int) -> Any:
    ensemble = require("sklearn.ensemble", "baselines")
    return ensemble.RandomForestRegressor(_TREES, max_features=1 / 3, min_samples_leaf=2, random_state=seed, n_jobs=1)


def _filled(model: Any) -> Any:
    pipeline = require("sklearn.pipeline", "baselines")
    return pipeline.make_pipeline(_imputer(), model)


def _imputer() -> Any:
    return require("sklearn.impute", "baselines").SimpleImputer(strategy="median", keep_empty_features=True)


def _nearest(x: Array) -> tuple[Any, Predict]:
    scale = _filled(require("sklearn.preprocessing", "baselines").StandardScaler()).fit(x)
    return require("sklearn.neighbors", "baselines").NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(x))).fit(
        scale.transform(x)
    ), scale.transform


def _neighbours(x: Array, y: Array) -> Predict:
    nearest, scale = _nearest(x)
    return lambda q: y[nearest.kneighbors(scale(q), return_distance=False)].mean(axis=1)


def _plain(model: Any) -> Predict:
    return lambda q: np.asarray(model.predict(q), np.float64)


def _lightgbm() -> Any:
    return require("lightgbm", "baselines")
