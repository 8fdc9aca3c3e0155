"""The state of a training run: what a checkpoint stores, and a resume restores exactly."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from claude_flow.errors import InputError
from claude_flow.files import atomic_write
from claude_flow.train.hooks import Hook

__all__ = ["Average", "Run", "load", "save"]


class Average:
    """Exponential moving average of a module's weights, which is judged and kept in their stead.

    a <- d a + (1 - d) w after every step t (from 1), with d = min(decay, t / (t + 9)): a plain mean at first, so that
    the random first weights are forgotten at once. ``module`` holds a.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step ``step``."""
        weight = 1 - min(self._decay, step / (step + 9))
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), weight)


class Run:
    """Weights, optimizer and bookkeeping of a run; they change at the end of an epoch, as far as a checkpoint sees.

    ``judged`` is the module that the validation split judges: the average, where weights are averaged.
    """

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, ema_decay: float, hooks: Sequence[Hook] = ()
    ) -> None:
        self.module, self.optimizer, self.hooks = module, optimizer, tuple(hooks)
        self.average = Average(module, ema_decay) if ema_decay else None
        self.epoch = self.step = self.stale = 0
        self.seconds = self.learning_rate = 0.0
        self.best_value: float | None = None
        self.best_epoch = 0
        self.best = copy.deepcopy(module.state_dict())
        self.history: list[dict[str, float]] = []

    _PLAIN = ("epoch", "step", "stale", "seconds", "learning_rate", "best_value", "best_epoch", "best", "history")

    @property
    def judged(self) -> nn.Module:
        """What is measured and kept: the averaged weights, or the weights themselves."""
        return self.module if self.average is None else self.average.module

    def state(self) -> dict[str, Any]:
        """A copy of everything, in the types that ``torch.save`` stores."""
        state = {name: copy.deepcopy(getattr(self, name)) for name in self._PLAIN}
        state["module"] = copy.deepcopy(self.module.state_dict())
        state["optimizer"] = copy.deepcopy(self.optimizer.state_dict())
        state["average"] = copy.deepcopy(self.average.module.state_dict()) if self.average else {}
        state["hooks"] = [copy.deepcopy(hook.state()) for hook in self.hooks]
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Become what :meth:`state` returned."""
        for name in self._PLAIN:
            setattr(self, name, state[name])
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.module.load_state_dict(state["average"])
        for hook, kept in zip(self.hooks, state["hooks"], strict=True):
            hook.restore(copy.deepcopy(kept))


def save(path: Path, state: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write a checkpoint; ``identity`` says which run it belongs to."""
    buffer = io.BytesIO()
    torch.save({"identity": identity, **state}, buffer)
    atomic_write(path, buffer.getvalue())


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Read the checkpoint of the run ``identity``; raises :class:`InputError` for a damaged one, or another run's."""
    if not path.exists():
        raise InputError(f"{path.parent}: nothing to resume, it has no checkpoint; leave out --resume to start")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"{path}: the checkpoint cannot be read ({error}); start again without --resume") from None
    changed = [key for key, value in identity.items() if state["identity"].get(key) != value]
    if changed:
        raise InputError(f"{path}: cannot resume, {changed[0]} differs from the interrupted run's; start a new run")
    return state
