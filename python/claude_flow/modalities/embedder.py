"""A trained model at inference: items to vectors on the engine, and what lies nearest. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from claude_flow import _core, modelfile
from claude_flow.errors import InputError
from claude_flow.modalities import features

__all__ = ["Embedder"]

_ROWS = 64  # of dense inputs at once: 16 thousand floats each


_NETWORK = "multimodal"


class Embedder:
    """A multimodal model file, run by the engine.

    Raises:
        InputError: the file is of another network.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        file = modelfile.read(path)
        kind = file.network
        if kind != _NETWORK:
            raise InputError(f"{path} is a {kind} model: name one of  claude-flow neural train multimodal")
        self.path, self.modalities = path, tuple(file.config["modalities"])
        self._idf = {name: file.tensors[f"idf.{name}"] for name in self.modalities}
        self._gain = {name: file.tensors.get(f"gain.{name}") for name in self.modalities}
        self._length = {name: file.tensors.get(f"length.{name}") for name in self.modalities}
        self._part = float(1 / (1 + np.exp(-file.tensors["mix"][0]))) if "mix" in file.tensors else 1.0
        tensors = [file.tensors[name] for name in file.program_tensors]
        self._engine = _core.Model(np.asarray(file.program, np.int32), tensors, "auto", threads)

    def vectors(self, items: Mapping[str, features.Bags]) -> NDArray[np.float32]:
        """Unit vectors [N, width] of items of which the modalities in ``items`` are known (as counts).

        Raises:
            InputError: a modality that the model was not trained on.
        """
        for name in items:
            if name not in self.modalities:
                raise InputError(f"{self.path} knows {', '.join(self.modalities)}: it was not trained on {name}")
        known = {name: bags.scaled(self._idf[name]) for name, bags in items.items()}
        count = len(next(iter(known.values())))
        found = []
        for first in range(0, count, _ROWS):
            rows = np.arange(first, min(first + _ROWS, count))
            inputs = [
                features.dense(name, known[name].take(rows))
                if name in known
                else np.zeros((len(rows), features.WIDTHS[name]), np.float32)
                for name in self.modalities
            ]
            found.append(self._engine.run(inputs))
        y = np.concatenate(found)
        unit: NDArray[np.float32] = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-9)
        return unit

    def nearest(
        self, question: Mapping[str, str], items: Mapping[str, features.Bags], top: int
    ) -> list[tuple[int, float]]:
        """The ``top`` of ``items`` nearest to a question (text by modality), as (row, similarity), best first."""
        asked = {name: features.bags(name, [text]) for name, text in question.items()}
        similar = self._part * (self.vectors(items) @ self.vectors(asked)[0]).astype(float)
        if self._part < 1:
            pairs = [self._shared(a, asked[a], b, items[b]) for a in asked for b in items]
            similar += (1 - self._part) * np.mean(pairs, axis=0)
        order = np.argsort(-similar, kind="stable")[:top]
        return [(int(row), float(similar[row])) for row in order]

    def _shared(self, a: str, asked: features.Bags, b: str, items: features.Bags) -> NDArray[np.float64]:
        """Similarity in words of one question to all items [N]: the learned weights of the words that both have."""
        row = np.zeros(features.BUCKETS, np.float64)
        weighted = self._terms(a, asked)
        row[weighted.ids] = weighted.weights
        theirs = self._terms(b, items)
        return np.bincount(theirs.items, row[theirs.ids] * theirs.weights, len(theirs)).astype(np.float64)

    def _terms(self, name: str, items: features.Bags) -> features.Bags:
        bags, gain, length = items.scaled(self._idf[name]), self._gain[name], self._length[name]
        assert gain is not None
        assert length is not None
        sizes = np.maximum(np.diff(bags.starts), 1)
        factor = np.exp(gain[bags.ids] + length[0] * np.log(sizes / 64.0)[bags.items])
        return features.Bags(bags.starts, bags.ids, (bags.weights * factor).astype(np.float32), bags.pictures)
