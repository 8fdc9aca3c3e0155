"""Learning rates: the schedule of a run, and a range test that finds where it should start."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from claude_flow.errors import ClaudeFlowError
from claude_flow.report.progress import Progress, nothing
from claude_flow.train.config import TrainingConfig

__all__ = ["Found", "find", "optimizer", "scheduled"]

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100
_SMOOTHING = 0.9


def optimizer(
    module: nn.Module, config: TrainingConfig, shares: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The configured optimizer; its rate is set before every step, times a group's ``share``.

    ``shares``: parameter name -> multiple of the learning rate, 0 = not trained; None = 1 for all.
    """
    # Decay shrinks matrices only: biases, gains and the norms' scales keep their size (as in GPT-2 and since).
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        share = 1.0 if shares is None else shares[name]
        if share:
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            members.setdefault((share, decay), []).append(parameter)
    groups = [{"params": p, "weight_decay": decay, "share": share} for (share, decay), p in members.items()]
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, lr=LOWEST, momentum=0.9)
    return getattr(torch.optim, config.optimizer)(groups, lr=LOWEST)  # type: ignore[no-any-return]


def scheduled(config: TrainingConfig, peak: float, step: int, total: int) -> float:
    """Learning rate at ``step`` (from 0) of ``total``: linear warm-up to ``peak``, then the schedule down to 0.

    A warm-up longer than half the run is cut to half of it, so that a short run still anneals.
    """
    warmup = min(config.warmup_steps, total // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    if config.schedule == "cosine-annealing":
        return peak * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return peak * (1 - min(done, 1.0) if config.schedule == "linear" else 1.0)


@dataclass(frozen=True)
class Found:
    """A range test: the ``rates`` tried, the smoothed ``losses`` there, and the rate that is ``suggested``."""

    rates: list[float]
    losses: list[float]
    suggested: float


def find(
    module: nn.Module,
    config: TrainingConfig,
    epochs: Callable[[int], Iterable[dict[str, Tensor]]],
    loss: Callable[[nn.Module, dict[str, Tensor]], Tensor],
    progress: Progress = nothing,
    seconds: float | None = None,
) -> Found:
    """Raise the rate from 1e-6 to 1 in 100 steps on a copy of ``module`` and see where the loss falls (Smith 2017).

    ``epochs(i)`` gives the batches of epoch i. A step's loss is taken relative to the untrained network's on the same
    batch: batches differ by more than a few steps teach (without this, 2 of 8 tries on real data suggested 1e-4 where
    2e-3 is right). It ends where what was gained is lost twice over. Suggested is a tenth of the rate at which the
    smoothed loss was lowest: the usual reading, since the loss lags behind the rate on the ramp. Where ``seconds`` do
    not suffice for 100 steps, the rate rises faster, so that fewer cover the same range. Raises
    :class:`ClaudeFlowError` when the loss never fell.
    """
    untrained, module = module.train(), copy.deepcopy(module).train()
    steps = optimizer(module, config)
    rates: list[float] = []
    gains: list[float] = []
    level = smoothed = 0.0
    begin, place = time.monotonic(), 0.0  # on the ramp, from 0 to 1
    for batch in itertools.chain.from_iterable(map(epochs, itertools.count())):
        rate = LOWEST * (HIGHEST / LOWEST) ** place
        value = loss(module, batch)
        if not torch.isfinite(value):
            break
        for group in steps.param_groups:
            group["lr"] = rate
        steps.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), config.gradient_clipping)
        steps.step()
        with torch.no_grad():
            before = loss(untrained, batch).item()
        level += before
        smoothed = _SMOOTHING * smoothed + (1 - _SMOOTHING) * (before - value.item())
        rates.append(rate)
        gains.append(smoothed / (1 - _SMOOTHING ** len(rates)))
        progress(min(1.0, place + 1 / STEPS), f"rate {rate:.2g}")
        if place >= 1:
            break
        place = min(1.0, max(place + 1 / (STEPS - 1), (time.monotonic() - begin) / (seconds or math.inf)))
        if gains[-1] < -2 * max(gains) and place > 0.5:
            break
    best = int(np.argmax(gains)) if gains else 0
    if not gains or gains[best] <= 0:
        raise ClaudeFlowError(
            "no learning rate from 1e-6 to 1 lowers the loss: check the data (claude-flow neural data validate), or "
            "set learning-rate.initial by hand"
        )
    losses = [level / len(rates) - gain for gain in gains]
    return Found(rates, losses, float(f"{rates[best] / 10:.2g}"))
