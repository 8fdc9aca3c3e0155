"""Against forgetting: hooks that hold on to what earlier data taught.

Elastic weight consolidation: Kirkpatrick et al. 2017 (arXiv 1612.00796). Gradient episodic memory: Lopez-Paz and
Ranzato 2017 (arXiv 1706.08840). Distillation from the old model: Li and Hoiem 2016 (arXiv 1606.09282).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from claude_flow.errors import InputError, require

__all__ = ["Distillation", "ElasticWeights", "EpisodicMemory", "Replay", "importance"]

from claude_flow.train.hooks import Hook

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]


def importance(module: nn.Module, loss: Loss, batches: Sequence[Batch], kind: str = "fisher-information") -> Batch:
    """How much each weight mattered for ``batches``: ``fisher-information`` is the mean squared gradient of the loss,
    ``gradient-magnitude`` its mean absolute value, ``uniform`` 1. float32, by parameter name.

    The mean over batches of the squared gradient of their mean loss: the empirical Fisher matrix's diagonal, up to the
    batch size, which the strength absorbs.
    """
    if kind not in ("fisher-information", "gradient-magnitude", "uniform"):
        raise InputError(f"importance {kind!r}: it is fisher-information, gradient-magnitude or uniform")
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if kind == "uniform":
        return {name: torch.ones_like(p) for name, p in parameters.items()}
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    module.eval()
    for batch in batches:
        gradients = torch.autograd.grad(loss(module, batch), list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.square() if kind == "fisher-information" else gradient.abs()
    module.train()
    # Scaled to a mean of 1 over all weights, so that one strength suits networks of any size and loss.
    size = sum(float(t.sum()) for t in total.values()) / max(1, sum(t.numel() for t in total.values()))
    return {name: t / max(size, 1e-30) for name, t in total.items()}


class ElasticWeights(Hook):
    """Adds ``strength / 2 * mean(importance * (w - before)**2)`` to the loss: weights that mattered stay near."""

    def __init__(self, before: Batch, weights: Batch, strength: float) -> None:
        self.about = {"name": "elastic-weight-consolidation", "strength": strength}
        self._before, self._importance, self._strength = before, weights, strength
        self._count = sum(t.numel() for t in weights.values())

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: Batch) -> Tensor:
        """The batch's loss plus the penalty."""
        value = compute()
        penalty = torch.zeros((), device=value.device)
        for name, parameter in module.named_parameters():
            if name in self._importance:
                gap = parameter - self._before[name].to(parameter.device)
                penalty = penalty + (self._importance[name].to(parameter.device) * gap.square()).sum()
        return value + 0.5 * self._strength * penalty / self._count


class Distillation(Hook):
    """Adds ``strength`` times the distance of the new model's answers from the old one's, on the new batch itself.

    ``distance(new, old, batch)`` is the network's own. No example of the old data is needed.
    """

    def __init__(
        self, old: nn.Module, distance: Callable[[nn.Module, nn.Module, Batch], Tensor], strength: float
    ) -> None:
        self.about = {"name": "distillation", "strength": strength}
        self._old, self._distance, self._strength = old.eval().requires_grad_(False), distance, strength

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: Batch) -> Tensor:
        """The batch's loss plus the distance."""
        self._old.to(next(module.parameters()).device)
        return compute() + self._strength * self._distance(module, self._old, batch)


class EpisodicMemory(Hook):
    """Turns a step that would raise the loss on a memory into the nearest one that does not.

    ``memories`` are batches of earlier periods, one list each. With g the step's gradient and G the memories' [k, n],
    where some G g < 0: g + G' v with v = argmin_{v >= margin} |G' v + g|, the dual of the paper's quadratic program,
    solved as non-negative least squares. The paper's margin of 0.5 makes such a step lower the memories' losses too.
    """

    def __init__(self, memories: Sequence[Sequence[Batch]], loss: Loss, margin: float = 0.5) -> None:
        self.about = {"name": "gradient-episodic-memory", "periods": len(memories), "margin": margin}
        self._memories, self._loss, self._margin = memories, loss, margin
        self._turn, self.projected = 0, 0

    def after_backward(self, module: nn.Module, step: int) -> None:
        """Project the gradient in place."""
        nnls = require("scipy.optimize", "train").nnls

        parameters = [p for p in module.parameters() if p.grad is not None]
        if not parameters:
            return
        gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        rows = []
        for memory in self._memories:
            batch = {name: t.to(gradient.device) for name, t in memory[self._turn % len(memory)].items()}
            grads = torch.autograd.grad(self._loss(module, batch), parameters, allow_unused=True)
            whole = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters, strict=True)]
            rows.append(torch.cat([part.flatten() for part in whole]))
        self._turn += 1
        constraints = torch.stack(rows)
        if bool((constraints @ gradient >= 0).all()):
            return
        self.projected += 1
        gram = (constraints @ constraints.T).double().cpu().numpy()
        # min |G'v + g|^2 needs G only through its Gram matrix: with L L' = G G', |L'v + L^-1 G g|^2 differs by a
        # constant.
        factor = np.linalg.cholesky(gram + 1e-8 * np.trace(gram) / len(gram) * np.eye(len(gram)))
        goal = np.linalg.solve(factor, (constraints @ gradient).double().cpu().numpy())
        least = np.full(len(gram), self._margin)
        weights = least + nnls(factor.T, -goal - factor.T @ least)[0]
        gradient = gradient + constraints.T @ torch.from_numpy(weights).to(constraints)
        parts = torch.split(gradient, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def state(self) -> dict[str, Any]:
        """Whose turn it is among a memory's batches."""
        return {"turn": self._turn, "projected": self.projected}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self._turn, self.projected = state["turn"], state["projected"]


class Replay(Hook):
    """Mixes memories into the loss: ``(1 - share) * loss + share * loss on a memory's next batch``."""

    def __init__(self, memories: Sequence[Sequence[Batch]], loss: Loss, share: float = 0.5) -> None:
        self.about = {"name": "experience-replay", "periods": len(memories), "share": share}
        self._batches = [batch for memory in memories for batch in memory]
        self._loss, self._share, self._turn = loss, share, 0

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: Batch) -> Tensor:
        """The mixed loss."""
        value = compute()
        memory = self._batches[self._turn % len(self._batches)]
        self._turn += 1
        old = self._loss(module, {name: t.to(value.device) for name, t in memory.items()})
        return (1 - self._share) * value + self._share * old

    def state(self) -> dict[str, Any]:
        """Whose turn it is."""
        return {"turn": self._turn}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self._turn = state["turn"]
