"""Privacy in a federation: differential privacy of every example, and sums that the server cannot take apart.

DP-SGD: Abadi et al. 2016 (arXiv 1607.00133); the accountant is Opacus's. Secure aggregation by masks that cancel:
Bonawitz et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from claude_flow.errors import require
from claude_flow.train.hooks import Hook

__all__ = ["Private", "masked_sum", "noise_for"]

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]


def noise_for(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The noise multiplier with which ``steps`` steps of DP-SGD are (epsilon, delta)-private."""
    utils = require("opacus.accountants.utils", "federated")
    found: float = utils.get_noise_multiplier(
        target_epsilon=epsilon, target_delta=delta, sample_rate=sample_rate, steps=max(1, steps), accountant="rdp"
    )
    return found


class _Loss(nn.Module):
    """The loss as a module's answer, for ``functional_call``: it may ask the network for more than its ``forward``."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.net, self._loss = net, loss

    def forward(self, batch: Batch) -> Tensor:
        return self._loss(self.net, batch)


class Private(Hook):
    """DP-SGD: every example's gradient is clipped to norm ``clip``, noise of ``noise * clip`` is added to their sum.

    Gradients of single examples come from ``torch.func`` (Opacus refuses recurrent layers); of a network that
    ``vmap`` refuses, such as one with an LSTM, they are taken one by one. ``sample_rate`` is the share of the examples
    that a batch holds.
    """

    def __init__(self, loss: Loss, *, noise: float, clip: float, sample_rate: float, delta: float, seed: int) -> None:
        self.about = {"name": "differential-privacy", "noise": noise, "clip": clip, "delta": delta}
        self._loss, self._noise, self._clip, self._delta = loss, noise, clip, delta
        self._rate = min(1.0, sample_rate)
        self._generator = torch.Generator().manual_seed(seed)
        self._sums: list[Tensor] = []
        self._one_by_one = False
        self._accountant: Any = require("opacus.accountants", "federated").RDPAccountant()

    @property
    def epsilon(self) -> float:
        """Of every example so far, at ``delta``."""
        return float(self._accountant.get_epsilon(self._delta)) if self._accountant.history else 0.0

    @property
    def steps(self) -> int:
        """Steps so far."""
        return sum(count for _, _, count in self._accountant.history)

    def resume(self, steps: int) -> None:
        """Account for ``steps`` that were taken before, with the same noise."""
        self._accountant.history = [(self._noise, self._rate, steps)] if steps else []

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: Batch) -> Tensor:
        """The batch's loss; clipped gradients of its examples are summed on the side."""
        count = len(next(iter(batch.values())))
        parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        sums = list(self._clipped(module, parameters, batch, count).values())
        self._sums = [
            (total + self._noise * self._clip * torch.randn(total.shape, generator=self._generator).to(total)) / count
            for total in sums
        ]
        return compute()

    def _clipped(self, module: nn.Module, parameters: dict[str, Tensor], batch: Batch, count: int) -> Batch:
        """The sum over a batch's examples of their gradients, each clipped."""
        computed = _Loss(module, self._loss)

        def loss(weights: Batch, example: Batch) -> Tensor:
            own = {f"net.{name}": w for name, w in weights.items()}
            value: Tensor = functional_call(computed, own, ({name: t[None] for name, t in example.items()},))
            return value

        if not self._one_by_one:
            try:
                with sdpa_kernel(SDPBackend.MATH):
                    return self._summed(vmap(grad(loss), (None, 0), randomness="different")(parameters, batch))
            except RuntimeError:  # the network has an operation that vmap refuses; what is wrong otherwise comes again
                self._one_by_one = True
        total = {name: torch.zeros_like(p) for name, p in parameters.items()}
        for i in range(count):
            gradient = grad(loss)(parameters, {name: t[i] for name, t in batch.items()})
            clipped = self._summed({name: g[None] for name, g in gradient.items()})
            total = {name: t + clipped[name] for name, t in total.items()}
        return total

    def _summed(self, gradients: Batch) -> Batch:
        """Of gradients [examples, ...] by name, each example's clipped, their sum."""
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
        scale = torch.clamp(self._clip / (norm + 1e-12), max=1.0)
        return {name: torch.tensordot(scale, g, 1) for name, g in gradients.items()}

    def after_backward(self, module: nn.Module, step: int) -> None:
        """The private gradients take the place of the plain ones."""
        for parameter, gradient in zip([p for p in module.parameters() if p.requires_grad], self._sums, strict=True):
            parameter.grad = gradient
        self._accountant.step(noise_multiplier=self._noise, sample_rate=self._rate)


def masked_sum(updates: NDArray[np.float64], sizes: Sequence[int], seed: int) -> NDArray[np.float64]:
    """The weighted mean of ``updates [participants, weights]`` from masked ones alone.

    Participants i < j share a seed; i adds its stream to its update, j takes it off, in integers modulo 2**64 of steps
    of 2**-32, so that the masks cancel exactly and a single masked update is uniformly random.
    """
    share = np.asarray(sizes, np.float64) / sum(sizes)
    fixed = np.round(updates * share[:, None] * 2.0**32).astype(np.int64).view(np.uint64)
    total = np.zeros(updates.shape[1], np.uint64)
    for i in range(len(updates)):
        masked = fixed[i].copy()
        for j in range(len(updates)):
            if i != j:
                stream = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, min(i, j), max(i, j)])))
                mask = stream.integers(0, 2**64, updates.shape[1], np.uint64)
                masked = masked + mask if i < j else masked - mask
        total = total + masked
    return np.asarray(total.view(np.int64).astype(np.float64) / 2.0**32)
