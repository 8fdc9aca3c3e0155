"""From one modality to another: two spaces laid onto each other by pairs, and what a classifier of one tells of the
other.

The spaces and both ways to lay them onto each other are those of :mod:`claude_flow.train.recipes.latent`. Layers on the
target's side are then trained by the contrastive loss; the technique ``contrastive`` has that alone.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import modelfile
from claude_flow.errors import InputError, require
from claude_flow.modalities import features, retrieval
from claude_flow.train.recipes import latent, multimodal
from claude_flow.train.run import Trained

__all__ = ["TECHNIQUES", "labels", "transfer"]

TECHNIQUES = ("canonical-correlation", "contrastive", "procrustes")
#: of the layers on the target's side. What begins aligned is adjusted; ``contrastive`` begins at nothing: with 3e-4 it
#: found 1 % of the partners among 1656, with 3e-3 13 %.
_RATES = {"canonical-correlation": 3e-4, "contrastive": 3e-3, "procrustes": 3e-4}
WIDTH = 128
_CLASSES = 10


def labels(texts: list[str], rows: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """What the docstrings say that functions do, by their first word: the ten most frequent of ``rows``, and for every
    text the index of its own, or -1.

    >>> labels(["Return x.", "Returns y.", "Parse z."], np.arange(3))
    (['return', 'pars'], array([0, 0, 1]))
    """
    starts = [re.match(r"\W*([A-Za-z]+)", text) for text in texts]
    first = [features.stem(start[1].lower()) if start else "" for start in starts]
    names = [word for word, _ in Counter(first[i] for i in rows if first[i]).most_common(_CLASSES)]
    return names, np.array([names.index(word) if word in names else -1 for word in first])


def transfer(
    name_of_data: str,
    source: str,
    target: str,
    name: str,
    *,
    technique: str = TECHNIQUES[0],
    layers: int = 2,
    pairs: int = 2000,
    shots: int = 10,
    epochs: int = 30,
    seed: int = 0,
    time_budget: float | None = None,
    **options: Any,
) -> tuple[Trained | None, dict[str, Any]]:
    """Align ``target`` with ``source`` and store the encoders of both as a version of the multimodal model ``name``.

    ``pairs`` of the training part align; its other rows have the source modality and labels only. Returns the accuracy
    of telling :func:`labels` on packages left out, and recall@10 of finding the partner, of this and of its rivals.
    """
    if technique not in TECHNIQUES:
        raise InputError(f"there is no alignment technique {technique!r}: it is one of {', '.join(TECHNIQUES)}")
    begin = time.monotonic()
    data = multimodal.Data(name_of_data, (source, target), augmentation="none", seed=seed)
    train = np.random.default_rng([seed, 3]).permutation(data.rows["train"])
    data.fingerprint += f" {source} {target} {technique} {pairs}"
    names, kinds = labels(data.table["text"], train)
    if len(names) < 2:
        raise InputError(f"{name_of_data}: its docstrings name one kind of function only; collect more packages")
    both = train[:pairs]
    spaces = {m: latent.directions(data.bags[m].take(train), WIDTH, seed) for m in (source, target)}
    x, y = (latent.projected(data.bags[m].take(both), spaces[m]) for m in (source, target))
    own = {m: matrix.copy() for m, matrix in spaces.items()}
    if technique != "contrastive":
        a, b = latent.canonical(x, y)[:2] if technique == "canonical-correlation" else latent.procrustes(x, y)
        spaces = {source: (spaces[source] @ a).astype(np.float32), target: (spaces[target] @ b).astype(np.float32)}
    start = multimodal.started(data, spaces, layers=layers, words=False, seed=seed)
    data.rows = {**data.rows, "train": both}
    adapted = [f"{part}.{target}" for part in ("first", "second", "norm")] + ["scale"]
    if technique == "contrastive":
        adapted += [f"words.{target}", *(["picture"] if target == "diagrams" else [])]
    left = None if time_budget is None else max(1.0, (time_budget - (time.monotonic() - begin)) / 2)
    trained = multimodal.train(
        data,
        name,
        epochs=epochs,
        width=WIDTH,
        layers=layers,
        words=False,
        learning_rate=_RATES[technique],
        about={"source": source, "target": target, "technique": technique, "pairs": len(both)},
        start=start,
        trainable=dict.fromkeys(adapted, 1.0),
        seed=seed,
        time_budget=left,
        **options,
    )
    if trained is None:
        return None, {}
    linear = data.module({"width": WIDTH, "layers": layers, "words": False})
    linear.load_state_dict({**linear.state_dict(), **start})
    module = multimodal.read(modelfile.read(trained.path))
    judged = data.judged("test")
    rows = {"source": train[kinds[train] >= 0][:5000], "test": judged[kinds[judged] >= 0]}
    if len(rows["test"]) < 2 or len(np.unique(kinds[rows["source"]])) < 2:
        raise InputError(f"{name_of_data}: too few functions of a known kind are in its packages; collect more")
    few = _few(kinds, both, shots)
    ways: dict[str, float] = {}
    for way, net in (("zero-shot", module), ("zero-shot, without adaptation layers", linear)):
        at = {part: data.embedded(net.eval(), r) for part, r in rows.items()}
        model = _classifier(at["source"][source], kinds[rows["source"]])
        ways[way] = float(model.score(at["test"][target], kinds[rows["test"]]))
        if net is module:
            ways["few-shot"] = _few_shot(data, net, at, rows, kinds, few, source, target)
            ways["source itself"] = float(model.score(at["test"][source], kinds[rows["test"]]))
    plain = {
        part: latent.projected(data.bags[target].take(r), own[target]) for part, r in (*rows.items(), ("few", few))
    }
    truth = kinds[rows["test"]]
    ways["few-shot, without the source"] = float(_classifier(plain["few"], kinds[few]).score(plain["test"], truth))
    whole = _classifier(plain["source"], kinds[rows["source"]])
    ways["all labels of the target"] = float(whole.score(plain["test"], truth))
    ways["largest class"] = float(np.mean(truth == np.bincount(kinds[rows["source"]]).argmax()))
    found: dict[str, float] = {}
    for way, net in (("this", module), ("without adaptation layers", linear)):
        for direction, before in data.ranks(net, "test").items():
            found[f"{direction}, {way}"] = retrieval.recall(before, 10)
    found["chance"] = min(1.0, 10 / len(judged))
    about = {"kinds": names, "pairs": len(both), "judged": len(rows["test"]), "stopped": trained.card["stopped"]}
    return trained, {"accuracy": ways, "retrieval": found, **about}


def _few(kinds: NDArray[np.int64], rows: NDArray[np.int64], shots: int) -> NDArray[np.int64]:
    """The first ``shots`` of ``rows`` of each kind."""
    return np.concatenate([rows[kinds[rows] == kind][:shots] for kind in range(kinds.max() + 1)])


def _few_shot(
    data: multimodal.Data,
    net: Any,
    at: Mapping[str, Mapping[str, Any]],
    rows: Mapping[str, NDArray[np.int64]],
    kinds: NDArray[np.int64],
    few: NDArray[np.int64],
    source: str,
    target: str,
) -> float:
    """Accuracy with the source's labels and a few of the target, which together weigh as much."""
    shown = data.embedded(net, few)[target]
    x = np.concatenate([at["source"][source], shown])
    y = np.concatenate([kinds[rows["source"]], kinds[few]])
    weights = np.repeat([1.0, len(rows["source"]) / max(1, len(few))], [len(rows["source"]), len(few)])
    return float(_classifier(x, y, weights).score(at["test"][target], kinds[rows["test"]]))


def _classifier(x: NDArray[Any], y: NDArray[np.int64], weights: NDArray[np.float64] | None = None) -> Any:
    linear = require("sklearn.linear_model", "multimodal").LogisticRegression(C=10.0, max_iter=300)
    return linear.fit(x, y, sample_weight=weights)
