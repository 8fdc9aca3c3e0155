"""Finding items of one modality by another: recall, and the rival that knows words alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from claude_flow.modalities.features import words

__all__ = ["bm25", "places", "recall"]

_K1, _B = 1.2, 0.75


def places(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of scores [N, N] of queries by items, whose i-th belong together: how many items come before the right one.

    Ties count half, so that scores which tell nothing are chance.

    >>> places(np.eye(3, dtype=np.float32)).tolist()
    [0, 0, 0]
    """
    own = np.diagonal(scores)[:, None]
    before: NDArray[np.int64] = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) // 2
    return before


def recall(before: NDArray[np.int64], k: int) -> float:
    """The share of queries whose right item is among the first ``k``."""
    return float(np.mean(before < k))


def bm25(queries: Sequence[str], items: Sequence[str]) -> NDArray[np.float32]:
    """Okapi BM25 scores [queries, items], k1 = 1.2, b = 0.75, over the stems that our features are made of.

    >>> bm25(["parse dates"], ["def parse_date(text)", "def save(file)"]).argmax()
    np.int64(0)
    """
    documents = [Counter(words(item)) for item in items]
    sizes = np.array([sum(document.values()) for document in documents], np.float64)
    norm = _K1 * (1 - _B + _B * sizes / max(1e-9, sizes.mean()))
    postings: dict[str, tuple[list[int], list[int]]] = {}
    for place, document in enumerate(documents):
        for word, count in document.items():
            where, counts = postings.setdefault(word, ([], []))
            where.append(place)
            counts.append(count)
    scores = np.zeros((len(queries), len(items)), np.float32)
    for row, query in enumerate(queries):
        for word, times in Counter(words(query)).items():
            if word in postings:
                where, often = postings[word]
                idf = np.log(1 + (len(items) - len(where) + 0.5) / (len(where) + 0.5))
                frequency = np.array(often)
                scores[row, where] += times * idf * frequency * (_K1 + 1) / (frequency + norm[where])
    return scores
