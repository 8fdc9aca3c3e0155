"""What threads share, made anew in a forked child.

A child has one thread. A lock that another thread of the parent held stays held there for ever, and what that thread
was at stays half done.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["follow"]


class _Shared(Protocol):
    def forked(self) -> None: ...


_shared: WeakSet[_Shared] = WeakSet()


def follow(shared: _Shared) -> None:
    """Call ``shared.forked()`` first thing in every child that is forked from now on, as long as ``shared`` lives."""
    _shared.add(shared)


def _forked() -> None:
    for shared in list(_shared):
        shared.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
