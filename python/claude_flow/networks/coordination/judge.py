"""Judging who takes which task: models and baselines on the test decisions of a preprocessed coordination dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.data import manifest as manifests
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError
from claude_flow.evaluate import assignment, baselines
from claude_flow.evaluate.judge import COSTS, Marks, Part, Unavailable, cost
from claude_flow.evaluate.walk import Block
from claude_flow.model import Model
from claude_flow.networks.coordination import prepare, ranker
from claude_flow.networks.coordination.features import BUCKETS, FEATURES, PAST, TEXT
from claude_flow.networks.coordination.learn import Data, Episode, Pool, rule_scores

__all__ = ["Judge", "blocks", "folds", "walked"]

Array = NDArray[Any]
_NUMBERS = slice(3, 32)


class Judge:
    """Rows are tasks with two known choices or more that differ; commands (defer, split …) do not compete."""

    MEASURES: ClassVar[dict[str, str]] = {
        "accuracy": "share of tasks that went to a best agent",
        "f1-score": "F1 of the picked agents against the set of best ones, mean over tasks",
        "coordination-efficiency": "utility of the picked agents by the best possible one",
        "coordination-quality": "utility on a scale from 0, an agent at random, to 1, the best",
        "regret": "best possible utility less that of the picked agent",
        "utility": "utility of the picked agent",
        "calibration-error": "mean distance of a choice's probability to how often it is a best one",
        **COSTS,
    }
    HIGHER = frozenset({"accuracy", "f1-score", "coordination-efficiency", "coordination-quality", "utility"})
    BASELINES: ClassVar[dict[str, str]] = {
        "random": "any agent",
        "rule-based": "the agent whose type and skills share most words with the task, then the least loaded",
        "best-single": "the agent with the highest mean utility so far",
        "k-nn": "the utilities of the 20 most similar (task, agent) pairs",
        "gradient-boosting": "LightGBM from (task, agent) pairs to utility",
        "random-forest": "a random forest from (task, agent) pairs to utility",
        "multi-output-forest": "one random forest from a task to the utilities of its pool's agents",
        "per-algorithm-forest": "a random forest per agent of a pool",
    }
    SLOW: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, data: Path, validation_split: float, config: dict[str, Any], part: str = "test") -> None:
        self.data = Data.load(data, validation_split, 0, config)
        self.episodes = self.data.held_out(part)
        self._pairs: dict[str, tuple[Array, Array]] = {}
        self._forests: dict[tuple[str, str, int], Callable[[Array], Array]] = {}
        self._kept = [_differs(episode) for episode in self.episodes]
        units = [
            f"{e.pool.name} {row}" if e.mode != "simulated" else e.pool.name
            for e, kept in zip(self.episodes, self._kept, strict=True)
            for row in e.rows[kept]
        ]
        if not units:
            raise InputError(f"{data}: its {part} part has no task whose known choices differ: collect more logs")
        self.units = np.array(units)

    @property
    def sizes(self) -> dict[str, int]:
        """Tasks of each part."""
        return {part: sum(len(e.utility) for e in self.data.held_out(part)) for part in ("train", "validation", "test")}

    def model(self, model: Model) -> Marks:
        if model.network != "coordination":
            raise InputError(f"{model.path} is a {model.network} model; the data is for coordination")
        decisions = [model.decide(e.tokens[None], e.agents, len(e.utility)) for e in self.episodes]
        scores = [d.scores[0, :, : e.agents] for d, e in zip(decisions, self.episodes, strict=True)]
        marks = self._marks(scores)
        marks.choices = np.concatenate([s[kept].argmax(1) for s, kept in zip(scores, self._kept, strict=True)])
        outcome, chance = [], []
        for decision, episode in zip(decisions, self.episodes, strict=True):
            for p, utility in zip(decision.probabilities[0], episode.utility, strict=True):
                known = np.flatnonzero(np.isfinite(utility))
                if len(known) > 1:  # the probability is over all choices: here among those whose outcome is known
                    pick = known[p[known].argmax()]
                    chance.append(p[pick] / max(p[known].sum(), 1e-12))
                    outcome.append(utility[pick] >= utility[known].max() - 1e-6)
        found = statistics.reliability(outcome, chance)
        marks.whole["calibration-error"] = found.error
        marks.curves.append(("reliability", found.forecast.tolist(), found.observed.tolist()))
        runs = [lambda e=e: model.decide(e.tokens[None], e.agents, len(e.utility)) for e in self.episodes]
        marks.whole |= cost(model, runs)
        return marks

    def baseline(self, name: str, seed: int) -> Marks:
        if name in ("multi-output-forest", "per-algorithm-forest"):
            return self._marks([self._forest(name, seed, episode) for episode in self.episodes])
        if name in baselines.REGRESSORS:
            if not self._pairs:
                episodes = list(self.data.episodes("train", np.random.default_rng(0)))
                rows = [(_pairs(e), e.utility[:, : e.agents].ravel()) for e in episodes]
                x, y = (np.concatenate(part) for part in zip(*rows, strict=True))
                self._pairs["train"] = x[np.isfinite(y)], y[np.isfinite(y)].astype(np.float64)
            predict = baselines.fit(name, *self._pairs["train"], seed)
            sizes = [len(e.utility) * e.agents for e in self.episodes]
            flat = predict(np.concatenate([_pairs(e) for e in self.episodes]))
            parts = np.split(flat, np.cumsum(sizes)[:-1])
            return self._marks([part.reshape(-1, e.agents) for part, e in zip(parts, self.episodes, strict=True)])
        rules: dict[str, Callable[[Episode], Array]] = {
            "random": lambda e: np.zeros((len(e.utility), e.agents)),  # equal scores share a pick evenly
            "rule-based": rule_scores,
            "best-single": lambda e: np.tile(e.past.utility.astype(np.float64), (len(e.utility), 1)),
        }
        return self._marks([rules[name](episode) for episode in self.episodes])

    def _forest(self, name: str, seed: int, episode: Episode) -> Array:
        pool = episode.pool
        key = name, pool.name, seed
        if key not in self._forests:
            train = np.flatnonzero(pool.split == 0)
            if pool.mode == "simulated" or len(train) < 10:
                raise Unavailable("it needs agents that come back: a pool of the test part has no tasks to train on")
            utility = pool.utility[train][:, : len(pool.agents)].astype(np.float64)
            self._forests[key] = baselines.fit_table(name, _task(pool, train), utility, seed)
        return self._forests[key](_task(pool, episode.rows))[:, episode.who]

    def _marks(self, scores: list[Array]) -> Marks:
        rows = []
        for episode, score, kept in zip(self.episodes, scores, self._kept, strict=True):
            for utility, row in zip(episode.utility[kept, : episode.agents], score[kept], strict=True):
                known = np.isfinite(utility)
                row, utility = np.where(known, row, -np.inf), utility.astype(np.float64)
                picked = row >= row.max() - 1e-12
                best = utility[known].max()
                best_ones = utility >= best - 1e-6
                hit, gain, chance = best_ones[picked].mean(), utility[picked].mean(), utility[known].mean()
                f1 = 2 * hit / (1 + best_ones.sum())
                rows.append([hit, f1, gain / best, (gain - chance) / (best - chance), best - gain, gain])
        names = [name for name in self.MEASURES if name not in ("calibration-error", *COSTS)]
        return Marks(dict(zip(names, np.array(rows).T, strict=True)))


def _differs(episode: Episode) -> Array:
    """The tasks of an episode whose known choices differ."""
    utility = np.where(np.isfinite(episode.utility), episode.utility, np.nan)[:, : episode.agents]
    known = np.isfinite(utility).sum(1) > 1
    spread = np.where(known[:, None], utility, 0)
    return np.flatnonzero(np.nanmax(spread, axis=1) - np.nanmin(spread, axis=1) > 0)


def _task(pool: Pool, rows: Array) -> Array:
    tokens = pool.tasks[rows]
    return np.concatenate([tokens[:, _NUMBERS], tokens[:, BUCKETS], tokens[:, FEATURES], tokens[:, TEXT]], axis=1)


def _pairs(episode: Episode) -> Array:
    """What a table learner sees of every (task, agent): the numbers of both, and how much their texts share."""
    agents, tasks = episode.tokens[1 : 1 + episode.agents], episode.tokens[1 + episode.agents :]
    shape = (len(tasks), len(agents))
    likeness = [tasks[:, part] @ agents[:, part].T for part in (BUCKETS, TEXT, PAST)]
    parts = [np.broadcast_to(tasks[:, None, part], (*shape, tasks[:, part].shape[1])) for part in (_NUMBERS, FEATURES)]
    parts += [np.broadcast_to(agents[None, :, _NUMBERS], (*shape, 29)), np.stack(likeness, axis=2)]
    return np.concatenate(parts, axis=2).reshape(len(tasks) * len(agents), -1).astype(np.float32)


def folds(data: Path, count: int, seed: int) -> list[Part]:
    """``count`` parts: whole simulated swarms, blocks of a log in time, tasks of measured pools."""
    manifest, tensors = prepare.load(data)
    generator, first = np.random.default_rng([seed, 5]), 0
    fold = np.zeros(len(tensors["split"]), np.int64)
    swarms = [i for i, pool in enumerate(manifest["pools"]) if pool["mode"] == "simulated"]
    own_fold = dict(zip(swarms, generator.permutation(len(swarms)) % count, strict=True))
    for i, pool in enumerate(manifest["pools"]):
        rows = np.arange(first, first + pool["tasks"])
        first += pool["tasks"]
        if pool["mode"] == "simulated":
            fold[rows] = own_fold[i]
        elif pool["mode"] == "logged":
            fold[rows[np.argsort(tensors["times"][rows, 0], kind="stable")]] = np.arange(len(rows)) * count // len(rows)
        else:
            fold[rows] = generator.permutation(len(rows)) % count
    if len(np.unique(fold)) < count or count < 2:
        raise InputError(f"{data}: {count} folds need at least two, and as many tasks or swarms as folds")
    return [(f"fold {i + 1}", {}, {"split": (fold == i).astype(tensors["split"].dtype)}) for i in range(count)]


_LATER = 9  # no split: tasks after the block
_TUNED = 0.8  # of what came before a block, LightGBM is fitted on so much and tuned on the rest


def blocks(data: Path, count: int) -> list[Part]:
    """The later half of the logs in ``count`` blocks of as many tasks; each is judged by what was trained before it."""
    manifest, tensors = prepare.load(data)
    pools = manifest["pools"]
    logged = np.repeat([pool["mode"] == "logged" for pool in pools], [pool["tasks"] for pool in pools])
    start = np.where(logged, tensors["times"][:, 0], np.nan)
    known = np.sort(start[np.isfinite(start)])
    if len(known) < 4 * count:
        raise InputError(f"{data}: {len(known)} tasks of a log have a time: {4 * count} are needed to judge on it")
    edges = [known[int(len(known) * share)] for share in np.linspace(0.5, 1, count + 1)[:-1]] + [known[-1] + 1]
    found = []
    for i, (begin, end) in enumerate(pairwise(edges)):
        split = np.where(start >= end, _LATER, np.where(start >= begin, prepare.TEST, prepare.TRAIN))
        split = np.where(logged, split, tensors["split"]).astype(tensors["split"].dtype)
        found.append((f"block {i + 1}", {"window": [float(begin), float(end)]}, {"split": split}))
    return found


def walked(tables: Path, data: Path, models: Mapping[str, Model], seed: int) -> Block:
    """Whether each contender gave the dispatcher's choice, over the decisions of a block of all projects of a log.

    Models answer as ``infer coordination`` does, with the log as evidence.
    """
    begin, end = manifests.read(data, "tensors", {})["window"]
    runs = read_table(tables, "runs")
    found = assignment.logs([] if runs is None else runs.to_pylist(), least=2)
    whole = [log.until(end) for log in found]
    kept = [(log, np.array([begin <= d.at for d in log.decisions], bool)) for log in whole]
    kept = [(log, rows) for log, rows in kept if rows.any()]
    hits: dict[str, list[Array]] = {}

    def score(name: str, log: assignment.Log, rows: Array, probabilities: Array) -> None:
        hits.setdefault(name, []).append((probabilities.argmax(axis=1) == log.chosen)[rows].astype(np.float64))

    for log, rows in kept:
        for name in assignment.RULES:
            score(name, log, rows, assignment.rule(name, log))
        for name, model in models.items():
            score(name, log, rows, assignment.evidenced(ranker.shipped(), log, assignment.answered(model, log)))
    before = [log.until(begin) for log in found]
    places = sorted(d.at for log in before for d in log.decisions)
    tuned = places[int(len(places) * _TUNED)]
    earlier = [log.until(tuned) for log in before]
    boosting = assignment.Boosting(history=True, seed=seed).fit(
        [log for log in earlier if log.decisions],
        [(log, len(e.decisions)) for log, e in zip(before, earlier, strict=True)],
    )
    for log, rows in kept:
        score("LightGBM", log, rows, boosting.probabilities(log))
    units = np.concatenate([log.sessions[rows] for log, rows in kept])
    measure = "share of the dispatcher's choices"
    return Block(measure, True, units, {name: np.concatenate(values) for name, values in hits.items()})
