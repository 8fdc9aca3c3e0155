"""Time several ways of computing the same thing, in turns, so that whatever else the machine does hits all of them."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

BLOCK = 0.01  # seconds of calls in a row: long enough to reach the steady state of caches and of clocks
# After a call ONNX Runtime's threads spin for 30 to 50 ms, OpenMP's for 10: on few cores they would eat the time of
# whoever is next. So before every turn, whoever has it, all threads of this process must have been idle for:
IDLE = 0.01  # seconds, more than the tick by which the kernel counts processor time
PATIENCE = 20  # times IDLE, for threads that never stop
ROUNDS = 8  # at least: other work on the machine comes in phases of seconds


class Disagreement(Exception):
    """A contender computes something else, so its time is worth nothing."""


def race(
    contenders: dict[str, Callable[[], Any]],
    seconds: float,
    *,
    threads: int = 1,
    seldom: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """Times of each contender in seconds: ``{name: {"min", "median", "calls"}}``.

    Rounds of blocks until ``seconds`` are over, at least ``ROUNDS``, each round in a random order, so that nobody
    always follows the same one. Those in ``seldom`` run in every fourth round only.
    """
    estimate = {}
    for name, call in contenders.items():
        first = _timed(call)
        estimate[name] = first if first > 0.2 else min(_timed(call) for _ in range(2))
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    order = random.Random(0)
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < ROUNDS or time.perf_counter() < deadline:
        order.shuffle(names)
        for name in names:
            if name in seldom and rounds % 4:
                continue
            call = contenders[name]
            if threads > 1:
                _settle()
            if estimate[name] < BLOCK:
                call()  # brings the weights back into the caches
            end = time.perf_counter() + BLOCK
            samples[name].append(_timed(call))
            while time.perf_counter() < end:
                samples[name].append(_timed(call))
        rounds += 1
    return {
        name: {"min": min(times), "median": statistics.median(times), "calls": len(times)}
        for name, times in samples.items()
    }


def _settle() -> None:
    for _ in range(PATIENCE):
        begin = time.process_time()
        time.sleep(IDLE)
        if time.process_time() - begin < IDLE / 10:
            return


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def decibels(reference: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise: 10 log10(|reference|² / |found - reference|²), at most 200."""
    noise = float(np.square(found.astype(np.float64) - reference).sum())
    signal = float(np.square(reference.astype(np.float64)).sum())
    return min(200.0, 10 * math.log10(signal / noise)) if noise > 0 and signal > 0 else 200.0 * (noise == 0)


def agree(reference: np.ndarray, found: np.ndarray, at_least: float) -> float:
    """The signal to noise of ``found``; :class:`Disagreement` below ``at_least`` decibels."""
    if found.shape != reference.shape:
        raise Disagreement(f"shape {found.shape}, not {reference.shape}")
    snr = decibels(reference, found)
    if not snr >= at_least:
        raise Disagreement(f"{snr:.1f} dB from the reference, less than {at_least:g}")
    return snr
