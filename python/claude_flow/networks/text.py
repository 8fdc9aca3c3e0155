"""Text to fixed-width vectors by signed feature hashing (Weinberger et al. 2009): no vocabulary, any language.

The hash is CRC-32, so a vector is the same in every process, on every platform and in every host language.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["hash_text", "words"]

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
def _slots(word: str, width: int) -> tuple[tuple[int, float], ...]:
    """Slot and signed weight of a word and of its character trigrams (so that inflections stay close)."""
    grams = [(f"w:{word}", 1.0)]
    padded = f"<{word}>"
    count = len(padded) - 2
    if count > 1:
        grams += [(f"c:{padded[i : i + 3]}", 0.5 / count**0.5) for i in range(count)]
    slots = []
    for gram, weight in grams:
        code = zlib.crc32(gram.encode())
        slots.append((code % width, weight if code & 0x80000000 else -weight))
    return tuple(slots)


def hash_text(text: str, width: int) -> NDArray[np.float32]:
    """Hash the words of ``text`` and their character trigrams into ``width`` slots, scaled to length 1.

    Returns float32 ``[width]``; all zeros for a text without a word. Raises ``ValueError`` if ``width < 1``.

    >>> a, b, c = (hash_text(t, 256) for t in ("api design", "API-designs", "fix the flaky test"))
    >>> bool(a @ b > 0.5 > a @ c)
    True
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    vector = np.zeros(width, np.float32)
    for word in words(text):
        for slot, weight in _slots(word, width):
            vector[slot] += weight
    norm = float(np.sqrt(vector @ vector))
    return vector / np.float32(norm) if norm > 0 else vector
