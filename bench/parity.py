"""How closely the engine follows torch, and how fast things start: writes docs/parity.md.

python -m bench.parity
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import claude_flow as cf
from bench.points import ROOT, STARTS
from claude_flow import export, nets

SHAPES = [(1, 1), (1, 8), (3, 9), (1, 128), (32, 128)]
WIDTHS = {"coordination": 512, "optimization": 256, "prediction": 128}


def differences(folder: Path) -> list[str]:
    """Table rows: the largest difference from torch, relative to the largest output."""
    isas = cf.engine.available()
    rows = [f"| network | B × T | {' | '.join(isas)} |", f"|---|---|{'---|' * len(isas)}"]
    for network, width in WIDTHS.items():
        torch.manual_seed(0)
        module = nets.create(network).eval()
        path = folder / f"{network}.safetensors"
        export.save(module, path)
        models = [cf.load(path, isa=isa) for isa in isas]
        for batch, tokens in SHAPES if network != "optimization" else [(1, 1), (3, 1), (32, 1)]:
            shape = (batch, width) if network == "optimization" else (batch, tokens, width)
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            with torch.inference_mode():
                want = module(torch.from_numpy(x)).numpy()
            cells = [f"{np.abs(m.run(x) - want).max() / np.abs(want).max():.1e}" for m in models]
            rows.append(f"| {network} | {batch} × {tokens} | {' | '.join(cells)} |")
    return rows


def starts() -> list[str]:
    """Table rows: wall-clock milliseconds of whole processes, median and best of nine."""
    rows = ["| command | median ms | best ms |", "|---|--:|--:|"]
    for name, command in STARTS.items():
        times = []
        for _ in range(9):
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=tempfile.gettempdir())
            times.append((time.perf_counter() - begin) * 1e3)
        rows.append(f"| `{name}` | {statistics.median(times):.0f} | {min(times):.0f} |")
    return rows


def main() -> None:
    """Measure and write docs/parity.md."""
    with tempfile.TemporaryDirectory() as folder:
        parity = differences(Path(folder))
    text = f"""# Parity with torch, and start-up

Written by `python -m bench.parity`; do not edit. Python {platform.python_version()}, torch {torch.__version__},
NumPy {np.__version__}, {platform.machine()}.

The largest difference between the engine's output and torch's, divided by the largest output, at the guide's sizes with
random weights. The tests demand at most 1e-5 over more shapes, with padding (`tests/engine/test_parity.py`).

{chr(10).join(parity)}

Whole processes, nine runs each, Python's own start included:

{chr(10).join(starts())}
"""
    (ROOT / "docs/parity.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
