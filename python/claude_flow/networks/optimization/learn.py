"""Training data, loss and judgement of the optimization network.

The network's 128 outputs are utilities times :data:`SCALE`: for every move, the expected gain in log units of what
the request asks for (``objective.py`` beside this file). Requests rarely name everything, so training hides
inputs at random: the network then learns the expectation over what it is not told, which is also the best ranking on
average.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow import nets
from claude_flow.data.tensors import Rows, shards
from claude_flow.errors import InputError
from claude_flow.networks.optimization import prepare
from claude_flow.networks.optimization.features import GROUPS, Encoder
from claude_flow.networks.optimization.rules import rule_scores

__all__ = ["SCALE", "Data", "distillation", "hide", "move_ranks", "ranking_metrics"]

Floats = NDArray[np.float32]

SCALE = 10.0  # outputs per unit of utility: most gains are 0.01 to 0.5, outputs then spread around 1
_TEMPERATURE = 0.05  # of the listwise term, in utility: gains this close to the best count almost as much
_LISTWISE = 1.0  # weight of the listwise term beside the squared error
_USUAL = ("throughput", "latency", "error-rate", "resource-utilization", "queue-time", "cost", "memory", "cpu-usage")
_CHUNK = 8192
#: Confidence is calibrated apart for requests that know little and much (edges of the number of known inputs): one
#: curve for all promised 0.78 to requests of up to 8 inputs, of whose first recommendations 0.70 helped.
_KNOWN_INPUTS = (1, 9, 21, 61, 123)
_FEWEST = 20  # rows of the validation and the test split


def hide(encoder: Encoder, inputs: Floats, generator: np.random.Generator) -> Floats:
    """A copy of ``inputs [n, 256]`` with fields hidden, as requests do.

    A sixth of the rows stay whole; a third keep only a few of the metrics that every dashboard has, and more than half
    of those nothing about settings and workload; in the rest each group of fields keeps a share of its own. Limits and
    targets are wishes, not measurements: they stay.
    """
    rows = len(inputs)
    kind = generator.random(rows)
    few, whole = kind < 1 / 3, kind >= 5 / 6
    bare = generator.random((rows, 1)) < 0.6
    keep = np.ones((rows, len(encoder.fields)), dtype=bool)
    members = {g: np.array([i for i, f in enumerate(encoder.fields) if f.group == g]) for g in GROUPS[:3]}
    for group, places in members.items():
        usual = np.array([group == GROUPS[0] and encoder.fields[i].name in _USUAL for i in places])
        share = generator.random((rows, 1))
        sparse = np.where(usual, 0.6, np.where(bare, 0.0, 0.3 * share))
        likelihood = np.where(few[:, None], sparse, share)
        kept = generator.random((rows, len(places))) < likelihood
        keep[:, places] = kept | whole[:, None]
    nothing = ~keep[:, members[GROUPS[0]]].any(axis=1)
    keep[nothing, encoder.slots("current-performance.latency")[0] // 2] = True
    hidden: Floats = inputs.copy()
    hidden[:, : 2 * len(encoder.fields)] *= np.repeat(keep, 2, axis=1)
    return hidden


def move_ranks(scores: NDArray[Any], utilities: Floats) -> dict[str, NDArray[np.float64]]:
    """How well ``scores [n, 128]`` rank moves of ``utilities [n, 128]``, row by row; see :func:`ranking_metrics`."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(utilities, order, axis=1)
    best = utilities.max(axis=1)
    centre = (utilities.shape[1] - 1) / 2.0
    score_ranks = order.argsort(axis=1) - centre
    utility_ranks = np.argsort(-utilities, axis=1, kind="stable").argsort(axis=1) - centre
    values = {
        "regret-at-1": best - ranked[:, 0],
        "regret-at-5": best - ranked[:, :5].max(axis=1),
        "hit-at-5": ranked[:, :5].max(axis=1) >= best,
        "gain-at-1": ranked[:, 0],
        "helpful-at-1": ranked[:, 0] > 0,
        "spearman": (score_ranks * utility_ranks).sum(axis=1) / (score_ranks**2).sum(axis=1),
    }
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def ranking_metrics(scores: NDArray[Any], utilities: Floats) -> dict[str, float]:
    """How well ``scores [n, 128]`` rank moves of ``utilities [n, 128]``, on average.

    ``regret-at-k``: mean utility lost, in log units, by the best of the first k against the best of all;
    ``hit-at-5``: share of rows whose best move is among the first five; ``gain-at-1``: mean utility of the first;
    ``helpful-at-1``: share of rows where it is above 0; ``spearman``: mean rank correlation over the 128 moves.
    """
    return {name: float(np.mean(value)) for name, value in move_ranks(scores, utilities).items()}


class Data:
    """Simulated swarms of a preprocessed data set, split by family of work; see ``train.loop.Data``."""

    splits = ("train", "validation", "test")

    def __init__(self, encoder: Encoder, parts: dict[str, tuple[Rows, Rows]], families: dict[str, list[str]]) -> None:
        self.encoder = encoder
        self.families = families
        self._everything: tuple[Rows, Rows] = parts["train"]
        self._families: dict[str, NDArray[np.intp]] = {}  # rows of everything by family
        self._train = parts["train"]  # stays in the files; what is judged every epoch is read once
        self._whole = {
            name: (np.asarray(inputs), np.asarray(utilities))
            for name, (inputs, utilities) in parts.items()
            if name != "train"
        }
        # Judged on one fixed hiding per split, so that epochs and baselines are comparable.
        self._judged = {
            name: (hide(encoder, inputs, np.random.default_rng(7)), utilities)
            for name, (inputs, utilities) in self._whole.items()
        }

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> Data:
        """Read the shards; ``validation_split`` is the share of the families, chosen by ``seed``, to validate on."""
        manifest = prepare.read_manifest(path)
        stored = shards(path, manifest["shards"], {"family": (), "inputs": (256,), "utilities": (128,)})
        family = np.asarray(stored["family"])
        held_out = manifest["test_families"]
        rest = np.setdiff1d(np.arange(len(manifest["families"])), held_out)
        count = min(max(1, round(validation_split * len(rest))), len(rest) - 1)
        validation = np.random.default_rng(seed).choice(rest, count, replace=False)
        members = {"train": np.setdiff1d(rest, validation), "validation": validation, "test": np.array(held_out)}
        parts = {}
        for name, chosen in members.items():
            rows = np.flatnonzero(np.isin(family, chosen))
            parts[name] = (stored["inputs"].take(rows), stored["utilities"].take(rows))
        fewest = min(len(parts["validation"][0]), len(parts["test"][0]))
        if fewest < _FEWEST:
            raise InputError(
                f"{path}: only {fewest} swarms to validate or test on, {_FEWEST} are needed; simulate more: "
                "claude-flow neural data preprocess --dataset simulator --simulate 20000"
            )
        names = {name: [manifest["families"][i] for i in sorted(chosen)] for name, chosen in members.items()}
        data = cls(Encoder.from_schema(manifest["schema"]), parts, names)
        data._everything = stored["inputs"], stored["utilities"]
        data._families = {name: np.flatnonzero(family == i) for i, name in enumerate(manifest["families"])}
        return data

    def whole(self, split: str) -> tuple[Floats, Floats]:
        """Inputs and utilities of a split, nothing hidden, in memory."""
        inputs, utilities = self._train if split == "train" else self._whole[split]
        return inputs[:], utilities[:]

    def sizes(self) -> dict[str, int]:
        """Rows of each split."""
        return {"train": len(self._train[0]), **{split: len(inputs) for split, (inputs, _) in self._whole.items()}}

    def judged(self, split: str) -> tuple[Floats, Floats]:
        """Inputs as requests hide them, always in the same way, and utilities of validation or test."""
        return self._judged[split]

    def parts(self) -> dict[str, Data]:
        """The data by family of work, the largest first; each judges itself on a fifth of its own rows."""
        found = {}
        for name, rows in sorted(self._families.items(), key=lambda item: -len(item[1])):
            inputs, utilities = self._everything
            part = copy.copy(self)
            late = np.arange(len(rows)) % 5 == 4
            part._train = inputs.take(rows[~late]), utilities.take(rows[~late])
            whole = inputs.take(rows[late])[:], utilities.take(rows[late])[:]
            hidden = hide(self.encoder, whole[0], np.random.default_rng(7)), whole[1]
            part._whole = dict.fromkeys(("validation", "test"), whole)
            part._judged = dict.fromkeys(("validation", "test"), hidden)
            found[name] = part
        return found

    def module(self, config: dict[str, Any]) -> nn.Module:
        return nets.create("optimization", config)

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        inputs, utilities = self._train if split == "train" else self._whole[split]
        order = generator.permutation(len(inputs))
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            yield {
                "inputs": torch.from_numpy(hide(self.encoder, inputs[rows], generator)),
                "utilities": torch.from_numpy(utilities[rows]),
            }

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Squared error of the utilities plus the listwise cross-entropy of their softmaxes."""
        return _loss(module(batch["inputs"]), batch["utilities"])

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """``loss`` and :func:`ranking_metrics` on the split's hidden inputs; ``-whole`` with everything known."""
        hidden, utilities = self._judged[split]
        scores = self._scores(module, hidden)
        whole = ranking_metrics(self._scores(module, self._whole[split][0]), utilities)
        return {
            "loss": float(_loss(torch.from_numpy(scores), torch.from_numpy(utilities))),
            **ranking_metrics(scores, utilities),
            "regret-at-1-whole": whole["regret-at-1"],
            "spearman-whole": whole["spearman"],
        }

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """The same metrics of: a random order, hand-written rules, the training split's mean utilities as one fixed
        ranking, and a ridge regression from all the inputs."""
        inputs, utilities = self._judged[split]
        whole = self._whole[split][0]
        noise = np.random.default_rng(11).random(utilities.shape)
        mean, ridge = self._fitted()
        constant = np.broadcast_to(mean, utilities.shape)
        scores = {
            "random": (noise, noise),
            "rule-based": (rule_scores(self.encoder, inputs), rule_scores(self.encoder, whole)),
            "best-constant": (constant, constant),
            "linear": (_with_one(inputs) @ ridge, _with_one(whole) @ ridge),
        }
        found = {}
        for name, (hidden_scores, whole_scores) in scores.items():
            on_whole = ranking_metrics(whole_scores, utilities)
            found[name] = {
                **ranking_metrics(hidden_scores, utilities),
                "regret-at-1-whole": on_whole["regret-at-1"],
                "spearman-whole": on_whole["spearman"],
            }
        return found

    def _fitted(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean utilities ``[128]`` of the training split, and the weights ``[257, 128]`` of a ridge regression
        (penalty 10, with an intercept) from its hidden inputs; one stretch of the rows is in memory at a time."""
        inputs, utilities = self._train
        generator = np.random.default_rng(13)
        gram = 10.0 * np.eye(inputs.shape[1] + 1)
        moment = np.zeros((inputs.shape[1] + 1, utilities.shape[1]))
        for first in range(0, len(inputs), _CHUNK):
            rows = slice(first, first + _CHUNK)
            x = _with_one(hide(self.encoder, inputs[rows], generator))
            gram += x.T @ x
            moment += x.T @ utilities[rows]
        total = moment[-1]  # the intercept's column is 1: its moments are sums
        return total / len(inputs), np.asarray(np.linalg.solve(gram, moment))

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """Feature schema, confidence curves (fitted on half the validation rows, checked on the rest), card lines."""
        whole, utilities = self._whole["validation"]
        generator = np.random.default_rng(17)
        hidings = max(4, 2000 // len(whole) + 1)  # enough that every curve gets rows, however small the split
        inputs = np.concatenate([hide(self.encoder, whole, generator) for _ in range(hidings)])
        utilities = np.concatenate([utilities] * hidings)
        scores = self._scores(module, inputs) / SCALE
        known = inputs[:, 1 : 2 * len(self.encoder.fields) : 2].sum(axis=1)
        fitted = np.tile(np.arange(len(whole)) % 2 == 0, hidings)
        curves: list[dict[str, Any]] = []
        errors = {}
        for least, below in pairwise(_KNOWN_INPUTS):
            alike = (known >= least) & (known < below)
            curve = _confidence_curve(*_leading(scores[fitted & alike], utilities[fitted & alike]))
            curves.append({"known_inputs_from": least, **curve})
            score, helped = _leading(scores[~fitted & alike], utilities[~fitted & alike])
            confidence = np.interp(score, curve["scores"], curve["probabilities"])
            errors[f"from {least} known inputs"] = round(_calibration_error(confidence, helped), 4)
        return {
            "features": self.encoder.schema(),
            "calibration": {"scale": SCALE, "confidence": curves},
            "card": {
                "families": self.families,
                "training_data": "simulated swarms (optimization/simulator.py): no real log holds these labels",
                "confidence_error": errors,
            },
        }

    def _scores(self, module: nn.Module, inputs: Floats) -> Floats:
        device = next(module.parameters()).device
        with torch.no_grad():
            chunks = [
                module(torch.from_numpy(inputs[i : i + _CHUNK]).to(device)).cpu() for i in range(0, len(inputs), _CHUNK)
            ]
        scores: Floats = torch.cat(chunks).numpy()
        return scores


def _loss(outputs: Tensor, utilities: Tensor) -> Tensor:
    squared = (outputs - utilities * SCALE).square().mean()
    wanted = torch.softmax(utilities / _TEMPERATURE, dim=1)
    listwise = -(wanted * torch.log_softmax(outputs / (SCALE * _TEMPERATURE), dim=1)).sum(dim=1).mean()
    return squared + _LISTWISE * listwise


def distillation(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor], temperature: float) -> Tensor:
    """Squared distance of the scores, plus the divergence of their softmaxes at ``temperature``, times its square."""
    ours, theirs = student(batch["inputs"]), teacher(batch["inputs"])
    heat = SCALE * _TEMPERATURE * temperature
    mine, wanted = torch.log_softmax(ours / heat, dim=1), torch.log_softmax(theirs / heat, dim=1)
    divergence = (wanted.exp() * (wanted - mine)).sum(dim=1).mean()
    loss: Tensor = (ours - theirs).square().mean() + _LISTWISE * temperature**2 * divergence
    return loss


def _with_one(inputs: Floats) -> NDArray[np.float64]:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)


def _leading(scores: Floats, utilities: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores of each row's ten highest moves, and whether each helped: what a user gets to see."""
    top = np.argsort(-scores, axis=1)[:, :10]
    return np.take_along_axis(scores, top, axis=1).ravel(), np.take_along_axis(utilities, top, axis=1).ravel() > 0


def _confidence_curve(scores: Floats, helped: NDArray[np.bool_], bins: int = 32) -> dict[str, list[float]]:
    """P(the move improves the objective | its score): isotonic regression over equal-count bins of the scores.

    Returned as the knots of a non-decreasing, piecewise linear curve.
    """
    order = np.argsort(scores, kind="stable")
    blocks = [
        [float(scores[part].mean()), float(helped[part].mean()), float(len(part))]
        for part in np.array_split(order, min(bins, len(order)))
    ]
    pooled: list[list[float]] = []
    for block in blocks:  # pool adjacent violators
        pooled.append(block)
        while len(pooled) > 1 and pooled[-2][1] >= pooled[-1][1]:
            (s1, p1, n1), (s2, p2, n2) = pooled[-2], pooled.pop()
            pooled[-1] = [(s1 * n1 + s2 * n2) / (n1 + n2), (p1 * n1 + p2 * n2) / (n1 + n2), n1 + n2]
    return {"scores": [round(s, 6) for s, _, _ in pooled], "probabilities": [round(p, 4) for _, p, _ in pooled]}


def _calibration_error(confidence: NDArray[Any], helped: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten equal-width bins."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [
        abs(confidence[bins == b].mean() - helped[bins == b].mean()) * (bins == b).mean()
        for b in range(10)
        if (bins == b).any()
    ]
    return float(np.sum(gaps))
