"""Text to fixed-width vectors by signed feature hashing (Weinberger et al. 2009): no vocabulary, any language.

The hash is CRC-32, so a vector is the same in every process, on every platform and in every host language.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["hash_text", "hash_texts", "words"]

# camelCase and digits end a word, so that "apiDesign", "api-design" and "API design" meet.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")
_MAX_CHARACTERS = 4096


def words(text: str) -> list[str]:
    """Lower-case words of a text; case changes, digits and punctuation separate them.

    >>> words("apiDesign: review HTTP-server v2")
    ['api', 'design', 'review', 'http', 'server', 'v', '2']
    """
    return [word.lower() for word in _WORD.findall(text[:_MAX_CHARACTERS])]


@lru_cache(maxsize=65536)
def _slots(word: str, width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Slots and signed weights of a word and of its character trigrams (so that inflections stay close)."""
    grams = [(f"w:{word}", 1.0)]
    padded = f"<{word}>"
    count = len(padded) - 2
    if count > 1:
        grams += [(f"c:{padded[i : i + 3]}", 0.5 / count**0.5) for i in range(count)]
    codes = [zlib.crc32(gram.encode()) for gram, _ in grams]
    signed = [weight if code & 0x80000000 else -weight for code, (_, weight) in zip(codes, grams, strict=True)]
    return np.array(codes, np.int64) % width, np.array(signed, np.float32)


def hash_text(text: str, width: int) -> NDArray[np.float32]:
    """Hash the words of ``text`` and their character trigrams into ``width`` slots, scaled to length 1.

    Returns float32 ``[width]``; all zeros for a text without a word. Raises ``ValueError`` if ``width < 1``.

    >>> a, b, c = (hash_text(t, 256) for t in ("api design", "API-designs", "fix the flaky test"))
    >>> bool(a @ b > 0.5 > a @ c)
    True
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    vector: NDArray[np.float32] = hash_texts([text], width)[0]
    return vector


def hash_texts(texts: Sequence[str], width: int) -> NDArray[np.float32]:
    """:func:`hash_text` of each text, float32 ``[n, width]``; the same bits, each distinct text hashed once."""
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    table = np.zeros((len(places), width), np.float32)
    found, owners = [], []
    for place, text in enumerate(places):
        own = [_slots(word, width) for word in words(text)]
        found += own
        owners += [place * width] * len(own)
    if found:
        slots = np.concatenate([slot for slot, _ in found])
        slots += np.repeat(owners, [len(slot) for slot, _ in found])
        np.add.at(table.reshape(-1), slots, np.concatenate([weights for _, weights in found]))
        norms = np.sqrt(np.array([vector @ vector for vector in table], np.float32))
        table /= np.where(norms > 0, norms, np.float32(1))[:, None]
    return table if len(places) == len(texts) else table[rows]
