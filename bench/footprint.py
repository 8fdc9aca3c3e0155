"""What surrounds the arithmetic: loading, crossing from Python, the size of the module."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.models import model_file
from claude_flow import _core

# One process per sample: the first load of a process, the file in the page cache, the package imported.
_LOAD = """
import json, sys, time
import numpy as np
import claude_flow as cf
cf.load, cf.engine.available()
x = np.zeros((1, 8, 512), np.float32)
begin = time.perf_counter()
model = cf.load(sys.argv[1])
loaded = time.perf_counter()
model.run(x)
print(json.dumps({"load": loaded - begin, "first_answer": time.perf_counter() - begin}))
"""


def load_times(samples: int) -> dict[str, Any]:
    """Seconds from the coordination model's file to its first answer, in new processes."""
    file = str(model_file("coordination"))
    found = []
    for _ in range(samples):
        done = subprocess.run([sys.executable, "-c", _LOAD, file], capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    return {
        name: {"min": min(times), "median": statistics.median(times), "calls": len(times)}
        for name in ("load", "first_answer")
        for times in [[sample[name] for sample in found]]
    }


def call_overhead(seconds: float) -> dict[str, Any]:
    """Seconds of ``run`` on a model of one weight: everything in it but arithmetic."""
    program = np.array([1, 2, 1, 0, 1, 1, 0, 1, 0, 1, 1, 7, 0, 1, 0, 0, -1, -1, 0], np.int32)
    run = _core.Model(program, [np.ones((1, 1), np.float32)]).run
    x = np.ones((1, 1), np.float32)
    blocks = []
    deadline = time.perf_counter() + seconds
    while not blocks or time.perf_counter() < deadline:
        begin = time.perf_counter()
        for _ in range(200):
            run(x)
        blocks.append((time.perf_counter() - begin) / 200)
    return {"min": min(blocks), "median": statistics.median(blocks), "calls": 200 * len(blocks)}


def module_bytes() -> dict[str, int]:
    """Size of the extension module, as it is and stripped."""
    path = Path(_core.__file__)
    sizes = {"module": path.stat().st_size}
    if shutil.which("strip"):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copy(path, folder))
            subprocess.run(["strip", copy], check=True)
            sizes["stripped"] = copy.stat().st_size
    return sizes


def measure(seconds: float, note: Callable[[str], None], quick: bool) -> dict[str, Any]:
    """All of it."""
    note("footprint")
    return {
        "load": load_times(3 if quick else 10),
        "call": call_overhead(seconds / 3),
        **module_bytes(),
    }
