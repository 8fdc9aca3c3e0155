"""Text, code and diagrams to bags of hashed words, and diagrams to pictures too.

Words are hashed, so no vocabulary is stored and a word never seen has a place. All three share one hash: a word of the
text and the same word in an identifier meet in one feature. A bag keeps the whole hash, by which words are matched
(:mod:`claude_flow.modalities.retrieval`); the encoders take it modulo :data:`BUCKETS`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from claude_flow.modalities import diagram

__all__ = ["BUCKETS", "WIDTHS", "Bags", "bag", "bags", "dense", "document_frequency", "stem", "words"]

#: features of hashed words, of every modality
BUCKETS = 16384
#: a model's inputs: hashed words, and for diagrams the picture after them
WIDTHS = {"text": BUCKETS, "code": BUCKETS, "diagrams": BUCKETS + diagram.SIDE**2}
_MOST = 400  # words of one item
#: so many times more does a function's own name count, in its code and its diagram. Recall@10 of code asked by text, by
#: words alone, validation packages of two splits: 0 times .772 and .733, once .796 and .752, 4 times .813 and .768
_NAMED = 4
_NAME = re.compile(r"\bdef\s+(\w+)")
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_STOP = frozenset(
    "the a an of to and or in is are be for this that it with as by on if from self def return not".split()  # noqa: SIM905
)


@lru_cache(1 << 18)
def stem(word: str) -> str:
    """A word without the common endings of English, so that `parsing`, `parsed` and `parse` meet."""
    for ending in ("ation", "ing", "ies", "ed", "es", "er", "or", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def words(text: str) -> list[str]:
    """Lower-case stems of the words of prose and of identifiers.

    >>> words("Parsing of readHTMLFile and parse_dates")
    ['pars', 'read', 'html', 'fil', 'pars', 'dat']
    """
    found = (part.lower() for part in _PARTS.findall(text))
    return [stem(word) for word in found if word not in _STOP and len(word) > 1][:_MOST]


@lru_cache(1 << 20)
def _hashed(word: str) -> int:
    return zlib.crc32(word.encode())


def _of_diagram(text: str) -> list[str]:
    """Words of the labels, and of every edge the pair of its ends: a graph's neighbourhoods."""
    graph = diagram.parse(text)
    edges = [f"{graph.nodes[a]}>{graph.nodes[b]}" for a, b in graph.edges[:48]]
    return [*(word for label in graph.nodes for word in words(label)), *edges, *_NAMED * words(graph.nodes[0])]


def _of_code(text: str) -> list[str]:
    name = _NAME.search(text)
    return [*_of_text(text), *(_NAMED * words(name[1]) if name else [])]


def _of_text(text: str) -> list[str]:
    found = words(text)
    return [*found, *(f"{a} {b}" for a, b in pairwise(found[:80]))]


_READ: dict[str, Callable[[str], list[str]]] = {"text": _of_text, "code": _of_code, "diagrams": _of_diagram}


@dataclass(frozen=True)
class Bags:
    """Items as sparse rows: of item i the features ``ids[starts[i]:starts[i + 1]]`` with these ``weights``.

    As read, ids are 32 bits of a hash and weights are counts; :meth:`scaled` makes them what the encoders take.

    ``pictures``: float32 [N, SIDE * SIDE] of diagrams, else [N, 0].
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    pictures: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: NDArray[np.int64]) -> Bags:
        """The items ``rows``."""
        sizes = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        index = np.repeat(self.starts[:-1][rows] - starts[:-1], sizes) + np.arange(starts[-1])
        return Bags(starts, self.ids[index], self.weights[index], self.pictures[rows])

    @property
    def items(self) -> NDArray[np.int64]:
        """The item of every entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def scaled(self, idf: NDArray[np.float32]) -> Bags:
        """1 + log(count) times ``idf`` [BUCKETS] of the bucket, each item's then of Euclidean length 1."""
        ids = self.ids % BUCKETS
        weights = (1 + np.log(self.weights)) * idf[ids]
        item = self.items
        length = np.sqrt(np.bincount(item, weights.astype(np.float64) ** 2, len(self)))
        return Bags(self.starts, ids, (weights / np.maximum(length, 1e-9)[item]).astype(np.float32), self.pictures)


def bags(modality: str, texts: Sequence[str]) -> Bags:
    """Items of a modality as counts of their hashed words; an empty text is an item of zeros."""
    found = bag([_READ[modality](text) if text else [] for text in texts])
    if modality == "diagrams":
        blank = np.zeros(diagram.SIDE**2, np.float32)
        drawn = [diagram.raster(diagram.parse(text)).ravel() if text else blank for text in texts]
        found = replace(found, pictures=np.array(drawn, np.float32).reshape(len(texts), -1))
    return found


def bag(items: Sequence[Sequence[str]]) -> Bags:
    """Lists of words as counts of their hashes, without pictures."""
    ids, weights, starts = [], [], [0]
    for item in items:
        unique, counts = np.unique(np.array([_hashed(word) for word in item], np.int64), return_counts=True)
        ids.append(unique)
        weights.append(counts)
        starts.append(starts[-1] + len(unique))
    pictures = np.zeros((len(items), 0), np.float32)
    return Bags(np.array(starts), np.concatenate(ids), np.concatenate(weights).astype(np.float32), pictures)


def document_frequency(items: Bags) -> NDArray[np.float32]:
    """Inverse document frequency per feature, log((1 + N) / (1 + n)) + 1: float32 [BUCKETS]."""
    count = np.bincount(items.ids % BUCKETS, minlength=BUCKETS)
    found: NDArray[np.float32] = (np.log((1 + len(items)) / (1 + count)) + 1).astype(np.float32)
    return found


def dense(modality: str, items: Bags) -> NDArray[np.float32]:
    """Items as the engine takes them: float32 [N, WIDTHS[modality]]."""
    rows = np.zeros((len(items), WIDTHS[modality]), np.float32)
    np.add.at(rows, (items.items, items.ids), items.weights)
    rows[:, BUCKETS:] = items.pictures
    return rows
