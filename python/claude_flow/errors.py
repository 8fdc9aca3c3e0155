"""Every error that this package raises on purpose.

A message is one line that says what is wrong, where, and what to do about it. The command line prints it and
exits with ``exit_code``; library callers catch :class:`ClaudeFlowError` or one of its kinds.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ClaudeFlowError", "InputError", "Interrupted", "MissingExtra", "require"]


class ClaudeFlowError(Exception):
    """Something failed that the user's input did not cause: a full disk, a model that diverged (exit 1)."""

    exit_code = 1


class InputError(ClaudeFlowError, ValueError):
    """The user's input cannot be used: a malformed file, an unknown name, a value out of range (exit 2).

    It is a ``ValueError`` too, so library callers need not know this package's own names.
    """

    exit_code = 2


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end: Ctrl-C, what a shutdown or a batch system sends, or a closed terminal."""

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number, str(self))


class MissingExtra(ClaudeFlowError, ImportError):
    """An optional dependency is absent; the message is the line that installs it (exit 1).

    >>> str(MissingExtra("torch", "train"))
    "torch is not installed: run  pip install 'claude-flow[train]'"
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed: run  pip install 'claude-flow[{extra}]'")
        self._made_of = module, extra

    def __reduce__(self) -> tuple[Any, ...]:  # a pool that cannot read what a worker raised waits for ever
        return type(self), self._made_of


#: modules of another name than what is installed
_DISTRIBUTIONS = {
    "hdrh": "hdrhistogram",
    "mlflow": "mlflow-skinny",
    "presidio_analyzer": "presidio-analyzer",
    "prometheus_client": "prometheus-client",
    "sklearn": "scikit-learn",
    "tree_sitter": "tree-sitter",
    "tree_sitter_python": "tree-sitter-python",
}


def require(module: str, extra: str) -> Any:
    """The optional library's ``module``: the one door through which such libraries come in.

    A file that works with torch throughout calls ``require("torch", "train")`` and imports it then as ever.

    Raises:
        MissingExtra: it, or what it needs, is not installed; ``extra`` brings it.

    >>> require("json", "train").loads("1")
    1
    """
    try:
        return import_module(module)
    except ImportError as error:  # some libraries raise it themselves, without a name, for what they lack
        missing = ((isinstance(error, ModuleNotFoundError) and error.name) or module).partition(".")[0]
        raise MissingExtra(_DISTRIBUTIONS.get(missing, missing), extra) from error
