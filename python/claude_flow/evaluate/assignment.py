"""Who takes which task, judged walk-forward on logs: our answer beside the rules and learners that it must beat.

A decision is asked as it was made: a contender sees the task's words, the types of agents of the log, and the log's
earlier decisions, those of the same batch included. What it is judged by is what the log's dispatcher chose, which need
not be the best. All that is fitted is fitted on other decisions than the judged ones: on other logs, or earlier ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import require
from claude_flow.model import Model
from claude_flow.networks.coordination import evidence
from claude_flow.networks.coordination.evidence import Decision
from claude_flow.networks.coordination.features import Encoder, History
from claude_flow.networks.coordination.prior import Prior
from claude_flow.networks.coordination.ranker import CONDITIONS, Ranker, Trees
from claude_flow.networks.text import hash_text, words

__all__ = ["LEAST", "RULES", "Boosting", "Log", "answered", "evidenced", "logs", "ranker", "rule", "seen", "signals"]

Array = NDArray[np.float64]

LEAST = 10  # decisions of a log that is judged
_WIDTH = 256  # of the hashed words
_NEIGHBOURS = 10
_SESSIONS, _STRETCH = 8, 5
_COMMON = 48  # first words and types with codes of their own: the most frequent in training
_ROUNDS = 400
#: of LightGBM; the validation part chooses among them and how many rounds
_GRID: tuple[dict[str, Any], ...] = (
    {"num_leaves": 7, "min_data_in_leaf": 10},
    {"num_leaves": 7, "min_data_in_leaf": 40},
    {"num_leaves": 31, "min_data_in_leaf": 20},
)
_FIXED = {"learning_rate": 0.05, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1}
#: of the trees that rank; five ensembles of 100 rounds at 0.05 were no better
_RANKER = {
    "num_leaves": CONDITIONS + 1,
    "min_data_in_leaf": 20,
    "learning_rate": 0.08,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
}
_MEMBERS, _TREES = 3, 60


@dataclass(frozen=True)
class Log:
    """One project's decisions, oldest first, and the types of agents that it uses."""

    name: str
    decisions: tuple[Decision, ...]
    kinds: tuple[str, ...]

    @property
    def chosen(self) -> NDArray[np.int64]:
        """The dispatcher's choice of each decision, as a place among ``kinds``."""
        return np.array([self.kinds.index(decision.kind) for decision in self.decisions], np.int64)

    @property
    def sessions(self) -> NDArray[Any]:
        """Where each was handed out: what a paired test within a log resamples. Of a log that is one long session,
        stretches of five decisions."""
        names = [d.session for d in self.decisions]
        if len(set(names)) < min(_SESSIONS, len(names) // _STRETCH):
            names = [f"decisions {i // _STRETCH}" for i in range(len(names))]
        return np.array([f"{self.name} {name}" for name in names])

    def until(self, moment: float) -> Log:
        """The log as it was at a moment, seconds."""
        return replace(self, decisions=tuple(d for d in self.decisions if d.at < moment))


def logs(runs: Iterable[Mapping[str, Any]], least: int = LEAST) -> list[Log]:
    """The logs of all projects with ``least`` decisions or more and two types of agents, by name."""
    by_project: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        by_project.setdefault(str(run.get("project") or run.get("group")), []).append(run)
    found = []
    for name, own in sorted(by_project.items()):
        past = evidence.decisions(own)
        kinds = sorted({decision.kind for decision in past})
        if len(past) >= least and len(kinds) > 1:
            found.append(Log(name, tuple(past), tuple(kinds)))
    return found


# Rules ----------------------------------------------------------------------------------------------------


def _most_used(past: Sequence[Decision], text: str, kinds: Sequence[str]) -> Array:
    used = Counter(decision.kind for decision in past)
    counts = np.array([used[kind] for kind in kinds]) + 1 / len(kinds)
    result: Array = counts / counts.sum()
    return result


def _last_used(past: Sequence[Decision], text: str, kinds: Sequence[str]) -> Array:
    result = _most_used(past, text, kinds)
    if past and past[-1].kind in kinds:
        result = result / 2
        result[list(kinds).index(past[-1].kind)] += 0.5
    return result


def _first_word(past: Sequence[Decision], text: str, kinds: Sequence[str]) -> Array:
    result: Array = evidence.table(past, [text], kinds)[0]
    return result


def _neighbours(past: Sequence[Decision], text: str, kinds: Sequence[str]) -> Array:
    """The types of the ten past tasks most alike in words, by likeness, and as one more vote the most used."""
    result = _most_used(past, text, kinds)
    if past:
        index = {kind: i for i, kind in enumerate(kinds)}
        like = np.stack([_hashed(decision.text) for decision in past]) @ _hashed(text)
        for row in np.argsort(-like, kind="stable")[:_NEIGHBOURS]:
            if past[row].kind in index:
                result[index[past[row].kind]] += max(float(like[row]), 0.0)
    whole: Array = result / result.sum()
    return whole


#: (earlier decisions, the task's words, types) -> probabilities [types]
RULES: dict[str, Callable[[Sequence[Decision], str, Sequence[str]], Array]] = {
    "most used": _most_used,
    "last used": _last_used,
    "first-word table": _first_word,
    "k-NN": _neighbours,
}


def rule(name: str, log: Log, before: Sequence[Decision] = ()) -> Array:
    """Probabilities ``[decisions, types]`` by a rule; ``before`` are decisions of other logs, older than all of it."""
    past, tried = [*before, *log.decisions], RULES[name]
    start = len(before)
    return np.stack([tried(past[: start + i], d.text, log.kinds) for i, d in enumerate(log.decisions)])


# The network ----------------------------------------------------------------------------------------------


def answered(model: Model, log: Log, *, shown: bool = True) -> Array:
    """Probabilities ``[decisions, types]`` by a coordination model, which sees the log in its agents' tokens if it is
    ``shown``."""
    encoder = Encoder.from_schema(model.features)
    agents = np.stack([encoder.agent({"type": kind}) for kind in log.kinds])
    state = encoder.state({}, [{"id": kind} for kind in log.kinds], 1)[None]
    tasks = np.stack([encoder.task({"description": decision.text}) for decision in log.decisions])
    held = np.array([decision.held for decision in log.decisions], np.float32)
    utility = np.eye(len(log.kinds), dtype=np.float32)[log.chosen] * held[:, None]
    rows = []
    for i in range(len(tasks)):
        seen = encoder.with_history(agents, History.of(tasks[:i], utility[:i])) if shown and i else agents
        x = np.concatenate([state, seen, tasks[i : i + 1]])[None]
        rows.append(model.decide(x, len(agents), 1).probabilities[0, 0, : len(agents)].astype(np.float64))
    result = np.stack(rows)
    whole: Array = result / result.sum(axis=1, keepdims=True)
    return whole


def signals(log: Log, others: Prior, *, shown: bool = True) -> Array:
    """What the log, if it is ``shown``, and other projects said at each decision, ``[decisions, types, signals]``: see
    :func:`claude_flow.networks.coordination.evidence.signals`."""
    return np.stack(
        [
            evidence.signals(log.decisions[:i] if shown else (), [d.text], log.kinds, others)[0]
            for i, d in enumerate(log.decisions)
        ]
    )


def evidenced(known: Ranker, log: Log, network: Array, *, shown: bool = True) -> Array:
    """Probabilities ``[decisions, types]`` as ``infer coordination`` answers, from the network's probabilities, what is
    known of other projects, and the log's earlier decisions if it is ``shown``."""
    found = signals(log, known.prior, shown=shown)
    result = evidence.chances(found, network, known.without)
    if shown:
        result[1:] = evidence.chances(found[1:], network[1:], known.with_log)
    return result


#: of each log: what it says with the prior of the other logs, and what that prior says alone
Seen = list[tuple[Log, Array, Array]]


def seen(train: Sequence[Log]) -> Seen:
    """What the trees of :func:`ranker` are fitted on."""
    result = []
    for log in train:
        others = Prior.of(_pairs(other) for other in train if other is not log)
        result.append((log, signals(log, others), signals(log, others, shown=False)))
    return result


def ranker(found: Seen, seed: int = 0) -> Ranker:
    """What ``infer coordination`` ranks types of agents by, fitted on whole logs.

    Trees by gradients of the softmax over a decision's types; a log's decisions together weigh their number's root.
    """
    chosen = [log.chosen for log, _, _ in found]
    with_log, without = (_trees([row[part] for row in found], chosen, seed) for part in (1, 2))  # type: ignore[misc]
    return Ranker(Prior.of(_pairs(log) for log, _, _ in found), with_log, without)


def _pairs(log: Log) -> list[tuple[str, str]]:
    return [(decision.text, decision.kind) for decision in log.decisions if decision.held]


def _trees(seen: Sequence[Array], chosen: Sequence[NDArray[np.int64]], seed: int) -> Trees:
    lightgbm = require("lightgbm", "baselines")
    x = np.concatenate([part.reshape(-1, part.shape[2]) for part in seen])
    y = np.concatenate([np.eye(s.shape[1])[c].ravel() for s, c in zip(seen, chosen, strict=True)])
    sizes = np.concatenate([np.full(len(s), s.shape[1]) for s in seen])
    weight = np.concatenate([np.full(s.shape[0] * s.shape[1], len(s) ** -0.5) for s in seen])
    weight /= weight.mean()
    starts, owner = np.r_[0, np.cumsum(sizes)[:-1]], np.repeat(np.arange(len(sizes)), sizes)

    def slope(score: Array, data: Any) -> tuple[Array, Array]:
        mass = np.exp(score - np.maximum.reduceat(score, starts)[owner])
        p = mass / np.add.reduceat(mass, starts)[owner]
        return (p - y) * weight, np.maximum(p * (1 - p), 0.01) * weight

    found = []
    for member in range(_MEMBERS):
        settings = {**_RANKER, "objective": slope, "verbose": -1, "num_threads": 1, "deterministic": True}
        settings["seed"] = seed * _MEMBERS + member
        model = lightgbm.train(settings, lightgbm.Dataset(x, y, free_raw_data=False), _TREES)
        found += [_table_of(tree["tree_structure"]) for tree in model.dump_model()["tree_info"]]
    columns, thresholds, values = zip(*found, strict=True)
    return Trees(np.stack(columns), np.stack(thresholds), np.stack(values) / _MEMBERS)


def _table_of(tree: Mapping[str, Any]) -> tuple[NDArray[np.int64], Array, Array]:
    """A tree as its conditions and the value by which of them hold."""
    columns, thresholds = np.zeros(CONDITIONS, np.int64), np.full(CONDITIONS, np.inf)
    values = np.zeros(1 << CONDITIONS)
    places = np.arange(1 << CONDITIONS)

    def fill(node: Mapping[str, Any], kept: NDArray[np.bool_]) -> None:
        if "leaf_value" in node:
            values[kept] = node["leaf_value"]
            return
        bit = int(node["split_index"])
        columns[bit], thresholds[bit] = node["split_feature"], node["threshold"]
        holds = (places >> bit & 1).astype(bool)
        fill(node["left_child"], kept & ~holds)
        fill(node["right_child"], kept & holds)

    fill(tree, np.ones(len(places), bool))
    return columns, thresholds, values


# LightGBM -------------------------------------------------------------------------------------------------


class Boosting:
    """LightGBM from pairs (task, type) to whether the type got the task, tuned on a validation part.

    Of a pair it sees which type it is and with which word the task begins (the frequent ones), how alike their words
    are, and how often other training logs gave such tasks to the type. With ``history`` also what the log says so far:
    how often the type was used, how often for this first word, how long ago, and how alike the type's past tasks are.
    """

    def __init__(self, *, history: bool, seed: int = 0) -> None:
        self.history, self.seed = history, seed
        self._kinds: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._model: Any = None
        self._counts: dict[str, tuple[Counter[str], Counter[tuple[str, str]]]] = {}

    def fit(self, train: Sequence[Log], validation: Sequence[tuple[Log, int]]) -> Boosting:
        """Fit on the decisions of ``train`` and tune on those of ``validation`` from a place on, then fit on both."""
        lightgbm = require("lightgbm", "baselines")
        everything = [decision for log in train for decision in log.decisions]
        self._kinds = _codes(decision.kind for decision in everything)
        self._words = _codes(_first(decision.text) for decision in everything)
        self._counts = {
            log.name: (
                Counter(decision.kind for decision in log.decisions),
                Counter((_first(decision.text), decision.kind) for decision in log.decisions),
            )
            for log in train
        }
        x, y = self._table([(log, 0) for log in train])
        held, truth = self._table(validation)
        best: tuple[float, dict[str, Any], int] | None = None
        # Without a validation part the first settings and as many rounds as the others take on average.
        for settings in _GRID if len(truth) else ():
            data = lightgbm.Dataset(x, y, categorical_feature=[0, 1], params={"verbose": -1})
            model = lightgbm.train(
                self._settings(settings),
                data,
                _ROUNDS,
                valid_sets=[lightgbm.Dataset(held, truth, categorical_feature=[0, 1], reference=data)],
                callbacks=[lightgbm.early_stopping(30, verbose=False)],
            )
            loss = float(model.best_score["valid_0"]["binary_logloss"])
            if best is None or loss < best[0]:
                best = loss, settings, int(model.best_iteration)
        _, settings, rounds = best or (0.0, _GRID[0], 60)
        if len(truth):
            x, y = np.concatenate([x, held]), np.concatenate([y, truth])
        data = lightgbm.Dataset(x, y, categorical_feature=[0, 1], params={"verbose": -1})
        self._model = lightgbm.train(self._settings(settings), data, rounds)
        return self

    def probabilities(self, log: Log, start: int = 0) -> Array:
        """``[decisions from start on, types]``."""
        x = self._inputs(log, start)
        p = self._model.predict(x).reshape(-1, len(log.kinds)) + 1e-6
        result: Array = p / p.sum(axis=1, keepdims=True)
        return result

    def _settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        about = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True, "seed": self.seed}
        return {**_FIXED, **about, **settings}

    def _table(self, found: Sequence[tuple[Log, int]]) -> tuple[Array, Array]:
        parts = [(log, start) for log, start in found if start < len(log.decisions)]
        if not parts:
            return np.zeros((0, 0)), np.zeros(0)
        x = np.concatenate([self._inputs(log, start) for log, start in parts])
        y = np.concatenate([np.eye(len(log.kinds))[log.chosen[start:]].ravel() for log, start in parts])
        return x, y

    def _inputs(self, log: Log, start: int) -> Array:
        """Rows of features, decision by decision, type by type."""
        used, by_word = Counter[str](), Counter[tuple[str, str]]()
        for name, (kinds, pairs) in self._counts.items():
            if name != log.name:  # a training log must not see its own choices
                used.update(kinds)
                by_word.update(pairs)
        whole, of_word = sum(used.values()), Counter[str]()
        for (word, _), count in by_word.items():
            of_word[word] += count
        names = np.stack([_hashed(kind) for kind in log.kinds])
        texts = np.stack([_hashed(decision.text) for decision in log.decisions])
        like, alike = texts @ names.T, texts @ texts.T
        chosen, firsts = log.chosen, [_first(decision.text) for decision in log.decisions]
        one_hot = np.eye(len(log.kinds))[chosen]
        rows = []
        for i in range(start, len(chosen)):
            word = firsts[i]
            same = np.array([first == word for first in firsts[:i]], bool)
            counts, here = one_hot[:i].sum(axis=0), one_hot[:i][same].sum(axis=0)
            for j, kind in enumerate(log.kinds):
                row = [
                    self._kinds.get(kind, -1),
                    self._words.get(word, -1),
                    float(like[i, j]),
                    float(like[i, j] - like[i].max()),
                    (used[kind] + 0.1) / (whole + 1),
                    (by_word[word, kind] + 0.1) / (of_word[word] + 1),
                    len(words(log.decisions[i].text)),
                    len(log.kinds),
                ]
                if self.history:
                    own = np.flatnonzero(chosen[:i] == j)
                    near = np.sort(alike[i, own])[::-1]
                    row += [
                        counts[j] / max(i, 1),
                        (counts > counts[j]).sum(),
                        (here[j] + 0.1) / (here.sum() + 1),
                        here[j],
                        np.log1p(i - own[-1]) if len(own) else np.nan,
                        float(near[0]) if len(near) else np.nan,
                        float(near[:3].mean()) if len(near) else np.nan,
                        np.log1p(i),
                    ]
                rows.append(row)
        return np.array(rows, np.float64).reshape((len(chosen) - start) * len(log.kinds), -1)


def _codes(names: Iterable[str]) -> dict[str, int]:
    return {name: i for i, (name, _) in enumerate(Counter(names).most_common(_COMMON))}


def _first(text: str) -> str:
    return next(iter(words(text)), "")


_kept: dict[str, NDArray[np.float32]] = {}


def _hashed(text: str) -> NDArray[np.float32]:
    if text not in _kept:
        _kept[text] = hash_text(text, _WIDTH)
    return _kept[text]
