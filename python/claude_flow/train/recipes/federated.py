"""Federated learning: participants train on their own data, a server averages what they learned (McMahan et al. 2017).

``fedprox`` keeps local weights near the round's (Li et al. 2018, arXiv 1812.06127); ``fedadam`` steps by Adam on the
mean update (Reddi et al. 2020, arXiv 2003.00295); ``median`` and ``trimmed-mean`` bear poisoned participants (Yin et
al. 2018, arXiv 1803.01498), and leave out those whose update is far from all others'.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import temporary_folder
from claude_flow.train import loop
from claude_flow.train.config import TrainingConfig
from claude_flow.train.hooks import Hook
from claude_flow.train.recipes.privacy import Private, masked_sum, noise_for

__all__ = [
    "STRATEGIES",
    "Federation",
    "Participant",
    "aggregate",
    "alike",
    "kinds",
    "participants",
    "private",
    "suspects",
]

STRATEGIES = ("weighted-average", "fedadam", "fedprox", "median", "trimmed-mean")
ROBUST = ("median", "trimmed-mean")
RATE = 1e-3  # of learning, where the configuration has none: a range test by each participant would differ
_TRIM = 0.2  # of the values of a weight, at either end
_FAR = 3.0  # times the median distance to the median: this participant is named
Vector = NDArray[np.float64]
Weights = dict[str, Tensor]


@dataclass
class Participant:
    """One who trains on data that stays with it. ``size`` is its number of training examples."""

    name: str
    data: Any
    size: int


class _Local:
    """A participant's data as the loop takes it, judged by nothing: the federation judges after the round."""

    splits = ("train", "validation")

    def __init__(self, data: Any, name: str) -> None:
        self._data, self.fingerprint = data, name
        self.module, self.batches, self.loss = data.module, data.batches, data.loss

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """Nothing: every epoch counts, the last one is kept."""
        return {"loss": 0.0}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """None."""
        return {}

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """None: no file of this run is kept."""
        return {}


class _Keep(Hook):
    """Holds the last epoch's weights."""

    about = {"name": "keep"}  # noqa: RUF012

    def __init__(self) -> None:
        self.weights: Weights = {}

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        """Copy them."""
        self.weights = {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}


class _Proximal(Hook):
    """Adds ``strength / 2 * |w - w0|**2``."""

    def __init__(self, start: Weights, strength: float) -> None:
        self.about = {"name": "proximal", "strength": strength}
        self._start, self._strength = start, strength

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The batch's loss plus the pull."""
        gaps = [(p - self._start[name].to(p.device)).square().sum() for name, p in module.named_parameters()]
        return compute() + 0.5 * self._strength * torch.stack(gaps).sum()


def aggregate(updates: NDArray[np.float64], sizes: Sequence[int], strategy: str, left_out: int = 0) -> Vector:
    """One update out of ``updates [participants, weights]``; ``left_out`` others, far from all, are known as poison
    and count as trimmed.

    >>> aggregate(np.array([[0.0], [1.0], [100.0]]), [1, 1, 1], "median").tolist()
    [1.0]
    >>> aggregate(np.array([[0.0], [3.0]]), [1, 2], "weighted-average").tolist()
    [2.0]
    """
    if strategy == "median":
        return np.asarray(np.median(updates, axis=0))
    if strategy == "trimmed-mean":
        cut = max(0, int(np.ceil(_TRIM * (len(updates) + left_out))) - left_out) if len(updates) > 2 else 0
        return np.asarray(np.sort(updates, axis=0)[cut : len(updates) - cut].mean(axis=0))
    share = np.asarray(sizes, np.float64)
    return np.asarray((share / share.sum()) @ updates)


def suspects(updates: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """The participants whose update lies further from the median one than three times the median distance."""
    if len(updates) < 3:
        return []
    distance = np.linalg.norm(updates - np.median(updates, axis=0), axis=1)
    return [name for name, d in zip(names, distance, strict=True) if d > _FAR * max(float(np.median(distance)), 1e-12)]


@dataclass
class Federation:
    """The rounds of one federation; :meth:`run` goes on where ``state`` stands."""

    network: str
    config: TrainingConfig
    participants: list[Participant]
    strategy: str = "weighted-average"
    local_epochs: int = 5
    seed: int = 0
    private: Callable[[Participant], Private] | None = None
    secure: bool = False
    proximal: float = 0.01
    state: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise InputError(f"aggregation-strategy {self.strategy!r}: it is one of {', '.join(STRATEGIES)}")
        if len(self.participants) < 2:
            raise InputError("a federation needs two participants at least")
        if self.secure and self.strategy in ROBUST:
            raise InputError(
                f"{self.strategy} must see every update, and secure aggregation hides them: use weighted-average, "
                "or --privacy-preserving false"
            )
        self._secrets = {p.name: self.private(p) for p in self.participants} if self.private else {}

    @property
    def epsilon(self) -> dict[str, float]:
        """Participant -> epsilon of its examples so far."""
        return {name: secret.epsilon for name, secret in self._secrets.items()}

    def run(
        self,
        start: Weights,
        rounds: int,
        *,
        deadline: float = float("inf"),
        progress: Callable[[int, int, dict[str, Any]], None] = lambda done, of, entry: None,
        save: Callable[[dict[str, Any]], None] = lambda state: None,
    ) -> tuple[Weights, str]:
        """The weights of the best round by the participants' own validation parts, and why it ended.

        A participant that fails in a round is left out of it and named in ``history``; all failing is an error.
        """
        names = [name for name, t in start.items() if t.is_floating_point()]
        state = self.state or {"round": 0, "weights": start, "best": start, "best_loss": float("inf"), "adam": {}}
        while state["round"] < rounds:
            if state["round"] and time.monotonic() > deadline:  # a first round leaves a model, however short the time
                return state["best"], "time budget used up"
            before = _flat(state["weights"], names)
            after, absent = self.trained(state["weights"], state["round"], deadline)
            updates, present = [], []
            for participant in self.participants:
                if participant.name in after:
                    update = _flat(after[participant.name], names) - before
                    if np.isfinite(update).all():
                        updates.append(update)
                        present.append(participant)
                    else:
                        absent[participant.name] = "its weights are not finite"
            if not updates:
                raise ClaudeFlowError(
                    f"no participant finished round {state['round'] + 1}: {next(iter(absent.values()))}"
                )
            stacked, sizes = np.stack(updates), [p.size for p in present]
            far = [] if self.secure else suspects(stacked, [p.name for p in present])
            if self.secure:
                step = masked_sum(stacked, sizes, self.seed + state["round"])
            elif self.strategy in ROBUST:
                near = [place for place, member in enumerate(present) if member.name not in far]
                step = aggregate(stacked[near], [sizes[place] for place in near], self.strategy, len(far))
            else:
                step = aggregate(stacked, sizes, self.strategy)
            if self.strategy == "fedadam":
                step = _adam(state["adam"], step, state["round"] + 1)
            state["weights"] = _unflat(before + step, state["weights"], names)
            loss = self.judge(state["weights"])
            state["round"] += 1
            mean = float(np.average(list(loss.values()), weights=[p.size for p in self.participants if p.name in loss]))
            if mean < state["best_loss"]:
                state["best_loss"], state["best"] = mean, state["weights"]
            entry = {"round": state["round"], "loss": mean, "losses": loss, "absent": absent, "suspects": far}
            self.history.append(entry)
            progress(state["round"], rounds, entry)
            save(state)
        return state["best"], "all rounds done"

    def trained(self, weights: Weights, number: int, deadline: float) -> tuple[dict[str, Weights], dict[str, str]]:
        """What every participant made of ``weights`` in round ``number`` (from 0); who failed, and why."""
        after, absent = {}, {}
        for place, participant in enumerate(self.participants):
            left = (deadline - time.monotonic()) / (len(self.participants) - place)
            try:
                after[participant.name] = self.locally(participant, weights, number, left)
            except (ClaudeFlowError, OSError) as error:
                absent[participant.name] = str(error)
        return after, absent

    def judge(self, weights: Weights) -> dict[str, float]:
        """Every participant's validation loss under ``weights``; of those who can be asked."""
        found = {}
        for participant in self.participants:
            module = participant.data.module(self.config.network)
            module.load_state_dict(weights)
            module.eval()
            with torch.no_grad():
                found[participant.name] = float(participant.data.metrics(module, "validation")["loss"])
        return found

    def locally(self, participant: Participant, weights: Weights, number: int, seconds: float) -> Weights:
        """The participant's weights after its local epochs."""
        keep = _Keep()
        hooks: list[Hook] = [keep]
        if self.strategy == "fedprox":
            hooks.append(_Proximal(weights, self.proximal))
        if participant.name in self._secrets:
            hooks.append(self._secrets[participant.name])
        config = copy.copy(self.config)
        config.epochs, config.patience, config.schedule, config.warmup_steps = self.local_epochs, None, "constant", 0
        config.monitor = "validation-loss"
        with temporary_folder() as scratch:
            loop.fit(
                self.network,
                config,
                _Local(participant.data, participant.name),
                scratch,
                seed=self.seed * 10_007 + number,
                start=weights,
                hooks=hooks,
                distributed="off",
                time_budget=None if np.isinf(seconds) else max(0.2, seconds),
                store=False,
            )
        return keep.weights


def _flat(weights: Mapping[str, Tensor], names: Sequence[str]) -> Vector:
    return np.concatenate([weights[name].detach().double().numpy().ravel() for name in names])


def _unflat(vector: Vector, like: Mapping[str, Tensor], names: Sequence[str]) -> Weights:
    found, at = dict(like), 0
    for name in names:
        size = like[name].numel()
        found[name] = torch.from_numpy(vector[at : at + size]).to(like[name].dtype).view_as(like[name]).clone()
        at += size
    return found


def _adam(state: dict[str, Any], update: Vector, step: int, rate: float = 0.01, tau: float = 1e-3) -> Vector:
    """FedAdam's server step on the mean update, with beta 0.9 and 0.99."""
    first = 0.9 * np.asarray(state.get("first", np.zeros_like(update))) + 0.1 * update
    second = 0.99 * np.asarray(state.get("second", np.zeros_like(update))) + 0.01 * np.square(update)
    state["first"], state["second"] = first, second
    corrected = first / (1 - 0.9**step)
    return np.asarray(rate * corrected / (np.sqrt(second / (1 - 0.99**step)) + tau))


def participants(parts: Mapping[str, Any], names: Sequence[str], batch_size: int) -> Iterator[Participant]:
    """The parts of a data set as participants: the largest is the first name, and so on."""
    for name, data in zip(names, parts.values(), strict=False):
        size = sum(len(next(iter(b.values()))) for b in data.batches("train", batch_size, np.random.default_rng(0)))
        yield Participant(name, data, size)


def private(
    member: Participant, config: TrainingConfig, rounds: int, local_epochs: int, seed: int, epsilon: float, clip: float
) -> Private:
    """What keeps a participant's examples ``epsilon``-private over all rounds, at delta = 1 / n^1.1."""
    rate = min(1.0, config.batch_size / max(1, member.size))
    delta = 1 / max(10, member.size) ** 1.1
    noise = noise_for(epsilon, delta, rate, rounds * local_epochs * math.ceil(1 / rate))
    return Private(member.data.loss, noise=noise, clip=clip, sample_rate=rate, delta=delta, seed=seed)


def kinds(features: Any) -> Any:
    """A feature schema without its numbers, which are each participant's own: names and choices.

    >>> kinds({"normalization": "z-score", "mean": [0.5, 2.0], "names": ["a"]})
    {'normalization': 'z-score', 'names': ['a']}
    """
    if isinstance(features, Mapping):
        found = {key: kinds(value) for key, value in features.items()}
        return {key: value for key, value in found.items() if value not in (None, [], {})}
    if isinstance(features, list | tuple):
        return [value for value in map(kinds, features) if value not in (None, [], {})]
    return features if isinstance(features, str | bool) else None


def alike(features: Mapping[str, Any]) -> None:
    """Refuse participants (name -> what :func:`kinds` says) whose features differ: one network cannot serve both."""
    (first, own), *others = features.items()
    for name, theirs in others:
        for key in sorted({*own, *theirs}):
            if own.get(key) != theirs.get(key):
                a, b = (str(side.get(key, "nothing"))[:60] for side in (own, theirs))
                raise InputError(
                    f"participants {first} and {name} have different features, {key} is {a} and {b}: "
                    "preprocess both with the same options"
                )
