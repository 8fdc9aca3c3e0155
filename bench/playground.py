"""How long the playground takes for a change, in Chromium, and its pictures: what docs/insight.md says of it.

python -m bench.playground

A slider of the page is moved; the clock runs from its event until every model's card shows the new answer, and until
the cards also show why, and what would turn it; the model's own time is what its thread needs for the answer alone,
from the request as JSON on. The CPU time is that of all threads of the page, drawing too. The pictures go to
docs/images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.insight import write
from claude_flow.run.playground import Playground

ROOT = Path(__file__).parents[1]
AGENT = ROOT / "tests" / "wasm" / "playground_agent.mjs"
MODELS = {
    "one model of each": ("action-v2", "coordination-v3", "optimization-v2", "prediction-v2"),
    "two side by side": ("coordination-v3", "coordination-v2"),
}
FRAME = 16.0  # ms
PICTURES = ("action", "coordination", "optimization", "prediction", "dark", "demo")


def measured(names: tuple[str, ...], changes: int, folder: str) -> dict[str, tuple[list[list[float]], float]]:
    """Network -> of every change, milliseconds until the answer is shown, until all is, and of the model alone; and
    milliseconds of CPU for a change."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    node = shutil.which("node")
    if chromium is None or node is None:
        raise SystemExit("bench.playground needs Chromium and Node (npm install --prefix emscripten)")
    served = Playground(names)
    try:
        command = [node, str(AGENT), chromium, served.address, str(changes), folder]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        served.close()
    if ended.returncode:
        raise SystemExit(ended.stderr)
    found = json.loads(ended.stdout)
    return {network: (times, found["cpu"][network]) for network, times in found["times"].items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.playground", description=__doc__)
    parser.add_argument("--changes", type=int, default=200)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        os.environ["CLAUDE_FLOW_HOME"] = home
        for label, names in MODELS.items():
            for network, (times, cpu) in measured(names, options.changes, folder if "one" in label else "").items():
                row = [network, label, str(len(times))]
                for one in zip(*times, strict=True):
                    slow = statistics.quantiles(one, n=20)[-1]
                    row.append(f"{statistics.median(one):.1f} ms, {slow:.1f} ms")
                row.append(f"{sum(whole <= FRAME for _, whole, _ in times) / len(times):.0%}")
                rows.append([*row, f"{cpu:.1f} ms", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"])
                print(*rows[-1], file=sys.stderr, flush=True)
        for name in PICTURES:
            shutil.copy(Path(folder) / f"playground-{name}.png", ROOT / "docs" / "images" / f"playground-{name}.png")
    columns = ["tab", "models", "changes", "answer shown, median and 95 %", "all shown, median and 95 %"]
    columns.append("the model's own time, median and 95 %")
    write("playground", [*columns, "all within 16 ms", "CPU of the page", "load of the machine"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
