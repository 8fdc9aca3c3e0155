"""How this process takes part in a run: its device, the processes beside it, its signals."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from claude_flow.errors import InputError

__all__ = ["average_gradients", "device", "interrupts", "join", "summed"]


def device(name: str) -> torch.device:
    """The device ``name``: auto, cpu or cuda; :class:`InputError` for another, or one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device here; use --device auto or cpu")
    return torch.device(name)


def join(distributed: str) -> tuple[int, int]:
    """Rank and number of processes that train together: those that ``torchrun`` started, else this one alone."""
    if distributed not in ("auto", "off"):
        raise InputError(f"--distributed-training must be auto or off, not {distributed!r}")
    if distributed == "off" or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def average_gradients(module: nn.Module, world: int) -> None:
    """The mean of every trainable parameter's gradient over ``world`` processes, in place."""
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= world


def summed(world: int, *values: float) -> list[float]:
    """The sums of ``values`` over ``world`` processes, which wait for each other here: the same in all of them."""
    if world < 2:
        return [float(value) for value in values]
    total = torch.tensor(values, dtype=torch.float64, device=device("auto"))
    torch.distributed.all_reduce(total)
    sums: list[float] = total.tolist()
    return sums


_ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def interrupts(note: Callable[[int], None]) -> Iterator[None]:
    """A signal that ends the process calls ``note`` with its number and waits for the end of a step; a second one does
    not. One that is ignored, as after nohup, stays so.

    Raised in the middle of a backward pass it left torch's threads waiting for each other: 1 of 6 processes had not
    ended after 20 s.
    """

    def handle(number: int, frame: Any) -> None:
        note(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    main = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in _ENDS} if main else {}
    before = {number: handler for number, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
