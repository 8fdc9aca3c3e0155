"""Calibration data: what a model is really asked, as inputs of its network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile
from claude_flow.data import views
from claude_flow.errors import InputError
from claude_flow.evaluate import judge
from claude_flow.measure.graph import Graph
from claude_flow.model import Model, assemble
from claude_flow.modelfile.ranges import Batch

__all__ = ["REPRESENTATIVE", "asked", "check", "read"]

#: a sample of the training part of the dataset that the model is judged on
REPRESENTATIVE = "representative-dataset"
_BATCH = 64


class _Recorder:
    """Runs a model and keeps what it was asked."""

    def __init__(self, model: Model) -> None:
        self.isa, self.threads = model.isa, model.threads
        self.asked: list[Batch] = []
        self._model = model

    def run(self, x: NDArray[np.float32], lengths: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        self.asked.append((np.array(x), None if lengths is None else np.array(lengths)))
        return self._model.run(x, lengths)


def asked(path: Path, file: modelfile.ModelFile, folder: Path, most: int) -> list[Batch]:
    """Up to ``most`` items, evenly spread, that the judge of the dataset ``folder`` asks of the model on the part of
    the training data that training validates on: encoded by the model's own schema, and never the test part."""
    recorder = _Recorder(assemble(path, file))
    judge.judge(file.network, folder, part="validation").model(Model(path, file, recorder, "native"))
    return _spread(recorder.asked, most)


def read(name: str, path: Path, file: modelfile.ModelFile, folder: Path, most: int) -> list[Batch]:
    """Calibration data by name: :data:`REPRESENTATIVE`, a dataset or view, or a file ``.npy`` of inputs.

    ``folder`` is the dataset that the model is judged on. Raises :class:`InputError` for data of another network, and
    what :func:`check` finds.
    """
    if name == REPRESENTATIVE:
        batches = asked(path, file, folder, most)
    elif name.endswith(".npy"):
        batches = _spread([(_array(name), None)], most)
    else:
        batches = asked(path, file, views.find(name, file.network, "train").folder, most)
    check(name, batches, file)
    return batches


def check(name: str, batches: Sequence[Batch], file: modelfile.ModelFile) -> None:
    """Refuse what no range can be learned from: :class:`InputError`."""
    *tokens, width = Graph(file).input_shape
    shape = ["items", *(["tokens"] if tokens else []), width]
    if not sum(x.size for x, _ in batches):
        raise InputError(f"the calibration data {name} is empty")
    for x, _ in batches:
        if x.ndim != len(shape) or x.shape[-1] != width or (tokens and x.shape[1] > tokens[0]):
            wanted = f"[{', '.join(map(str, shape))}]" + (f", up to {tokens[0]} tokens" if tokens else "")
            raise InputError(f"the calibration data {name} has the shape {list(x.shape)}; the model takes {wanted}")
        if not np.isfinite(x).all():
            raise InputError(f"the calibration data {name} holds NaN or infinity")
    first = batches[0][0].reshape(-1, width)[0]
    if all((x == first).all() for x, _ in batches):
        raise InputError(f"the calibration data {name} is of one class: all its rows are equal, give more kinds")


def _array(name: str) -> NDArray[np.float32]:
    try:
        found: Any = np.load(name, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: not an array of numpy ({error})") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise InputError(f"{name}: an array of numbers is wanted")
    return np.ascontiguousarray(found, np.float32)


def _spread(batches: Sequence[Batch], most: int) -> list[Batch]:
    """``most`` of all items, evenly spread, in padded batches of up to 64 that follow each other as before."""
    items = [(x[i], None if n is None else int(n[i])) for x, n in batches for i in range(len(x))]
    taken = items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]
    found: list[Batch] = []
    for first in range(0, len(taken), _BATCH):
        part = taken[first : first + _BATCH]
        if part[0][0].ndim == 1:
            found.append((np.stack([x for x, _ in part]), None))
            continue
        lengths = np.array([len(x) if n is None else n for x, n in part], np.int32)
        joined = np.zeros((len(part), lengths.max(), part[0][0].shape[1]), np.float32)
        for row, (x, _) in enumerate(part):
            joined[row, : lengths[row]] = x[: lengths[row]]
        found.append((joined, lengths))
    return found
