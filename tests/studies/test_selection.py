"""Algorithm selection: the protocol's arithmetic on small scenarios written here, and the selector's training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS
from claude_flow.studies.selection import protocol as selection
from claude_flow.studies.selection.encoder import FeatureEncoder

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from claude_flow.studies.selection.learner import SelectionConfig, fit  # noqa: E402

CUTOFF = 100.0
#: small enough for a test; the scenarios are as small
SMALL = SelectionConfig(trees=12, leaves=16)


def arff(relation: str, columns: dict[str, str], rows: list[list[Any]]) -> str:
    header = "".join(f"@ATTRIBUTE {name} {kind}\n" for name, kind in columns.items())
    return f"@RELATION {relation}\n{header}@DATA\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


def write(
    folder: Path,
    times: np.ndarray,
    features: np.ndarray,
    *,
    folds: int = 2,
    costs: np.ndarray | None = None,
    cutoff: bool = True,
) -> Path:
    """A scenario of ``times`` [n, A] (inf: a timeout) and ``features`` [n, F] (NaN: missing), folds in turn."""
    folder.mkdir(parents=True)
    name = [f"i{row:03}" for row in range(len(times))]
    runs = [
        [name[i], 1, f"a{a}", min(t, CUTOFF), "ok" if t < CUTOFF else "timeout"]
        for i, row in enumerate(times)
        for a, t in enumerate(row)
    ]
    kinds = {"instance_id": "STRING", "repetition": "NUMERIC"}
    (folder / "algorithm_runs.arff").write_text(
        arff("runs", kinds | {"algorithm": "STRING", "runtime": "NUMERIC", "runstatus": "{ok, timeout}"}, runs)
    )
    cells = [[name[i], 1, *("?" if np.isnan(v) else v for v in row)] for i, row in enumerate(features)]
    columns = {f"f{j}": "NUMERIC" for j in range(features.shape[1])}
    (folder / "feature_values.arff").write_text(arff("features", kinds | columns, cells))
    split = [[name[i], 1, 1 + i % folds] for i in range(len(times))]
    (folder / "cv.arff").write_text(arff("cv", kinds | {"fold": "NUMERIC"}, split))
    if costs is not None:
        rows = [[name[i], 1, cost] for i, cost in enumerate(costs)]
        (folder / "feature_costs.arff").write_text(arff("costs", kinds | {"all": "NUMERIC"}, rows))
    cutoff_line = f"algorithm_cutoff_time: {CUTOFF:g}\n" if cutoff else ""
    (folder / "description.txt").write_text(f"scenario_id: {folder.name}\n{cutoff_line}")
    return folder


def separable(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two algorithms, of which the sign of the first feature says which one solves the instance."""
    features = np.random.default_rng(seed).normal(size=(n, 3))
    first = features[:, 0] > 0
    return np.stack([np.where(first, 10.0, np.inf), np.where(first, np.inf, 20.0)], axis=1), features


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the protocol with the given contenders only."""

    def use(**named: selection.Contender) -> None:
        monkeypatch.setattr(selection, "CONTENDERS", {name: (made, False) for name, made in named.items()})

    return use


def scores(path: Path, **options: Any) -> dict[str, list[float]]:
    options = {"seeds": (0,), "quick": False, "progress": lambda share, what: None} | options
    found: dict[str, list[float]] = {}
    for score in selection.run(path, **options).scores:
        found.setdefault(score.contender, []).append(score.value)
    return found


def always(algorithm: int) -> selection.Contender:
    return lambda features, costs, test, seed: np.full(len(test), algorithm)


# The protocol's arithmetic -------------------------------------------------------------------------------------------


def test_oracle_is_zero_best_single_one_and_the_mean_is_over_folds(tmp_path: Path, contenders: Any) -> None:
    # Fold 1 (even rows) and fold 2 (odd rows); algorithm 0 is the best single one in both training sets.
    times = np.array([[10, 50], [10, 20], [90, 30], [40, 20], [10, 50], [10, 20], [np.inf, np.inf], [40, 20.0]])
    path = write(tmp_path / "S", times, np.arange(8.0)[:, None])
    oracle = {float(row): int(times[int(row)].argmin()) for row in range(8)}
    contenders(
        oracle=lambda features, costs, test, seed: np.array([oracle[float(v)] for v in test[:, 0]]),
        first=always(0),
        second=always(1),
    )
    found = scores(path)
    assert found["oracle"] == pytest.approx([0.0, 0.0])
    # Fold 1: trained on the odd rows (means 25 and 20), the best single algorithm is 1; rows 0, 2, 4 are its test.
    least, second, first = (10 + 30 + 10) / 3, (50 + 30 + 50) / 3, (10 + 90 + 10) / 3
    assert found["second"][0] == pytest.approx(1.0)
    assert found["first"][0] == pytest.approx((first - least) / (second - least))
    # Fold 2: trained on rows 0, 2, 4 (means 36.7 and 43.3), the best single algorithm is 0.
    least, first, second = 15.0, 25.0, 20.0
    assert found["first"][1] == pytest.approx(1.0)
    assert found["second"][1] == pytest.approx((second - least) / (first - least))
    assert found["best single algorithm"] == [1.0, 1.0]


def test_a_timeout_costs_ten_cutoffs_and_features_that_reach_the_cutoff_are_one() -> None:
    scenario = selection.Scenario(
        name="S",
        algorithms=("a", "b"),
        cutoff=CUTOFF,
        features=np.zeros((4, 1)),
        par10=np.array([[10.0, 1000.0], [10.0, 1000.0], [10.0, 1000.0], [10.0, 1000.0]]),
        feature_cost=np.array([0.0, 5.0, 90.0, 1000.0]),
        fold=np.array([1, 1, 2, 2]),
    )
    rows = np.arange(4)
    assert scenario.paid(rows, np.zeros(4, np.int64)).tolist() == [10.0, 15.0, 1000.0, 1000.0]
    assert scenario.paid(rows, np.ones(4, np.int64)).tolist() == [1000.0] * 4


def test_the_oracle_and_the_best_single_algorithm_pay_no_features(tmp_path: Path, contenders: Any) -> None:
    times, features = separable()
    contenders(first=always(0))
    free = scores(write(tmp_path / "free", times, features))["first"]
    costly = scores(write(tmp_path / "costly", times, features, costs=np.full(len(times), 50.0)))["first"]
    # Half of the instances are solved and pay 50; the reference's 10 and 1000 are as before.
    assert all(c > f for c, f in zip(costly, free, strict=True))
    assert scores(tmp_path / "costly")["best single algorithm"] == [1.0, 1.0]


def test_read_trusts_the_status_and_averages_repetitions(tmp_path: Path) -> None:
    path = write(tmp_path / "S", np.array([[5.0, np.inf], [7.0, 9.0]]), np.ones((2, 1)))
    runs = path / "algorithm_runs.arff"
    runs.write_text(runs.read_text() + "i000,2,a0,15.0,ok\ni001,2,a1,1.0,memout\n")
    scenario = selection.read(path)
    assert scenario.par10.tolist() == [[10.0, 1000.0], [7.0, (9.0 + 1000.0) / 2]]
    assert scenario.algorithms == ("a0", "a1")
    assert selection.detect(path)
    assert not selection.detect(tmp_path)


# Edge cases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", ["none", "constant", "missing", "half missing"])
def test_every_contender_answers_whatever_the_features(tmp_path: Path, gap: str) -> None:
    times, features = separable(24)
    if gap == "constant":
        features[:] = 3.0
    elif gap == "missing":
        features[:] = np.nan
    elif gap == "half missing":
        features[::2, 0] = np.nan
        features[:, 1] = np.nan
    found = scores(write(tmp_path / "S", times, features))
    assert all(np.isfinite(values).all() for values in found.values())
    if gap == "none":
        assert np.mean(found[OURS]) < 0.5
    if gap in ("constant", "missing"):
        assert found[OURS] == pytest.approx([1.0, 1.0])  # nothing to see: the best single algorithm


def test_a_fold_without_a_solved_instance_is_left_out_and_said(tmp_path: Path, contenders: Any) -> None:
    times, features = separable(30)
    times[1::3] = np.inf
    contenders(first=always(0))
    path = write(tmp_path / "S", times, features, folds=3)
    result = selection.run(path, seeds=(0,), quick=False, progress=lambda share, what: None)
    assert {score.unit for score in result.scores} == {"fold 1", "fold 3"}
    assert result.rows["folds"] == 2
    assert any(note.endswith(": 2") for note in result.notes)


def test_what_cannot_be_judged_is_a_clear_error(tmp_path: Path) -> None:
    times, features = separable(12)
    for name, kwargs, message in (
        ("one-algorithm", {"times": times[:, :1]}, "one algorithm only"),
        ("one-fold", {"folds": 1}, "one fold only"),
        ("unsolved", {"times": np.full((12, 2), np.inf)}, "nothing can be normalized"),
        ("no-cutoff", {"cutoff": False}, "algorithm_cutoff_time"),
    ):
        path = write(tmp_path / name, **({"times": times, "features": features} | kwargs))
        with pytest.raises(InputError, match=message):
            scores(path)


# The selector --------------------------------------------------------------------------------------------------------


def test_the_encoder_survives_its_json_and_gaps_never_seen() -> None:
    rng = np.random.default_rng(1)
    known = rng.normal(size=(50, 4)) * [1, 1e30, 0, 1]
    known[::3, 3] = np.nan
    encoder = FeatureEncoder.from_json(FeatureEncoder.fit(known).to_json())
    asked = np.array([[np.nan, np.inf, -1.0, 2.0], [1e300, -1e300, 5.0, np.nan]])
    encoded = encoder.apply(asked)
    assert encoded.shape == (2, encoder.width)
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= 2
    with pytest.raises(InputError, match="4 features"):
        encoder.apply(asked[:, :3])
    with pytest.raises(InputError, match="damaged"):
        FeatureEncoder.from_json({"ranks": 3})


def test_the_same_seed_gives_the_same_selector_and_rows_may_be_few() -> None:
    times, features = separable(5)
    costs = np.where(np.isinf(times), 1000.0, times)
    first, second = (fit(features, costs, seed=3, config=SMALL).scores(features) for _ in range(2))
    assert np.array_equal(first, second)
    assert fit(features[:1], costs[:1], config=SMALL).choose(features).shape == (5,)
    assert fit(features, costs * 0, config=SMALL).choose(features).shape == (5,)
    with pytest.raises(InputError, match="finite"):
        fit(features, times, config=SMALL)
    with pytest.raises(InputError, match="same rows"):
        fit(features, costs[:3], config=SMALL)


def test_the_network_starts_as_the_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One leaf of each tree is 1 and all others are 0, exactly; untrained scores are minus the trees' mean regrets."""
    from claude_flow.studies.selection import learner as training

    kept: list[Any] = []

    def untrained(forest: Any, regrets: np.ndarray, config: SelectionConfig) -> torch.Tensor:
        kept.append(forest)
        return torch.from_numpy((-forest.values / config.trees).astype(np.float32))

    monkeypatch.setattr(training, "_head", untrained)
    rng = np.random.default_rng(2)
    features = np.column_stack([rng.normal(size=120), rng.integers(0, 4, size=120), rng.exponential(size=120)])
    features[::7, 2] = np.nan
    costs = np.stack([features[:, 0] * features[:, 1], 3.0 - features[:, 1], np.ones(120)], axis=1)
    selector = fit(features, costs, config=SMALL)
    forest = kept[0]
    asked = np.concatenate([features, rng.normal(size=(300, 3)), np.full((1, 3), np.nan)])
    with torch.no_grad():
        hidden = torch.nn.Sequential(*selector.module.layers)(torch.from_numpy(selector.encoder.apply(asked)))
    leaves = hidden[:, : len(forest.paths)].numpy()
    assert np.isin(leaves, [0.0, 1.0]).all()
    assert (leaves.sum(axis=1) == SMALL.trees).all()
    assert np.array_equal(leaves[:120].nonzero()[1].reshape(120, -1), np.sort(forest.leaf, axis=1))
    assert selector.scores(features) == pytest.approx(-forest.values[forest.leaf].mean(axis=1), abs=1e-5)


def test_the_engine_chooses_the_same_algorithms(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(150, 6))
    features[rng.random(features.shape) < 0.1] = np.nan
    costs = rng.gamma(1.0, 10.0, size=(150, 5)) + 50 * (np.nan_to_num(features[:, :5]) > 0.5)
    selector = fit(features, costs, config=SMALL)
    path = tmp_path / "selector.safetensors"
    selector.save(path)
    asked = rng.normal(size=(400, 6))
    model = cf.load(path, precision="fp32")
    encoder = FeatureEncoder.from_json(model.features["encoder"])
    scored = model.run(encoder.apply(asked))
    assert scored == pytest.approx(selector.scores(asked), abs=1e-4)
    assert np.array_equal(scored.argmax(axis=1), selector.choose(asked))
