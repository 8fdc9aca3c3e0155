"""Evolution strategies find what a loss asks for, keep the best by validation, and say where a loss is no number."""

from __future__ import annotations

import numpy as np
import pytest

from claude_flow.environments.scorer import Scorer, evolve
from claude_flow.errors import ClaudeFlowError

ROWS = np.random.default_rng(1).standard_normal((64, 3))
WANTED = np.array([1.0, -2.0, 0.5])


def far(scorer: Scorer) -> float:
    """How far the scores are from those of the wanted linear rule."""
    return float(np.square(scorer(ROWS) - ROWS @ WANTED).mean())


def test_a_search_comes_near_what_is_wanted_and_tells_how():
    start = Scorer.start([0.0, 0.0, 0.0], hidden=2)
    found = evolve(start, lambda scorer, generation: far(scorer), far, generations=150, rate=0.05)
    assert found.loss == far(found.scorer) < 0.05 * far(start)
    assert [generation for generation, _, _ in found.history] == list(range(5, 155, 5))
    assert min(judged for _, _, judged in found.history) == found.loss


def test_the_start_is_kept_where_nothing_is_better():
    start = Scorer.start(WANTED.tolist(), hidden=2)
    assert evolve(start, lambda scorer, generation: far(scorer), far, generations=5).scorer is start


def test_a_loss_that_is_no_number_is_told_with_its_generation_and_the_best_is_kept():
    start = Scorer.start([0.0, 0.0, 0.0], hidden=2)
    with pytest.raises(ClaudeFlowError, match="generation 7: an episode's loss is not a number") as raised:
        evolve(start, lambda scorer, generation: np.nan if generation == 7 else far(scorer), far)
    assert raised.value.evolved.loss < far(start)


def test_a_budget_ends_a_search_with_what_it_found():
    found = evolve(Scorer.start([0.0] * 3), lambda scorer, generation: far(scorer), far, time_budget=0.0)
    assert [generation for generation, _, _ in found.history] == [1]
