"""The one signature by which long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "counted", "nothing"]

#: (share of the work that is done, 0 to 1; what is being done). Cheap enough to be called for every step.
Progress = Callable[[float, str], None]


def nothing(done: float, what: str) -> None:
    """The progress that nobody watches."""


def counted(progress: Progress, total: int, unit: str = "") -> Callable[[int], None]:
    """``progress`` for work that counts: called with how many of ``total`` are done.

    >>> counted(lambda done, what: print(done, what), 4, "requests")(3)
    0.75 3 of 4 requests
    """
    return lambda done: progress(done / max(total, 1), f"{done} of {total} {unit}".rstrip())
