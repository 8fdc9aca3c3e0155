"""Which layers lose most by 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from claude_flow.modelfile import ModelFile, Op
from claude_flow.modelfile.quantize import quantize
from claude_flow.modelfile.ranges import Batch, Rows, decibels, outputs
from claude_flow.report.progress import Progress, nothing

__all__ = ["products", "ranked"]


def products(file: ModelFile) -> list[str]:
    """The weights of a float model's linear and LSTM layers, in the program's order."""
    program = file.parse()
    return list(dict.fromkeys(program.tensors[o["weight"]] for code, o in program.ops if code in (Op.LINEAR, Op.LSTM)))


def ranked(
    file: ModelFile,
    ranges: Mapping[int, Rows],
    batches: Sequence[Batch],
    progress: Progress = nothing,
) -> list[tuple[str, float]]:
    """Weights and the signal to noise in dB of the model in which their layer alone has 8 bits, the worst first."""
    names, reference = products(file), outputs(file, batches)
    found = []
    for index, name in enumerate(names):
        progress(index / len(names), names[index])
        alone = quantize(file, ranges, keep=[other for other in names if other != name])
        found.append((name, decibels([_joined(outputs(alone, batches))], [_joined(reference)])))
    return sorted(found, key=lambda entry: entry[1])


def _joined(parts: Sequence[Rows]) -> Rows:
    return np.concatenate(parts)
