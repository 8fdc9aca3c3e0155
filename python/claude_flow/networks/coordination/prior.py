"""What other projects did: which types of agents they use, and for tasks of which words, as counts by hashed names.

It is what an answer goes by where there is no log yet (docs/assignment.md). A name is kept as the CRC-32 of what is
counted: a prior says how often a given word met a given type, and lists neither words nor types.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import NDArray

from claude_flow.networks.text import words

__all__ = ["SIGNALS", "Prior"]

Array = NDArray[np.float64]
_Lifts = tuple[float, list[float]]  # of a type, and of each word of its name

#: what :meth:`Prior.signals` says of each type
SIGNALS = (
    "others: log share of the type in the projects that use it",
    "others: log number of projects that use it",
    "others, first word: log share of the tasks that begin so where the type is used",
    "others, first word: log share of the tasks that begin so, among these types",
    "others, first word: log number of tasks that begin so where the type is used",
    "others, words: how much likelier the type is by the task's words",
    "others, names: how much likelier the words of its name are by the task's words",
    "others, names: the most of these",
)
_PULL = 2.0  # pseudo-decisions as the type's share says
_HALF = 0.5
_UNIT = 10_000  # shares are counted in ten-thousandths
_KEPT = 65_536  # pairs of a word and a type


@dataclass(frozen=True)
class Prior:
    """``counts``: code of a name (:func:`_code`) -> how often it was counted."""

    counts: Mapping[int, int]
    _lifts: dict[tuple[str, str], _Lifts | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, projects: Iterable[Iterable[tuple[str, str]]]) -> Prior:
        """The prior of projects, each its pairs of a task's words and the type of agent that got it.

        >>> prior = Prior.of([[("Review the API", "reviewer"), ("Fix it", "coder")], [("Ask Ann", "oracle")]])
        >>> prior.signals(["Review it"], ["coder", "reviewer"])[0].argmax(axis=0)[2:4].tolist()
        [1, 1]
        """
        counts: Counter[tuple[str, ...]] = Counter()
        for project in projects:
            pairs = [(list(dict.fromkeys(words(text))), kind) for text, kind in project]
            begins = Counter(said[0] for said, _ in pairs if said)
            for kind, count in Counter(kind for _, kind in pairs).items():
                counts["projects", kind] += 1
                counts["share", kind] += round(_UNIT * count / len(pairs))
                counts.update({("where", word, kind): times for word, times in begins.items()})
            for said, kind in pairs:
                parts = set(words(kind))
                counts.update([("all",), ("kind", kind), *(("part", part) for part in parts)])
                counts.update(("first", word, kind) for word in said[:1])
                for word in said:
                    counts.update([("word", word), ("word", word, kind), *(("name", word, part) for part in parts)])
        return cls({_code(*name): count for name, count in counts.items()})

    def knows(self, kinds: Iterable[str]) -> bool:
        """Whether it can tell some of these types apart: it knows two of them."""
        return sum(self._count("kind", kind) > 0 for kind in set(kinds)) > 1

    def signals(self, texts: Sequence[str], kinds: Sequence[str]) -> Array:
        """``[texts, kinds, SIGNALS]``."""
        result = np.zeros((len(texts), len(kinds), len(SIGNALS)))
        projects = np.array([self._count("projects", kind) for kind in kinds])
        share = (np.array([self._count("share", kind) for kind in kinds]) / _UNIT + 0.1) / (projects + 1)
        result[:, :, 0], result[:, :, 1] = np.log(share), np.log1p(projects)
        relative = share / share.sum()
        for i, text in enumerate(texts):
            said = list(dict.fromkeys(words(text)))
            first = said[0] if said else ""
            own = np.array([self._count("first", first, kind) for kind in kinds])
            where = np.array([self._count("where", first, kind) for kind in kinds])
            result[i, :, 2] = np.log((own + _PULL * share) / (where + _PULL))
            result[i, :, 3] = np.log((own + _PULL * relative) / (own.sum() + _PULL))
            result[i, :, 4] = np.log1p(where)
            for j, kind in enumerate(kinds):
                met = [lifts for lifts in (self._lifted(word, kind) for word in said) if lifts is not None]
                if met:
                    result[i, j, 5] = sum(by_kind for by_kind, _ in met) / len(met) ** 0.5
                if by_part := [lift for _, parts in met for lift in parts]:
                    result[i, j, 6], result[i, j, 7] = sum(by_part) / len(by_part), max(by_part)
        return result

    def _count(self, *name: str) -> int:
        return self.counts.get(_code(*name), 0)

    def _lifted(self, word: str, kind: str) -> _Lifts | None:
        """How much more often a task's word meets a type than by chance, and each word of the type's name, as
        logarithms, smoothed; None for a word that is not known. Kept: it is most of an answer's time."""
        if (word, kind) not in self._lifts:
            if len(self._lifts) >= _KEPT:
                self._lifts.clear()
            times = self._count("word", word) / max(self._count("all"), 1)

            def lift(what: str, name: str, target: int) -> float:
                return log((self._count(what, word, name) + _HALF) / (times * target + _HALF))

            count = self._count("kind", kind)
            parts = [(part, self._count("part", part)) for part in words(kind)]
            by_part = [lift("name", part, target) for part, target in parts if target]
            self._lifts[word, kind] = (lift("word", kind, count) if count else 0.0, by_part) if times else None
        return self._lifts[word, kind]


def _code(*name: str) -> int:
    return zlib.crc32("\0".join(name).encode())
