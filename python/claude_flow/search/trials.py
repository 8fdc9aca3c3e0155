"""The trials of one strategy, kept in a SQLite study: what is tried next follows from the seed and what was found."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from claude_flow.errors import InputError, require
from claude_flow.search import screen
from claude_flow.search.candidate import Candidate, Measured, Setting, space
from claude_flow.search.front import hypervolume
from claude_flow.search.gauge import Gauge
from claude_flow.search.training import Learned, Rungs, begin_worker, trained

__all__ = ["STRATEGIES", "Trials", "workers"]

HALVING = "successive-halving"
STRATEGIES = ("evolutionary", "random", HALVING)
_PROPOSED = 24  # architectures of which one is trained
_HOPELESS = 5  # candidates, none of which could be trained
#: (sizes, seconds, hook) of candidates -> what each learned
Train = Callable[[Sequence[tuple[Any, ...]]], list[Learned]]


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[Train]:
    """So many processes that train candidates beside each other; one candidate at a time trains in this process."""
    if jobs == 1:
        yield lambda work: [trained(*one) for one in work]
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), begin_worker) as pool:
        yield lambda work: list(pool.map(trained, *zip(*work, strict=True)))


class Trials:
    """Asks for candidates and keeps what they came to.

    Every trial has a sampler of its own, seeded by the search's seed and how many trials there were: a search that was
    interrupted goes on as if it had not been. A trial that was interrupted does not count.

    Args:
        setting: what candidates share.
        strategy: one of :data:`STRATEGIES`.
        storage: the SQLite file.
        gauge: measures them.
        population: of a generation.
        seed: of the search and the trainings.
        resume: go on with the study of this strategy and seed; it is begun anew otherwise.
    """

    def __init__(
        self, setting: Setting, strategy: str, storage: str, gauge: Gauge, population: int, seed: int, resume: bool
    ) -> None:
        self._optuna: Any = require("optuna", "nas")
        self._setting, self._strategy, self._gauge = setting, strategy, gauge
        self._population, self._seed = population, seed
        self._draw = space(setting.network)
        name = f"{setting.network} {strategy} {seed}"
        if not resume:
            with contextlib.suppress(KeyError):
                self._optuna.delete_study(study_name=name, storage=storage)
        both = ["minimize", "minimize"]
        self._study = self._optuna.create_study(
            directions=both, storage=storage, study_name=name, load_if_exists=resume
        )
        state = self._optuna.trial.TrialState
        for trial in self._study.trials:  # what an interruption left
            if not trial.state.is_finished():
                self._study.tell(self._study.ask() if trial.state == state.WAITING else trial.number, state=state.FAIL)

    def _counted(self) -> list[Any]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if "epochs" in trial.user_attrs]

    @property
    def count(self) -> int:
        """Trials that ended."""
        return len(self._counted())

    @property
    def spent(self) -> int:
        """The epochs that they had; a candidate that does not train counts as one that does."""
        return sum(trial.user_attrs["epochs"] for trial in self._counted())

    def trained(self) -> list[Candidate]:
        """Those that were trained to the end."""
        return [_candidate(trial) for trial in self._counted() if trial.values is not None]

    def front(self) -> list[Candidate]:
        """Those of them that no other is better than in loss and latency both."""
        return [_candidate(trial) for trial in self._study.best_trials]

    def step(self, train: Train, count: int, seconds: float | None) -> None:
        """Ask for so many candidates, train them beside each other and keep what they came to.

        Raises:
            InputError: nothing can be trained here.
        """
        asked: list[tuple[Any, dict[str, Any]]] = []
        believed: list[Candidate] = []
        begun = self.count
        for _ in range(count):
            trial, believed_now = self._ask(begun + len(asked), believed)
            try:
                sizes = self._draw(trial)
                self._gauge.latency(sizes)
            except InputError as error:
                begun += 1
                self._fail(trial, str(error))
                continue
            asked.append((trial, sizes))
            believed += believed_now
        hooks = [self._rungs(sizes) for _, sizes in asked]
        work = [
            (self._setting, sizes, self._seed, seconds, hook) for (_, sizes), hook in zip(asked, hooks, strict=True)
        ]
        for (trial, sizes), learned in zip(asked, train(work) if work else [], strict=True):
            if learned.error is not None:
                self._fail(trial, learned.error)
                continue
            trial.set_user_attr("sizes", sizes)
            trial.set_user_attr("rungs", [[rung, loss] for rung, loss in learned.reached.items()])
            if learned.metric is None:
                trial.set_user_attr("epochs", max(learned.reached))
                self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
                continue
            found = Measured(learned.metric, learned.loss, **self._gauge.taken(sizes))
            trial.set_user_attr("measured", vars(found))
            trial.set_user_attr("epochs", self._setting.epochs)
            self._study.tell(trial, [found.loss, found.latency])

    def _fail(self, trial: Any, error: str) -> None:
        trial.set_user_attr("error", error)
        trial.set_user_attr("epochs", self._setting.epochs)
        self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        if self.count >= _HOPELESS and not self.trained():
            raise InputError(f"no architecture of the space can be trained here: {error}")

    def _ask(self, number: int, believed: Sequence[Candidate]) -> tuple[Any, list[Candidate]]:
        """A trial, and what is believed of it until it is trained."""
        samplers = self._optuna.samplers
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._strategy != "evolutionary":
            self._study.sampler = samplers.RandomSampler(seed=seed)
            return self._study.ask(), []
        self._study.sampler = samplers.NSGAIISampler(population_size=self._population, seed=seed)
        tried = self.trained()
        found = self._screened(self._study.sampler, [*tried, *believed]) if len(tried) >= screen.AFTER else None
        if found is None:
            return self._study.ask(), []
        params, candidate = found
        self._study.enqueue_trial(params)
        return self._study.ask(), [candidate]

    def _screened(self, sampler: Any, tried: Sequence[Candidate]) -> tuple[dict[str, Any], Candidate] | None:
        """The most promising of what NSGA-II would try next, which is new; None where there is nothing new."""
        proposals = self._optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        proposals.add_trials([trial for trial in self._counted() if trial.values is not None])
        ended = [trial.user_attrs["sizes"] for trial in self._counted() if "sizes" in trial.user_attrs]
        known = {json.dumps(sizes, sort_keys=True) for sizes in [*ended, *(candidate.sizes for candidate in tried)]}
        new: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {}
        for _ in range(_PROPOSED):
            trial = proposals.ask()
            with contextlib.suppress(InputError):  # sizes that do not fit together
                sizes = self._draw(trial)
                if (key := json.dumps(sizes, sort_keys=True)) not in known:
                    new.setdefault(key, (dict(trial.params), sizes, self._gauge.latency(sizes)))
        if not new:
            return None
        params, sizes, latencies = zip(*new.values(), strict=True)
        best, loss = screen.choose(sizes, latencies, tried, hypervolume)
        return params[best], Candidate(sizes[best], Measured(loss, loss, latencies[best], 0.0, 0.0))

    def _rungs(self, sizes: dict[str, Any]) -> Rungs | None:
        if self._strategy == "random":
            return None
        others: dict[int, list[tuple[float, float]]] = {}
        for trial in self._counted():
            for rung, loss in trial.user_attrs.get("rungs", ()):
                others.setdefault(rung, []).append((loss, self._gauge.latency(trial.user_attrs["sizes"])))
        return Rungs(self._setting, self._gauge.latency(sizes), others)


def _candidate(trial: Any) -> Candidate:
    return Candidate(trial.user_attrs["sizes"], Measured(**trial.user_attrs["measured"]))
