"""How models and baselines are judged on the test part of a preprocessed dataset: one judge per network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks
from claude_flow.data import manifest
from claude_flow.errors import InputError
from claude_flow.evaluate.result import Curve, Score
from claude_flow.model import Model
from claude_flow.values import did_you_mean

__all__ = ["COSTS", "Judge", "Marks", "Part", "Unavailable", "choose", "cost", "judge", "network_of"]

Array = NDArray[Any]
#: a part of a dataset to train and judge anew on: its name, changes to the manifest, and to the tensors
Part = tuple[str, dict[str, Any], dict[str, Array]]

#: measures that every network's models have
COSTS = {"latency": "median milliseconds of one decision", "memory-usage": "MiB of weights and working memory"}
_TIMED = 100  # decisions


class Unavailable(Exception):
    """A baseline that cannot be had on this data; the message is the reason."""


@dataclass
class Marks:
    """What one contender did.

    ``rows`` maps a measure to a value per test row (NaN = does not count); ``whole`` holds the measures that are no
    mean over rows. ``choices`` [rows] tells what was picked, where a row is a choice.
    """

    rows: dict[str, Array]
    whole: dict[str, float] = field(default_factory=dict)
    curves: list[tuple[str, list[float], list[float]]] = field(default_factory=list)
    choices: Array | None = None

    def scores(self, contender: str, units: Array | str, measures: Sequence[str], seed: int = 0) -> list[Score]:
        """The scores of the ``measures`` per unit (``units`` [rows]); or, where ``units`` is a name, of one unit that
        all rows belong to."""
        found = []
        for measure in measures:
            if measure in self.whole:
                unit = units if isinstance(units, str) else ""
                found.append(Score(contender, measure, self.whole[measure], unit, seed))
            elif measure in self.rows:
                values = self.rows[measure]
                known = np.isfinite(values)
                if not known.any():
                    continue
                if isinstance(units, str):
                    found.append(Score(contender, measure, float(values[known].mean()), units, seed))
                    continue
                names, place = np.unique(units[known], return_inverse=True)
                means = np.bincount(place, values[known]) / np.bincount(place)
                found += [Score(contender, measure, float(m), str(u), seed) for u, m in zip(names, means, strict=True)]
        return found

    def plots(self, contender: str) -> list[Curve]:
        """The curves, under the contender's name."""
        return [Curve(kind, contender, x, y) for kind, x, y in self.curves]


class Judge(Protocol):
    """A part of a preprocessed dataset, by default its test part, and everything that can be asked about it."""

    MEASURES: ClassVar[dict[str, str]]  # name: what it is, in words; the first is what a model is for
    HIGHER: ClassVar[frozenset[str]]  # the measures of which more is better
    BASELINES: ClassVar[dict[str, str]]
    SLOW: ClassVar[frozenset[str]]  # the baselines that are judged only when they are named
    units: Array  # [rows]: what a paired test resamples

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each part of the data."""

    def model(self, model: Model) -> Marks:
        """How a model does."""

    def baseline(self, name: str, seed: int) -> Marks:
        """How a baseline does, fitted on the training part.

        :raises Unavailable: it has no meaning on this data.
        """


def judge(
    network: str,
    data: Path,
    *,
    validation_split: float = 0.2,
    config: dict[str, Any] | None = None,
    part: str = "test",
) -> Judge:
    """The judge of a ``part`` of a preprocessed dataset: ``"test"``, or ``"validation"``, which choices may rest on.

    :raises InputError: the dataset is not the network's, or has no such part.
    """
    row, own = networks.get(network), networks.get(network_of(data))
    if own is not row:
        raise InputError(f"{data} is a dataset of {own.name}; the model is a {row.name} model")
    return cast(Judge, row.judge.Judge(data, validation_split, config or {}, part))


def network_of(data: Path) -> str:
    """The network that a preprocessed dataset is for.

    :raises InputError: it is no preprocessed dataset.
    """
    return networks.get(manifest.read(data, "tensors", {})["network"]).name


def choose(asked: Sequence[str] | None, known: Mapping[str, str], what: str) -> list[str]:
    """The names asked for (default: all), each of them known, none twice.

    :raises InputError: an unknown one; the message has near matches, or all.
    """
    if asked is None:
        return list(known)
    for name in asked:
        if name not in known:
            raise InputError(f"there is no {what} {name!r}{did_you_mean(name, known) or ': ' + ', '.join(known)}")
    return list(dict.fromkeys(asked))


def cost(model: Model, runs: Sequence[Callable[[], object]]) -> dict[str, float]:
    """:data:`COSTS` of a model; ``runs`` are decisions, one by one."""
    runs[0]()  # the first touches its memory
    seconds = []
    for run in [runs[i * len(runs) // _TIMED] for i in range(_TIMED)]:
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    memory = model.path.stat().st_size + model.arena_bytes
    return {"latency": 1e3 * float(np.median(seconds)), "memory-usage": memory / (1 << 20)}
