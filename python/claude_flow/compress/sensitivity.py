"""Which layers lose most by few bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from claude_flow.modelfile import ModelFile
from claude_flow.modelfile.quantize import products, quantize
from claude_flow.modelfile.ranges import Batch, Rows, decibels, outputs
from claude_flow.report.progress import Progress, nothing

__all__ = ["ranked"]


def ranked(
    file: ModelFile,
    ranges: Mapping[int, Rows],
    batches: Sequence[Batch],
    progress: Progress = nothing,
    bits: int = 8,
) -> list[tuple[str, float]]:
    """Weights and the signal to noise in dB of the model in which their layer alone has ``bits`` bits, beside float for
    8 bits and beside 8 bits for 4, the worst first."""
    names, reference = products(file), outputs(file, batches)
    found = []
    for index, name in enumerate(names):
        progress(index / len(names), name)
        others = [other for other in names if other != name]
        alone = quantize(file, ranges, others) if bits == 8 else quantize(file, ranges, four=[name])
        found.append((name, decibels([_joined(outputs(alone, batches))], [_joined(reference)])))
    return sorted(found, key=lambda entry: entry[1])


def _joined(parts: Sequence[Rows]) -> Rows:
    return np.concatenate(parts)
