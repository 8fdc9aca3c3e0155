"""One commit's side of bench/compare.py: reads a request a line, answers a line. ``claude_flow`` is the package of
PYTHONPATH, used by public names alone. It is run as a file, and nothing of its own folder is imported."""

from __future__ import annotations

import sys

del sys.path[0]

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Timed = Callable[[], float]  # runs once; returns seconds of processor time


def prepare(point: dict[str, Any], folder: Path) -> Timed:
    """The point's call."""
    if "command" in point:
        return lambda: _process(point["command"])
    import claude_flow as cf

    generator = np.random.default_rng(0)
    if "op" in point:
        x = generator.standard_normal((point["bytes"] // 4 // 512, 512), np.float32)
        operands = [np.ones(512, np.float32), np.zeros(512, np.float32)] if point["op"] == "layer_norm" else []
        op, out = getattr(cf.ops, point["op"]), np.empty_like(x)
        return _timed(lambda: op(x, *operands, out=out))
    if "load" in point:
        file = _file(folder, point["load"])
        return _timed(lambda: cf.load(file))
    x = generator.standard_normal(point["shape"], np.float32)
    model = cf.load(_file(folder, point["net"]), precision=point["precision"], threads=1)
    return _timed(lambda: model.run(x))


def _file(folder: Path, net: str) -> Path:
    """The network with random weights, exported by this commit."""
    path = folder / f"{net}.safetensors"
    if not path.exists():
        import torch

        import claude_flow as cf

        torch.set_num_threads(1)
        torch.manual_seed(0)
        cf.export.save(cf.nets.create(net).eval(), path)
    return path


def _timed(call: Callable[[], object]) -> Timed:
    def timed() -> float:
        begin = time.process_time()
        call()
        return time.process_time() - begin

    return timed


def _process(command: list[str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return usage.ru_utime + usage.ru_stime


def turn(call: Timed, seconds: float) -> list[float]:
    """Calls for so long, at least one; the first brings the weights back into the caches and does not count."""
    first = call()
    times = [] if first < seconds else [first]
    while sum(times) < seconds:
        times.append(call())
    return times


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    call: Timed | None = None
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            request, answer = json.loads(line), None
            try:
                if "prepare" in request:
                    call = None  # what the last point held goes first
                    call = prepare(request["prepare"], Path(folder))
                    call()
                    answer = {}
                elif call is not None:
                    answer = turn(call, request["run"])
            except Exception as error:  # a commit may lack what another has
                answer = {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
