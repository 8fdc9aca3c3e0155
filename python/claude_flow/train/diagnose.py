"""Why a loss is not finite: the first thing on the way from the batch to the loss that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["gradient_cause", "loss_cause"]


def loss_cause(module: nn.Module, batch: dict[str, Tensor], run: Callable[[], Tensor]) -> str:
    """What made the loss ``run()`` of ``module`` on ``batch`` NaN or infinite, and what to do, as one clause.

    In this order: weights that are not finite already; an input of the network that is not; the first layer whose
    output is not; a target that is infinite (NaN marks an unknown target, which is fine); else the loss itself.
    """
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"the weights {name} overflowed in an earlier step: lower learning-rate.initial"
    if inputs := _at_the_door(module, batch, run):
        return f"{inputs}: check the data (claude-flow neural data validate)"
    if layer := _first_layer(module, run):
        return f"the output of layer {layer} is the first that overflows: lower learning-rate.initial or the inputs"
    for name, tensor in batch.items():
        if tensor.is_floating_point() and torch.isinf(tensor).any():
            count = int(torch.isinf(tensor).sum())
            return f"{count} of the targets in {name} are infinite: check the data (claude-flow neural data validate)"
    return "inputs, weights and outputs are finite, the loss of these targets is not: check the targets"


def gradient_cause(module: nn.Module) -> str:
    """Which gradient is not finite although the loss was, and what to do."""
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"the gradient of {name} is not finite: lower learning-rate.initial"
    return "the norm of all gradients overflows: lower learning-rate.initial"


def _at_the_door(module: nn.Module, batch: dict[str, Tensor], run: Callable[[], Tensor]) -> str:
    """Which of the module's own arguments is not finite."""
    bad: list[Tensor] = []

    def look(_: nn.Module, args: tuple[Any, ...]) -> None:
        bad.extend(a for a in args if isinstance(a, Tensor) and not torch.isfinite(a).all())

    hook = module.register_forward_pre_hook(look)
    try:
        with torch.no_grad():
            run()
    finally:
        hook.remove()
    if not bad:
        return ""
    name = next((name for name, tensor in batch.items() if tensor is bad[0]), "derived from the batch")
    finite = torch.isfinite(bad[0])
    rows = (~finite).flatten(1).any(1).nonzero().flatten().tolist() if finite.ndim > 1 else []
    where = f", first in row {rows[0]} of the batch" if rows else ""
    return f"{int((~finite).sum())} values of the input {name} are not finite{where}"


def _first_layer(module: nn.Module, run: Callable[[], Tensor]) -> str:
    """The first layer, in the order of execution, that turns finite inputs into an output that is not."""
    found: list[str] = []

    def hook_of(name: str) -> Callable[..., None]:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            outputs = output if isinstance(output, tuple) else (output,)
            if any(isinstance(o, Tensor) and not torch.isfinite(o).all() for o in outputs):
                found.append(name)

        return look

    leaves = [(name, part) for name, part in module.named_modules() if not list(part.children())]
    hooks = [part.register_forward_hook(hook_of(name)) for name, part in leaves]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""
