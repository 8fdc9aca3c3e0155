"""A trained model at inference: items to vectors on the engine, and what lies nearest. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from claude_flow import _core, modelfile
from claude_flow.errors import InputError
from claude_flow.modalities import features, retrieval

__all__ = ["Embedder"]

_ROWS = 64  # of dense inputs at once: 16 thousand floats each


_NETWORK = "multimodal"


class Embedder:
    """A multimodal model file, run by the engine.

    Raises:
        InputError: the file is of another network, or of an earlier version.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        file = modelfile.read(path)
        kind = file.network
        if kind != _NETWORK:
            raise InputError(f"{path} is a {kind} model: name one of  claude-flow neural train multimodal")
        self.path, self.modalities = path, tuple(file.config["modalities"])
        self._idf = {name: file.tensors[f"idf.{name}"] for name in self.modalities}
        count = len(self.modalities)
        match = file.tensors.get("match", np.zeros(3 * count * count))
        if match.size != 3 * count * count:
            raise InputError(f"{path} weighs words as an earlier version did: train it anew")
        self._match = np.reshape(match, (3, count, count))
        self._is_late = file.config["fusion"] == "late-fusion" and "match" in file.tensors
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
        """The ``top`` of ``items`` nearest to a question (text by modality), as (row, similarity), best first.

        The similarity is the vectors' cosine and the weighted match of words, by their rarity among ``items``. Late
        fusion adds the cosines of each modality by their shares; early fusion has one vector of them all.
        """
        asked = {name: features.bags(name, [text]) for name, text in question.items()}
        pairs = [(a, b) for b in items for a in asked]
        at = [(self.modalities.index(a), self.modalities.index(b)) for a, b in pairs]
        shares, weights = retrieval.parts(self._match, at)
        if self._is_late:
            one = {a: self.vectors({a: bags})[0] for a, bags in asked.items()}
            all_ = {b: self.vectors({b: bags}) for b, bags in items.items()}
            similar = sum(share * (all_[b] @ one[a]).astype(float) for (a, b), share in zip(pairs, shares, strict=True))
        else:
            similar = (self.vectors(items) @ self.vectors(asked)[0]).astype(float)
        index = {b: retrieval.Index(bags) for b, bags in items.items()} if weights.any() else {}
        for (a, b), weight in zip(pairs, weights, strict=True):
            if weight:
                similar = similar + weight * index[b].scores(asked[a])[0]
        order = np.argsort(-similar, kind="stable")[:top]
        return [(int(row), float(similar[row])) for row in order]
