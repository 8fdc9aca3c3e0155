"""Forecasting an agent's run from its first steps: will it fail, and how many steps are left.

The prediction network reads the steps so far, one token each, and a last token with what is known of the task and a
summary of the steps, which its head sees beside what the LSTM made of them. Its 7 quantiles forecast log1p of the
remaining steps, its logit the failure.

Networks of two kinds forecast together, since their errors differ: *readers* of all tokens, by an LSTM, and
*summaries*, which see the last token alone (``layers`` 0).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import ClaudeFlowError, require
from claude_flow.networks.prediction.features import QUANTILES
from claude_flow.studies.steps.encoder import LONGEST, Begun, StepEncoder

require("torch", "train")
import torch
from torch import Tensor
from torch.nn import functional

from claude_flow.nets import PredictionConfig, PredictionNet
from claude_flow.train.checkpoint import Average

__all__ = ["Forecaster", "Recipe", "fit"]

Array = NDArray[Any]

_CHUNK = 256
_LENGTHS_WEIGHT = 5.0  # the pinball loss is an order smaller than the cross-entropy


@dataclass(frozen=True)
class Recipe:
    """Sizes of the training; the same for every data set."""

    members: int = 2  # of each kind
    width: int = 48
    hidden: int = 64
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    decay: float = 0.98  # a step, of the average of the weights, which is what is judged and kept
    validation: float = 0.1  # share of the tasks, for choosing the epoch


@dataclass(frozen=True)
class Forecaster:
    """Trained networks with their encoder; their forecasts are averaged. ``middle`` and ``spread`` scale the target.

    Of a training two epochs are kept: failures are over-learned long before lengths are learned.
    """

    encoder: StepEncoder
    failure: list[PredictionNet]  # these logits are used
    remaining: list[PredictionNet]  # and these quantiles
    middle: float
    spread: float

    def forecast(self, runs: Sequence[Begun]) -> tuple[Array, Array]:
        """The probability of failure ``[n]`` and the quantiles of log1p of the remaining steps ``[n, 7]``."""
        tokens = [self.encoder.tokens(run) for run in runs]
        logit = _mean(self.failure, tokens)[:, -1]
        quantiles = _mean(self.remaining, tokens)[:, :-1]
        return 1 / (1 + np.exp(-logit)), quantiles * self.spread + self.middle + _seen(runs)[:, None]


def fit(
    runs: Sequence[Begun],
    failed: Array,
    remaining: Array,
    tasks: Sequence[str],
    seed: int,
    recipe: Recipe | None = None,
) -> Forecaster:
    """Learn from runs cut short, whether each failed ``[n]``, its remaining steps ``[n]`` and its task.

    Each network sets a share of the tasks aside, and keeps the epoch that forecasts them best.

    :raises InputError: no runs. :raises ClaudeFlowError: the training diverged.
    """
    recipe = recipe or Recipe()
    encoder = StepEncoder.fit(runs)
    wanted = np.log1p(remaining.astype(np.float64)) - _seen(runs)
    middle, spread = float(wanted.mean()), max(float(wanted.std()), 1e-6)
    tokens = [encoder.tokens(run) for run in runs]
    targets = np.stack([(wanted - middle) / spread, failed.astype(np.float64)], axis=1).astype(np.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the steps of an LSTM are too small to share
    try:
        members = [
            _learn(tokens, targets, np.asarray(tasks), np.random.default_rng([seed, member, layers]), recipe, layers)
            for member in range(recipe.members)
            for layers in (1, 0)
        ]
    finally:
        torch.set_num_threads(threads)
    return Forecaster(encoder, [m[0] for m in members], [m[1] for m in members], middle, spread)


def _learn(
    tokens: list[NDArray[np.float32]],
    targets: Array,
    tasks: Array,
    generator: np.random.Generator,
    recipe: Recipe,
    layers: int,
) -> tuple[PredictionNet, PredictionNet]:
    """The network at its best epoch for failures, and at its best for the remaining steps; ``layers`` of LSTM."""
    names = np.unique(tasks)
    held = generator.permutation(names)[: math.ceil(recipe.validation * len(names))] if len(names) > 1 else names
    validation = np.isin(tasks, held)
    training = np.flatnonzero(~validation if not validation.all() else validation)
    tokens = _shown(tokens, layers)
    judged = _padded([tokens[i] for i in np.flatnonzero(validation)])
    truth = torch.from_numpy(targets[validation])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**31)))
        width, heads = tokens[0].shape[1], (1, len(QUANTILES))
        sizes = PredictionConfig(width, recipe.width, layers, *heads, LONGEST + 1, recipe.dropout, recipe.hidden)
        network = PredictionNet(sizes)
        average = Average(network, recipe.decay)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        total = recipe.epochs * math.ceil(len(training) / recipe.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=total)
        best, taken = [math.inf, math.inf], 0
        kept = [copy.deepcopy(network) for _ in best]
        for _ in range(recipe.epochs):
            for rows in _alike(training, tokens, generator, recipe.batch):
                x, lengths = _padded([tokens[i] for i in rows])
                parts = _losses(network(x, lengths), torch.from_numpy(targets[rows]))
                loss = parts[0] + _LENGTHS_WEIGHT * parts[1]
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                taken += 1
                average.update(network, taken)
            with torch.no_grad():
                values = [float(part) for part in _losses(average.module(*judged), truth)]
            if not all(map(math.isfinite, values)):
                raise ClaudeFlowError(f"the losses became {values}: the runs cannot be learned")
            for part, value in enumerate(values):
                if value < best[part]:
                    best[part] = value
                    kept[part].load_state_dict(average.module.state_dict())
    return kept[0].eval(), kept[1].eval()


def _seen(runs: Sequence[Begun]) -> Array:
    """log1p of the steps so far, to which forecasts are relative: "as many again" is one answer at every length."""
    return np.log1p([len(run.steps) for run in runs])


def _alike(rows: Array, tokens: list[Array], generator: np.random.Generator, batch: int) -> list[Array]:
    """Batches of sequences of about the same length, in random order: less padding."""
    lengths = np.array([len(tokens[i]) for i in rows]) + generator.uniform(0, 8, len(rows))
    ordered = rows[np.argsort(lengths)]
    batches = np.array_split(ordered, math.ceil(len(rows) / batch))
    return [batches[i] for i in generator.permutation(len(batches))]


def _padded(sequences: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    lengths = [len(sequence) for sequence in sequences]
    x = np.zeros((len(sequences), max(lengths), sequences[0].shape[1]), np.float32)
    for row, sequence in enumerate(sequences):
        x[row, : len(sequence)] = sequence
    return torch.from_numpy(x), torch.tensor(lengths)


def _shown(tokens: list[NDArray[np.float32]], layers: int) -> list[NDArray[np.float32]]:
    """What a network with so many layers of LSTM sees of the tokens."""
    return tokens if layers else [token[-1:] for token in tokens]


def _mean(networks: list[PredictionNet], tokens: list[NDArray[np.float32]]) -> Array:
    found = []
    with torch.no_grad():
        for member in networks:
            x, lengths = _padded(_shown(tokens, member.config.layers))
            parts = [member(x[i : i + _CHUNK], lengths[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)]
            found.append(torch.cat(parts).numpy())
    mean: Array = np.mean(found, axis=0)
    return mean


def _losses(raw: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the failure, and mean pinball loss of the quantiles."""
    gap = targets[:, :1] - raw[:, :-1]
    levels = torch.tensor(QUANTILES)
    pinball = torch.maximum(levels * gap, (levels - 1) * gap).mean()
    return functional.binary_cross_entropy_with_logits(raw[:, -1], targets[:, 1]), pinball
