"""This machine: its CPU and caches, how fast it can multiply and read at best, and what it lets us count."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import _core

__all__ = ["Ceilings", "Usage", "caches", "ceilings", "count_events", "cpu_name", "usage"]

# Of a round, a millisecond or more: the call through the pool takes up to 0.1 ms.
_STEPS = 500_000
_SETS = (16 << 10, 128 << 10, 512 << 10, 4 << 20, 64 << 20)  # working sets: in L1, in L2 (two), in L3, in memory


def cpu_name() -> str:
    """The CPU's own name, or the architecture's where the system does not tell."""
    path = "/proc/cpuinfo" if os.path.exists("/proc/cpuinfo") else os.devnull
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def caches() -> list[dict[str, Any]]:
    """The caches that hold data, nearest first: ``level``, ``bytes``, ``shared_by`` (CPUs); [] where unknown."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size, cpus = (
                (folder / name).read_text("utf-8").strip() for name in ("type", "level", "size", "shared_cpu_map")
            )
        except OSError:
            continue
        if kind != "Instruction":
            shared = bin(int(cpus.replace(",", ""), 16)).count("1")
            found.append({"level": int(level), "bytes": int(size.rstrip("K")) << 10, "shared_by": shared})
    return found


@dataclass(frozen=True)
class Ceilings:
    """The roofline of some threads on one instruction set: operations per second in fp32 and on 8-bit integers, and
    bytes per second for working sets of growing size (bytes per thread)."""

    isa: str
    threads: int
    operations: float
    int8_operations: float
    bandwidth: tuple[tuple[int, float], ...]

    def read_rate(self, working_set: float) -> float:
        """Bytes per second for data of this size, between the sizes that were measured on a logarithmic scale.

        >>> Ceilings("avx2", 1, 1e11, 2e11, ((16384, 3e11), (65536, 1e11))).read_rate(32768)
        200000000000.0
        """
        sizes, rates = zip(*self.bandwidth, strict=True)
        return float(np.interp(np.log(max(working_set, 1.0)), np.log(sizes), rates))

    def best(self, other: Ceilings) -> Ceilings:
        """The higher of two measurements of the same thing."""
        pairs = zip(self.bandwidth, other.bandwidth, strict=True)
        bandwidth = tuple((size, max(a, b)) for (size, a), (_, b) in pairs)
        operations = max(self.operations, other.operations), max(self.int8_operations, other.int8_operations)
        return Ceilings(self.isa, self.threads, *operations, bandwidth)


def ceilings(isa: str, threads: int = 1, seconds: float = 0.3) -> Ceilings:
    """Measure the roofline; ``seconds`` in all. The best of many short rounds, since others use the machine too."""
    with ThreadPoolExecutor(threads) as pool:

        def best(work: Callable[[int], float], share: float) -> float:
            """The highest rate of all threads together."""
            found, rounds, deadline = 0.0, 0, time.perf_counter() + share
            while rounds < 5 or time.perf_counter() < deadline:
                rounds += 1
                begin = time.perf_counter()
                done = sum(pool.map(work, range(threads)))
                found = max(found, done / (time.perf_counter() - begin))
            return found

        operations = best(lambda _: _core.ceiling_fma(isa, _STEPS), seconds / 5)
        int8_operations = best(lambda _: _core.ceiling_dot(isa, _STEPS), seconds / 5)
        bandwidth = []
        for size in _SETS:
            data = [np.ones(size // 4, np.float32) for _ in range(threads)]
            steps = max(1, (64 << 20) // size)
            rate = best(lambda i, data=data, n=steps: _core.ceiling_read(isa, data[i], n), seconds / 8)  # type: ignore[misc]
            bandwidth.append((size, rate))
    return Ceilings(isa, threads, operations, int8_operations, tuple(bandwidth))


@dataclass(frozen=True)
class Usage:
    """What the system says of this process: bytes in memory now and at most, faults of pages, how often another took
    its CPU (NaN where the system does not count that)."""

    resident: int
    peak: int
    page_faults: int
    preemptions: float


def usage() -> Usage:
    """The :class:`Usage` up to now.

    >>> 0 < usage().resident <= usage().peak
    True
    """
    if sys.platform == "win32":
        # PROCESS_MEMORY_COUNTERS: cb and PageFaultCount of 32 bits, then eight sizes: the working set's peak, now, ...
        counters = (ctypes.c_size_t * 9)(72)
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        process = ctypes.c_void_p(kernel.GetCurrentProcess())
        if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), 72):
            raise ctypes.WinError()
        return Usage(counters[2], counters[1], counters[0] >> 32, float("nan"))
    import resource

    of_us = resource.getrusage(resource.RUSAGE_SELF)
    peak = of_us.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    statm = Path("/proc/self/statm")
    now = int(statm.read_text("ascii").split()[1]) * resource.getpagesize() if statm.exists() else peak
    return Usage(now, max(now, peak), of_us.ru_minflt, of_us.ru_nivcsw)


# Hardware counters (Linux perf events) --------------------------------------------------------------------------------

_HARDWARE, _SOFTWARE, _CACHE = 0, 1, 3
_READ_MISS = 1 << 16  # of a cache: operation 0 (read) << 8, result 1 (miss) << 16
_EVENTS = {
    "instructions": (_HARDWARE, 1),
    "cycles": (_HARDWARE, 0),
    "cache references": (_HARDWARE, 2),
    "cache misses": (_HARDWARE, 3),
    "L1 data read misses": (_CACHE, 0 | _READ_MISS),
    "last-level read misses": (_CACHE, 2 | _READ_MISS),
    "page faults": (_SOFTWARE, 2),
    "context switches": (_SOFTWARE, 3),
}
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_DISABLED_USER_ONLY = 0b1100001  # disabled; no kernel, no hypervisor


def count_events(work: Callable[[], object]) -> dict[str, int | str]:
    """Run ``work`` once per event and count it: ``{event: count}``, or the reason why the machine does not count it.

    >>> sorted(count_events(lambda: None))[:2]
    ['L1 data read misses', 'cache misses']
    """
    return {name: _count(kind, config, work) for name, (kind, config) in _EVENTS.items()}


def _count(kind: int, config: int, work: Callable[[], object]) -> int | str:
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return f"unavailable: no perf events on {platform.system()} {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    # struct perf_event_attr, version 0: type, size, config, period, sample_type, read_format, flags, then zeros
    attributes = struct.pack("<IIQQQQQ", kind, 64, config, 0, 0, 0, _DISABLED_USER_ONLY).ljust(64, b"\0")
    handle = libc.syscall(number, attributes, 0, -1, -1, 0)
    if handle < 0:
        return f"unavailable: perf_event_open: {os.strerror(ctypes.get_errno())}"
    try:
        libc.ioctl(handle, 0x2400, 0)  # enable
        work()
        libc.ioctl(handle, 0x2401, 0)  # disable
        return int(struct.unpack("<Q", os.read(handle, 8))[0])
    finally:
        os.close(handle)
