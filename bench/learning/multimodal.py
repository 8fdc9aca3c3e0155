"""Text, code and diagrams of functions of the installed packages: search beside BM25, a forecast, cross-modal transfer.

The packages are those of this machine with a permissive licence, so figures of another machine differ.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import ROOT
from bench.learning.cells import Cells, of
from bench.report import table
from claude_flow import modelfile, statistics
from claude_flow.modalities import MODALITIES, dataset, features, retrieval
from claude_flow.train.recipes import crossmodal, multimodal

__all__ = ["NEEDS_DATA", "PAGE", "cells", "section"]

PAGE, NEEDS_DATA = "multimodal.md", False
HOME = ROOT / "build" / "learning" / "home"
_DATA, _MOST, _EPOCHS = "functions", 120, 3
_K1, _B = (1.2, 2.0, 3.0), (0.75, 0.9, 1.0)
_TUNED = 800  # validation functions by which BM25 is tuned, at most
_RIDGES = (1.0, 10.0, 100.0, 1000.0)
_PAIRS, _SHOTS = 2000, 10
_ADAPTED = {"canonical-correlation": 8, "contrastive": 30, "procrustes": 8}  # epochs
_OTHERS = {m: "+".join(o for o in MODALITIES if o != m) for m in MODALITIES}
_FORECASTS: tuple[tuple[str, ...], ...] = ((), ("code",), ("diagrams",), ("code", "diagrams"))
_KINDS = {
    "zero-shot": "zero-shot",
    "zero-shot, without adaptation layers": "zero-shot, no layers",
    "few-shot": "few-shot",
    "few-shot, without the source": "few-shot, without the source",
    "all labels of the target": "all labels",
    "largest class": "largest class",
}


def cells(data: Path | None, seeds: int) -> dict[str, Callable[[], dict[str, float]]]:
    """A seed of everything before the next seed."""
    found: dict[str, Callable[[], dict[str, float]]] = {}
    for seed in range(seeds):
        found[f"search/{seed}"] = functools.partial(search, seed)
        for technique in crossmodal.TECHNIQUES:
            found[f"transfer/{technique}/{seed}"] = functools.partial(transfer, technique, seed)
    return found


@contextmanager
def _workspace() -> Iterator[None]:
    """A workspace below build/ with the functions; what was set before is set again."""
    before = os.environ.get("CLAUDE_FLOW_HOME")
    os.environ["CLAUDE_FLOW_HOME"] = str(HOME)
    try:
        if not (HOME / "datasets" / _DATA).is_dir():
            dataset.collect([], HOME / "datasets" / _DATA, most=_MOST)
        yield
    finally:
        os.environ.pop("CLAUDE_FLOW_HOME")
        if before is not None:
            os.environ["CLAUDE_FLOW_HOME"] = before


def search(seed: int) -> dict[str, float]:
    """Recall@10 of every direction on packages left out, by way; the mean reciprocal rank of ours; the errors of a
    forecast; the sizes."""
    with _workspace():
        data = multimodal.Data(_DATA, MODALITIES, seed=seed)
        trained = multimodal.train(data, "search", epochs=_EPOCHS, seed=seed)
        assert trained is not None
        net: Any = multimodal.read(modelfile.read(trained.path))
        ranks = data.ranks(net, "test")
        found = {f"ours {way}": retrieval.recall(b, 10) for way, b in ranks.items()}
        found |= {f"rank {way}": retrieval.reciprocal(b) for way, b in ranks.items()}
        net.match.zero_()
        found |= {f"vectors {way}": retrieval.recall(b, 10) for way, b in data.ranks(net, "test").items()}
        items = {m: features.bags(m, _texts(data, m, data.judged("test"))) for m in MODALITIES}
        for a, b in permutations(MODALITIES, 2):
            found[f"words {a}-to-{b}"] = _recall(retrieval.Index(items[b]).scores(items[a]))
        found |= _bm25(data)
        found |= _forecast(data, net)
        sizes = {part: float(len(rows)) for part, rows in data.rows.items()}
        packages = float(len(set(data.table["package"])))
        return {**found, **sizes, "packages": packages, "judged": float(len(data.judged("test")))}


def _texts(data: multimodal.Data, modality: str, rows: NDArray[np.int64]) -> list[str]:
    return [data.table[dataset.COLUMNS[modality]][row] for row in rows]


def _recall(scores: NDArray[np.float32]) -> float:
    return retrieval.recall(retrieval.places(scores), 10)


def _bm25(data: multimodal.Data) -> dict[str, float]:
    """Recall@10 by BM25 whose constants, and whether identifiers are split, find most on the validation packages."""
    rows = {part: data.judged(part) for part in ("validation", "test")}
    rows["validation"] = np.random.default_rng(0).permutation(rows["validation"])[:_TUNED]
    bags = {
        (m, split, part): retrieval.plain(_texts(data, m, own), split=split)
        for m in MODALITIES
        for split in (True, False)
        for part, own in rows.items()
    }

    def found(a: str, b: str, part: str, k1: float, b_: float, split: bool) -> float:
        return _recall(retrieval.Index(bags[b, split, part], k1, b_).scores(bags[a, split, part]))

    best = {
        (a, b): max(product(_K1, _B, (True, False)), key=lambda one: found(a, b, "validation", *one))
        for a, b in permutations(MODALITIES, 2)
    }
    return {f"bm25 {a}-to-{b}": found(a, b, "test", *one) for (a, b), one in best.items()}


def _forecast(data: multimodal.Data, net: Any) -> dict[str, float]:
    """Mean absolute errors of the log of a function's length in words: by its docstring, and by that and what there is.

    What there is: the code, the diagram or both of the function before it, mostly of the same file; never one that
    holds the function itself. Ridge regression on the vectors; its constant is the best of the validation part.
    """
    size = np.log([max(1, len(features.words(code))) for code in data.table["code"]])
    rows: dict[str, NDArray[np.int64]] = {}
    for part, own in data.rows.items():
        fit = data.package[np.maximum(own - 1, 0)] == data.package[own]
        held = [f"def {data.table['name'][i]}(" in data.table["code"][i - 1] for i in own]
        rows[part] = own[fit & (own > 0) & ~np.array(held)]
    y = {part: size[own] for part, own in rows.items()}
    text = {part: data.embedded(net, own)["text"] for part, own in rows.items()}
    before = {part: data.embedded(net, own - 1) for part, own in rows.items()}
    known = {
        "code": {part: np.hstack([seen["code"], size[rows[part] - 1, None]]) for part, seen in before.items()},
        "diagrams": {part: seen["diagrams"] for part, seen in before.items()},
    }
    found = {"forecast median": float(np.abs(y["test"] - np.median(y["train"])).mean())}
    for more in _FORECASTS:
        x = {part: np.hstack([text[part], *(known[m][part] for m in more)]) for part in rows}
        found[f"forecast {'+'.join(('text', *more))}"] = _ridge(x, y)
    return found


def _ridge(x: dict[str, NDArray[Any]], y: dict[str, NDArray[Any]]) -> float:
    middle = x["train"].mean(axis=0)
    centred = {part: np.asarray(rows - middle, np.float64) for part, rows in x.items()}
    train, mean = centred["train"], y["train"].mean()
    gram, target = train.T @ train, train.T @ (y["train"] - mean)
    errors = {}
    for ridge in _RIDGES:
        weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), target)
        ends = [float(np.abs(centred[part] @ weights + mean - y[part]).mean()) for part in ("validation", "test")]
        errors[ends[0]] = ends[1]
    return errors[min(errors)]


def transfer(technique: str, seed: int) -> dict[str, float]:
    """Accuracies of telling kinds of functions from diagrams, learned from text, and recall@10 of the partner."""
    with _workspace():
        _, found = crossmodal.transfer(
            _DATA, "text", "diagrams", "carried", technique=technique, pairs=_PAIRS, shots=_SHOTS,
            epochs=_ADAPTED[technique], seed=seed,
        )  # fmt: skip
    return {**found["accuracy"], **found["retrieval"], "judged": float(found["judged"])}


def section(found: Cells) -> str:
    """The tables and their marks."""
    parts = [_search(of(found, "search")), _transfer(found)]
    return "\n\n".join(part for part in parts if part)


def _compared(ours: NDArray[np.float64], theirs: NDArray[np.float64], share: float) -> tuple[float, float]:
    """The mean gap and p of the corrected resampled t-test, since the splits' training parts overlap."""
    return float((ours - theirs).mean()), statistics.corrected_t(ours - theirs, share)


def _told(gap: float, p: float) -> str:
    return f"{gap:+.3f}, p {p:.4f}"


def _search(by: Cells) -> str:
    if len(by) < 2:
        return ""
    cells_ = list(by.values())

    def at(name: str) -> NDArray[np.float64]:
        return np.array([cell[name] for cell in cells_])

    share = float((at("test") / (at("train") + at("validation") + at("test"))).mean())
    directions = [f"{a}-to-{b}" for a, b in permutations(MODALITIES, 2)]
    tests = [_compared(at(f"ours {way}"), at(f"bm25 {way}"), share) for way in directions]
    corrected = statistics.holm([p for _, p in tests])
    rows = [
        [way, *(f"{at(f'{kind} {way}').mean():.3f}" for kind in ("ours", "bm25", "words", "vectors")), _told(gap, p)]
        for way, (gap, _), p in zip(directions, tests, corrected, strict=True)
    ]
    judged = at("judged").mean()
    lines = [
        f"**Search**, {len(by)} splits by package and as many trainings ({at('train').mean():.0f} functions of "
        f"{at('packages')[0]:.0f} packages less those left out; {judged:.0f} functions to search): mean recall@10. "
        "BM25's constants, and whether identifiers are split into words, are the best of 18 on the validation packages "
        "of each split. *Words*: the match of words alone, with the name of a function counted more; *vectors*: the "
        "cosine alone. Tests: corrected resampled t-test over splits, Holm over the six.",
        table(["asked by, for", "ours", "BM25, tuned", "words", "vectors", "ours less BM25"], rows),
    ]
    measured = {"recall@10": "ours", "mean reciprocal rank": "rank"}
    fused = {what: [_fused(at, kind, target, share) for target in _OTHERS] for what, kind in measured.items()}
    p_fused = {what: statistics.holm([test[1] for *_, test in own]) for what, own in fused.items()}
    rows = [
        [way, what, f"{both.mean():.3f}", f"{best.mean():.3f}", _told(test[0], p), _verdict(test[0], p)]
        for what, own in fused.items()
        for (way, both, best, test), p in zip(own, p_fused[what], strict=True)
    ]
    lines += [
        "**All three fused** against the better of the two pairs, split by split; Holm over the three of a measure:",
        table(["asked by, for", "measure", "two together", "the better one", "gap", ""], rows),
    ]
    names = ["+".join(("text", *more)) for more in _FORECASTS]
    errors = {name: at(f"forecast {name}") for name in ("median", *names)}
    gaps = [_compared(errors[name], errors["text"], share) for name in names[1:]]
    p_gaps = statistics.holm([p for _, p in gaps])
    less = {name: (gap, float(p)) for name, (gap, _), p in zip(names[1:], gaps, p_gaps, strict=True)}
    rows = [["the median of all", f"{errors['median'].mean():.3f}", ""]] + [
        [name, f"{errors[name].mean():.3f}", _told(*less[name]) if name in less else ""] for name in names
    ]
    gap, p = less["text+code"]
    lines += [
        "**A forecast** of how long a function will be (the log of its words; mean absolute error), from its docstring "
        "and from that with the code or the diagram of the function before it, which is there already; Holm over the "
        "three:",
        table(["from", "error", "less that of text"], rows),
    ]
    code, p_code = tests[directions.index("text-to-code")][0], corrected[directions.index("text-to-code")]
    chance = 10 / judged
    least = min(at(f"ours {way}").mean() for way in ("diagrams-to-code", "code-to-diagrams"))
    three = {
        what: sum(_verdict(test[0], p) == "better" for (*_, test), p in zip(own, p_fused[what], strict=True))
        for what, own in fused.items()
    }
    told = ", ".join(f"{count} of 3 targets by {what}" for what, count in three.items())
    marks = [
        ["text → code above BM25, corrected test", _told(code, p_code), _reached(_verdict(code, p_code) == "better")],
        ["diagram ↔ code ≥ 10 × chance", f"{least / chance:.0f} × ({least:.3f})", _reached(least >= 10 * chance)],
        ["all three above the best pair", told, _reached(three["recall@10"] == len(_OTHERS))],
        ["forecast error with code below without", _told(gap, p), _lower(gap, p)],
    ]
    return "\n\n".join([*lines, table(["mark", "found", ""], marks)])


def _fused(at: Callable[[str], NDArray[np.float64]], kind: str, target: str, share: float) -> tuple[Any, ...]:
    """A target asked by the two others: the way, its values, the better of the two alone, and their comparison."""
    asked = _OTHERS[target]
    best = np.maximum(*(at(f"{kind} {one}-to-{target}") for one in asked.split("+")))
    both = at(f"{kind} {asked}-to-{target}")
    return f"{asked}-to-{target}", both, best, _compared(both, best, share)


def _verdict(gap: float, p: float) -> str:
    """Where more is better."""
    return "tie" if not p < 0.05 else "better" if gap > 0 else "worse"


def _lower(gap: float, p: float) -> str:
    """Of a mark that a tie does not miss."""
    verdict = _verdict(-gap, p)
    return verdict if verdict == "tie" else _reached(verdict == "better")


def _reached(is_so: bool) -> str:
    return "reached" if is_so else "**missed**"


def _transfer(found: Cells) -> str:
    by = {technique: of(found, "transfer", technique) for technique in crossmodal.TECHNIQUES}
    seeds = sorted(set.intersection(*(set(own) for own in by.values())))
    if len(seeds) < 2:
        return ""
    rows = []
    for technique, own in by.items():
        values = {way: np.array([own[seed][way] for seed in seeds]) for way in _KINDS}
        gap, p = _compared(values["few-shot"], values["few-shot, without the source"], 0.2)
        near = np.mean([own[seed]["text-to-diagrams, this"] for seed in seeds])
        rows.append([technique, *(f"{value.mean():.3f}" for value in values.values()), _told(gap, p), f"{near:.3f}"])
    return "\n\n".join(
        [
            f"**Cross-modal transfer** from text to diagrams, {len(seeds)} splits and trainings: a classifier of what "
            f"a function is for learns from docstrings and answers from the call graph ({_PAIRS} pairs align, "
            f"{_SHOTS} examples of a class where few are given; {_ADAPTED['contrastive']} epochs of contrastive, "
            f"{_ADAPTED['procrustes']} of the others). Accuracy on packages left out; last, recall@10 of "
            "the diagram asked by text by its vectors alone.",
            table(["technique", *_KINDS.values(), "few-shot, with less without the source", "recall@10"], rows),
        ]
    )
