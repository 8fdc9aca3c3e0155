"""A learned policy that scores what may be chosen, row by row: one small network, trained by evolution strategies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import ClaudeFlowError, InputError

__all__ = ["Evolved", "Scorer", "evolve"]

Floats = NDArray[np.float64]


class Scorer:
    """``score = x w + tanh(x A + a) v``: a linear rule and a small network that corrects it.

    >>> scorer = Scorer.start([1.0, -2.0], hidden=4)
    >>> scorer(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, -2.0]
    """

    def __init__(self, inputs: int, hidden: int, weights: Any) -> None:
        self.inputs, self.hidden = inputs, hidden
        self.weights = np.asarray(weights, np.float64)
        size = inputs + (inputs + 2) * hidden
        if self.weights.shape != (size,):
            raise InputError(f"a scorer of {inputs} inputs and {hidden} hidden units has {size} weights")
        self._linear, self._first, self._bias, self._last = np.split(
            self.weights, np.cumsum([inputs, inputs * hidden, hidden])
        )
        self._first = self._first.reshape(inputs, hidden)

    @classmethod
    def start(cls, rule: Sequence[float], hidden: int = 8, seed: int = 0) -> Scorer:
        """A linear rule whose correction is still 0."""
        inputs = len(rule)
        first = np.random.default_rng(seed).standard_normal(inputs * hidden) / inputs**0.5
        return cls(inputs, hidden, np.concatenate([rule, first, np.zeros(2 * hidden)]))

    def __call__(self, x: Floats) -> Floats:
        """Scores of rows ``[n, inputs]``, float64 ``[n]``."""
        found: Floats = x @ self._linear + np.tanh(x @ self._first + self._bias) @ self._last
        return found

    def moved(self, weights: Floats) -> Scorer:
        """The same shape with other weights."""
        return Scorer(self.inputs, self.hidden, weights)


@dataclass
class Evolved:
    """What a search came to: the best scorer by validation, its loss, and (generation, training, validation loss)."""

    scorer: Scorer
    loss: float
    history: list[tuple[int, float, float]]


def evolve(
    start: Scorer,
    loss: Callable[[Scorer, int], float],
    validation: Callable[[Scorer], float],
    *,
    generations: int = 100,
    pairs: int = 8,
    sigma: float = 0.05,
    rate: float = 0.03,
    every: int = 5,
    seed: int = 0,
    time_budget: float | None = None,
    told: Callable[[int, float, float], None] = lambda *values: None,
) -> Evolved:
    """Evolution strategies (Salimans et al. 2017): mirrored noise, ranks for losses, Adam.

    ``loss(scorer, generation)`` is of training episodes, the same ones for everybody in a generation; what counts is
    ``validation(scorer)``, asked every ``every`` generations.

    Raises:
        ClaudeFlowError: a loss is not a number; the message says in which generation, ``error.evolved`` has the best
            scorer until then.
    """
    generator = np.random.default_rng(seed)
    at = start.weights.copy()
    mean, square = np.zeros_like(at), np.zeros_like(at)
    best = Evolved(start, validation(start), [])
    began = time.monotonic()
    for generation in range(1, generations + 1):
        noise = generator.standard_normal((pairs, len(at)))
        noise = np.concatenate([noise, -noise])
        losses = np.array([loss(start.moved(at + sigma * one), generation) for one in noise])
        if not np.isfinite(losses).all():
            error = ClaudeFlowError(
                f"generation {generation}: an episode's loss is not a number; the best weights so far are kept"
            )
            error.evolved = best  # type: ignore[attr-defined]
            raise error
        ranks = losses.argsort().argsort() / (len(losses) - 1) - 0.5
        gradient = ranks @ noise / (len(noise) * sigma)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        at -= rate * (mean / (1 - 0.9**generation)) / (np.sqrt(square / (1 - 0.99**generation)) + 1e-8)
        over = time_budget is not None and time.monotonic() - began > time_budget
        if generation % every == 0 or generation == generations or over:
            now = start.moved(at.copy())
            judged = validation(now)
            best.history.append((generation, float(losses.mean()), judged))
            told(generation, float(losses.mean()), judged)
            if judged < best.loss:
                best = Evolved(now, judged, best.history)
        if over:
            break
    return best
