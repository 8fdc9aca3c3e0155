"""The guarantee: what a model keeps is shown by an interval over groups, or it is said what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from claude_flow import modelfile, registry, statistics
from claude_flow.compress.evidence import FEWEST, Trial, trial
from claude_flow.errors import InputError
from claude_flow.model import Model, assemble


@pytest.fixture
def optimization(workspace: Path) -> tuple[Model, Path]:
    path = registry.model_path("optimization-v1")
    return assemble(path, modelfile.read(path)), registry.dataset_path("preprocessed-optimization-data")


def _trial(optimization: tuple[Model, Path], threshold: float, measure: str = "accuracy") -> Trial:
    model, data = optimization
    return Trial(model, data, "data", measure, threshold)


def _noisy(model: Model, deviation: float) -> Model:
    """The model, its head's answers spoilt."""
    file = modelfile.read(model.path)
    tensors = dict(file.tensors)
    noise = np.random.default_rng(0).standard_normal(tensors["head.bias"].shape)
    tensors["head.bias"] = (tensors["head.bias"] + deviation * noise).astype(np.float32)
    return assemble(model.path, replace(file, tensors=tensors))


def test_a_model_keeps_all_of_itself(optimization: tuple[Model, Path]) -> None:
    found = _trial(optimization, 0.9).of(optimization[0])
    assert (found.verdict, found.guarded.ratio, found.agreement) == ("held", 1.0, 1.0)
    assert found.guarded.low == pytest.approx(
        0.05 ** (1 / found.groups)
    )  # nothing got worse: so much might all the same


def test_a_spoilt_model_is_below(optimization: tuple[Model, Path]) -> None:
    found = _trial(optimization, 0.99, "spearman").of(_noisy(optimization[0], 30.0))
    assert found.verdict == "below"
    assert "below the threshold 0.99" in found.why()
    assert found.agreement < 1


def test_what_cannot_be_shown_names_the_groups_that_it_takes(optimization: tuple[Model, Path]) -> None:
    test = _trial(optimization, 0.9999)
    found = test.of(optimization[0])
    assert (found.verdict, found.guarded.ratio) == ("too little data", 1.0)
    assert found.needed >= test.needed
    assert f"about {found.needed} groups are needed" in found.why()


def test_a_measure_that_counts_takes_enough_groups_for_its_threshold(optimization: tuple[Model, Path]) -> None:
    assert _trial(optimization, 0.99, "accuracy").needed == 299  # 0.05 ** (1 / 299) = 0.99
    assert _trial(optimization, 0.99, "spearman").needed == FEWEST


def test_where_less_is_better_the_ratio_is_turned(optimization: tuple[Model, Path]) -> None:
    found = _trial(optimization, 0.9).of(_noisy(optimization[0], 30.0))
    regret = next(c for c in found.comparisons if c.measure == "regret-at-1")
    assert regret.after > regret.before
    assert regret.ratio == pytest.approx(regret.before / regret.after)


def test_the_workspaces_own_data_is_taken_where_it_is_enough_or_named(workspace: Path) -> None:
    path = registry.model_path("coordination-v1")
    model, said = assemble(path, modelfile.read(path)), []
    for data, threshold in (("preprocessed-coordination-data", 0.99), (None, 0.5)):
        with trial(model, data, None, threshold, said.append) as (test, _):
            assert (test.data, said) == ("preprocessed-coordination-data", [])


def test_unknown_measures_and_foreign_data_are_refused(optimization: tuple[Model, Path]) -> None:
    with pytest.raises(InputError, match="not above 0"):
        _trial(optimization, 0.9, "gain-at-1")
    with pytest.raises(InputError, match="did you mean accuracy"):
        _trial(optimization, 0.9, "acuracy")
    with (
        pytest.raises(InputError, match="coordination"),
        trial(optimization[0], "preprocessed-coordination-data", None, 0.9),
    ):
        pass


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_covers_as_promised(seed: int) -> None:
    """At a true ratio of exactly the bound, the lower end passes it in about one of twenty data sets."""
    generator, passed = np.random.default_rng(seed), 0
    for _ in range(200):
        theirs = generator.gamma(4.0, 1.0, 120)
        ours = theirs * generator.normal(0.97, 0.15, 120)
        passed += statistics.ratio(ours, theirs, np.arange(120) // 2, draws=400).low > 0.97
    assert passed <= 22  # 200 times 0.05, and two deviations and a half more
