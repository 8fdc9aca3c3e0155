"""The seams of the training loop: what transfer, distillation, pruning and the other recipes hang their part on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["Hook"]


class Hook:
    """One variation of a run; override what it needs, the rest does nothing.

    The loop calls hooks in the order given. What a hook keeps from one step to the next belongs into :meth:`state`: it
    is saved and restored with the checkpoint, so that a resumed run equals one that was never interrupted. ``about``
    is JSON-ready: it stands in the card, and a run whose hooks say something else cannot be resumed.

    >>> class Halved(Hook):
    ...     about = {"name": "halved"}
    ...     def loss(self, compute, module, batch):
    ...         return compute() / 2
    >>> Halved().state()
    {}
    """

    about: dict[str, Any] = {}  # noqa: RUF012  # a constant of the class, or set by its constructor

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a training batch: ``compute()`` is what it would be without this hook; wrap or replace it."""
        return compute()

    def after_backward(self, module: nn.Module, step: int) -> None:
        """Gradients are complete (and averaged over processes), not yet clipped; change them in place."""

    def after_step(self, module: nn.Module, step: int) -> None:
        """Weights were updated; ``step`` counts from 1."""

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        """The epoch was judged; what is added to ``metrics`` is logged. ``epoch`` counts from 1."""

    def state(self) -> dict[str, Any]:
        """What must survive an interruption: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what :meth:`state` returned."""
