"""python -m bench.guide --data DIR: the guide's own sizes beside the models that ship, into docs/guide_models.md.

DIR holds the datasets of `make models`, preprocessed-coordination-data and preprocessed-prediction-data. The models of
the guide's sizes are the workspace's, as `make guide-models` trains them, and the same in 8-bit integers. What is
missing of either is named on the page with the command that makes it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.report import table
from claude_flow import modelfile, registry
from claude_flow.errors import InputError
from claude_flow.evaluate import benchmark, report
from claude_flow.files import atomic_write, temporary_folder
from claude_flow.modelfile.quantize import quantize

ROOT = Path(__file__).parents[1]
#: network -> the model of the guide's sizes, the chosen one, what is measured, the rule beside them
PAIRS = {
    "coordination": ("coordination-v3-large", "coordination-v3", ["accuracy", "regret", "memory-usage"]),
    "prediction": ("prediction-v2-large", "prediction-v2", ["pinball", "coverage-80", "memory-usage"]),
}
RULE = "rule-based"
PAGE = """\
# The guide's own sizes

The guide names a coordination network of four blocks (width 512, feed-forward 512, 1024, 1024, 512, 8 heads), and a
prediction network of three LSTMs of 256. `optimization-v2` ships with the guide's sizes. The other two would take more
room than all shipped models together: `make guide-models`, after `make models`, trains them into the workspace, and
both are then loaded by name, as in `infer prediction --model prediction-v2-large`. Until then that says in one line
which command makes the model.

Written by `python -m bench.guide`. All are judged on the held-out part of the data that `make models` prepares; int8
rows are dynamic: 8-bit weights, activations row by row; memory is MiB of weights and working memory. Tests are paired
by unit, Holm's correction over the rows."""


def _section(network: str, data: Path) -> list[str]:
    large, chosen, measures = PAIRS[network]
    lines = [f"## {large}", ""]
    try:
        path = registry.model_path(large)
    except InputError as error:
        return [*lines, f"Not measured: {error}.", ""]
    with temporary_folder() as scratch:
        small = scratch / f"{large}-int8.safetensors"
        modelfile.write(small, quantize(modelfile.read(path)))
        result = benchmark.benchmark(
            path, data, baselines=[str(small), chosen, RULE], measures=measures, seeds=(0,), label=f"{network} data"
        )
    card = registry.model_card(path) or {}
    told = f"Trained for {card['seconds'] / 60:.0f} minutes of wall-clock, {card['parameters']:,} parameters"
    lines += [f"{told}; the best of {card['epochs']} epochs is {card['best_epoch']}; {card['stopped']}.", ""]
    summary = report.summarize(result, reference=registry.model_name(path))
    for name, columns, rows in report.tables({**summary, "parts": []}):
        if name == "Notes":
            lines += [*(f"- {note}" for (note,) in rows), ""]
        else:
            lines += [f"{name}:", "", table(columns, rows), ""]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guide", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the preprocessed datasets")
    options = parser.parse_args()
    lines = [PAGE, ""]
    for network in PAIRS:
        lines += _section(network, options.data / f"preprocessed-{network}-data")
    atomic_write(ROOT / "docs" / "guide_models.md", "\n".join(lines).rstrip() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
