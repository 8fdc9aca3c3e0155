"""Every error that this package raises on purpose.

A message is one line that says what is wrong, where, and what to do about it. The command line prints it and
exits with ``exit_code``; library callers catch :class:`ClaudeFlowError` or one of its kinds.
"""

from __future__ import annotations

__all__ = ["ClaudeFlowError", "InputError", "MissingExtra"]


class ClaudeFlowError(Exception):
    """Something failed that the user's input did not cause: a full disk, a model that diverged (exit 1)."""

    exit_code = 1


class InputError(ClaudeFlowError, ValueError):
    """The user's input cannot be used: a malformed file, an unknown name, a value out of range (exit 2).

    It is a ``ValueError`` too, so library callers need not know this package's own names.
    """

    exit_code = 2


class MissingExtra(ClaudeFlowError, ImportError):
    """An optional dependency is absent; the message is the line that installs it (exit 1).

    >>> str(MissingExtra("torch", "train"))
    "torch is not installed: run  pip install 'claude-flow[train]'"
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed: run  pip install 'claude-flow[{extra}]'")
