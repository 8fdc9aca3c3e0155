"""Finding items of one modality by another: the match of words, and recall."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from claude_flow.modalities.features import Bags, bag, words

__all__ = ["Index", "bm25", "parts", "places", "plain", "recall", "reciprocal"]

#: Okapi's constants. Recall@10 of code asked by text, by words alone, validation packages of three splits: 2 and .75
#: .794, .757, .826; 2 and .9 .804, .762, .827; 3 and .9 .813, .765, .831
_K1, _B = 3.0, 0.9


class Index:
    """Items to be searched by the words that they share with a question: Okapi BM25, without a model.

    A word's weight is its rarity among these items, so names that only one of them has decide, seen in training or not.

    Args:
        items: as read, with counts as weights.
        k1: how slowly a word's count saturates.
        b: how much a long item's words count less, 0 to 1.
    """

    def __init__(self, items: Bags, k1: float = _K1, b: float = _B) -> None:
        self._count = len(items)
        item = items.items
        sizes = np.bincount(item, items.weights, self._count)
        norm = k1 * (1 - b + b * sizes / max(1e-9, sizes.mean()))
        order = np.argsort(items.ids, kind="stable")
        self._words, self._starts, having = np.unique(items.ids[order], return_index=True, return_counts=True)
        self._ends = self._starts + having
        self._idf = np.log(1 + (self._count - having + 0.5) / (having + 0.5))
        self._items, counts = item[order], items.weights[order]
        weight = np.repeat(self._idf, having)
        self._weights = (weight * counts * (k1 + 1) / (counts + norm[self._items])).astype(np.float32)

    def scores(self, questions: Bags) -> NDArray[np.float32]:
        """Scores [questions, items], over the length of the question's weights: long questions weigh as short ones."""
        scores = np.zeros((len(questions), self._count), np.float32)
        if not len(self._words):
            return scores
        at = np.minimum(np.searchsorted(self._words, questions.ids), len(self._words) - 1)
        for row, (first, last) in enumerate(zip(questions.starts[:-1], questions.starts[1:], strict=True)):
            here = at[first:last]
            known = self._words[here] == questions.ids[first:last]
            here, counts = here[known], questions.weights[first:last][known]
            for word, count in zip(here, counts, strict=True):
                one = slice(self._starts[word], self._ends[word])
                scores[row, self._items[one]] += count * self._weights[one]
            scores[row] /= max(1e-9, float(np.linalg.norm(counts * self._idf[here])))
        return scores


def parts(match: NDArray[np.float32], pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Of each (question's modality, items' modality) its share of the similarity, and the weight of its match of words.

    Args:
        match: [3, modalities, modalities]. The weight of a direction alone; its share of a question that has several
            modalities; its share where the items have several.
        pairs: of one question with the items.

    Returns:
        [2, pairs]: shares, whose sum is 1; weights times shares.
    """
    weight, asked, searched = (np.array([part[pair] for pair in pairs], np.float64) for part in match)
    questions, items = (len(set(side)) for side in zip(*pairs, strict=True))
    share = asked if items == 1 else searched if questions == 1 else asked * searched
    share = share / share.sum() if share.any() else np.full(len(pairs), 1 / len(pairs))
    return np.array([share, weight * share])


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


def reciprocal(before: NDArray[np.int64]) -> float:
    """The mean over queries of 1 / the right item's rank.

    >>> reciprocal(np.array([0, 1]))
    0.75
    """
    return float(np.mean(1 / (1 + before)))


def bm25(
    queries: Sequence[str], items: Sequence[str], k1: float = 2.0, b: float = 0.9, *, split: bool = True
) -> NDArray[np.float32]:
    """The rival: BM25 scores [queries, items] over the stems of words, of identifiers' parts too if ``split``.

    Its constants found most code by text on the validation packages of three splits, of 1.2 to 8 and .75 to 1.

    >>> bm25(["parse dates"], ["def parse_date(text)", "def save(file)"]).argmax()
    np.int64(0)
    """
    return Index(plain(items, split=split), k1, b).scores(plain(queries, split=split))


def plain(texts: Sequence[str], *, split: bool = True) -> Bags:
    """Texts as bags of the stems of their words, of identifiers' parts too if ``split``."""
    return bag([words(text) if split else re.findall(r"\w+", text.lower()) for text in texts])
