"""Curves in text: braille for a chart of a few lines, blocks for one line."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["chart", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell: 4 rows of 2


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """The values as at most ``width`` blocks; where there are more values, each block is the mean of several.

    >>> sparkline([0, 1, 2, 3]), sparkline([5, 5]), sparkline([])
    ('▁▃▆█', '▁▁', '')
    """
    means = _resampled(values, min(width, len(values)))
    low, high = (min(means), max(means)) if means else (0.0, 0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in means)


def chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """The values as a line of braille dots, ``height`` lines of ``width`` characters; blank without values.

    >>> chart([1, 2], 1, 1), chart([], 2, 1)
    (['⡸'], ['  '])
    """
    columns, rows = 2 * width, 4 * height
    cells = [[0] * width for _ in range(height)]
    if values:
        low, high = min(values), max(values)
        scale = (rows - 1) / (high - low) if high > low else 0.0
        places = [rows - 1 - round((v - low) * scale) for v in _stretched(values, columns)]
        for x, (before, y) in enumerate(zip([places[0], *places], places, strict=False)):
            step = 1 if y > before else -1
            for dot in [y] if abs(y - before) < 2 else range(before + step, y + step, step):
                cells[dot // 4][x // 2] |= _DOTS[dot % 4][x % 2]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in cells]


def _resampled(values: Sequence[float], count: int) -> list[float]:
    """Means of ``count`` nearly equal stretches of the values."""
    cuts = [len(values) * i // count for i in range(count + 1)] if count else []
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]


def _stretched(values: Sequence[float], count: int) -> list[float]:
    """The values at ``count`` places: means of several, or points on the line between two."""
    if len(values) >= count:
        return _resampled(values, count)
    places = [i * (len(values) - 1) / (count - 1) for i in range(count)]
    cuts = [min(int(place), len(values) - 2) if len(values) > 1 else 0 for place in places]
    return [
        values[cut] + (place - cut) * (values[min(cut + 1, len(values) - 1)] - values[cut])
        for place, cut in zip(places, cuts, strict=True)
    ]
