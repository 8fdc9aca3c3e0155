"""What this machine's engine answers, as JSON: by every shipped model, in its own precision and in 8 bits, on the best
instruction set and on scalar. For another machine's to be compared with; needs nothing but the package.

    python tests/packaging/answers.py
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np

import claude_flow
from claude_flow import engine, load, modelfile
from claude_flow.measure.graph import Graph

ITEMS, TOKENS = 3, 17


def answers() -> dict[str, dict[str, str]]:
    """Per model and ``precision isa``, the result's bytes in hexadecimal digits."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((Path(claude_flow.__file__).parent / "models").glob("*.safetensors")):
        shape = Graph(modelfile.read(path)).input_shape
        size = (ITEMS, TOKENS, shape[-1]) if len(shape) == 2 else (ITEMS, shape[-1])
        # Whole numbers over a power of two: no library's random numbers, and no rounding, come in.
        x = ((np.arange(np.prod(size)) * 7919 % 1009 - 504) / 256).astype(np.float32).reshape(size)
        found[path.stem] = {}
        for precision in ("auto", "int8"):
            for isa in dict.fromkeys(["best", "scalar"]):
                model = load(path, precision=precision, isa=engine.isa() if isa == "best" else isa)
                found[path.stem][f"{precision} {isa}"] = model.run(x).astype("<f4").tobytes().hex()
    return found


if __name__ == "__main__":
    json.dump({"machine": platform.machine(), "isa": engine.available(), "answers": answers()}, sys.stdout)
