"""Coordination's training data, loss and measures: episodes, expected regret, and the baselines beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from claude_flow import nets
from claude_flow.networks.coordination import prepare
from claude_flow.networks.coordination.features import FEATURES, NUMBERS, PAST, TEXT, Encoder, History
from claude_flow.networks.coordination.prepare import TEST, TRAIN
from claude_flow.networks.coordination.scenarios import COMMANDS

__all__ = ["Data", "Episode", "Pool", "distillation", "rule_scores"]

VALIDATION = 2
_MOST_TASKS = 12
_GROUPS = 10  # of simulated swarms
#: Share of measured training episodes without texts and numbers: a few hundred tasks are soon learnt by heart.
BLANKED = 0.5
_TEXTS = range(TEXT.start, PAST.stop)
#: Of the Boltzmann distribution that the cross-entropy aims at: utilities 0.1 apart differ by a factor e.
TEMPERATURE = 0.1
Array = NDArray[np.float32]
Picker = Callable[["Episode"], NDArray[np.float64]]


@dataclass
class Pool:
    """Agents that compete for tasks; see :mod:`claude_flow.networks.coordination.prepare`."""

    name: str
    mode: str
    state: Array
    agents: Array
    tasks: Array
    utility: Array  # [tasks, agents + commands]
    times: NDArray[np.float64]  # start and end of each task, seconds, NaN = unknown
    split: NDArray[np.int32]


@dataclass
class Episode:
    """One decision: tokens ``[T, 512]`` and the utility ``[tasks, agents + commands]`` of every choice."""

    tokens: Array
    utility: Array
    past: History
    mode: str
    pool: Pool
    rows: NDArray[np.intp]  # the tasks and the agents in the pool
    who: NDArray[np.intp]

    @property
    def agents(self) -> int:
        return int(self.utility.shape[1]) - len(COMMANDS)


class Data:
    """Episodes of a preprocessed coordination data set (see :mod:`claude_flow.networks.coordination.prepare`).

    An episode shows some tasks of one pool, some of its agents, and the agents' history on *other* tasks: a random
    part of the training tasks for measured pools, everything that had ended before for logged ones. So the network
    learns to use a history of any size, and no outcome is ever its own evidence.
    """

    splits = ("train", "validation", "test")

    def __init__(self, pools: list[Pool], encoder: Encoder, most_tokens: int, smoothing: float = 0.0) -> None:
        self._pools, self._encoder, self._most_tokens, self._smoothing = pools, encoder, most_tokens, smoothing
        self._fixed: dict[str, list[Episode]] = {}

    @classmethod
    def load(cls, path: Path, validation_split: float, seed: int, config: dict[str, Any]) -> Data:
        manifest, tensors = prepare.load(path)  # views: what an episode shows is copied when it is made
        generator = np.random.default_rng([seed, 77])
        pools, agent, task, cell = [], 0, 0, 0
        simulated_train = simulated = 0
        for i, entry in enumerate(manifest["pools"]):
            agents, tasks = entry["agents"], entry["tasks"]
            columns = agents + len(COMMANDS)
            split = tensors["split"][task : task + tasks].copy()
            times = tensors["times"][task : task + tasks]
            train = np.flatnonzero(split == TRAIN)
            held = round(len(train) * validation_split)
            if entry["mode"] == "logged":
                split[train[np.argsort(times[train, 0], kind="stable")][len(train) - held :]] = VALIDATION
            elif entry["mode"] == "measured":
                split[generator.permutation(train)[:held]] = VALIDATION
            elif len(train):  # whole simulated swarms go to one side
                simulated += 1
                if simulated * validation_split >= simulated - simulated_train:
                    split[:] = VALIDATION
                else:
                    simulated_train += 1
            utility = tensors["utility"][cell : cell + tasks * columns].reshape(tasks, columns)
            rows = tensors["agents"][agent : agent + agents], tensors["tasks"][task : task + tasks]
            pools.append(Pool(entry["name"], entry["mode"], tensors["state"][i], *rows, utility, times, split))
            agent, task, cell = agent + agents, task + tasks, cell + tasks * columns
        most_tokens, smoothing = int(config.get("sequence_length", 128)), float(config.get("label_smoothing", 0.0))
        return cls(pools, Encoder.from_schema(manifest["schema"]), most_tokens, smoothing)

    def parts(self) -> dict[str, Data]:
        """The data by pool, the largest first; of simulated swarms ten groups."""
        groups: dict[str, list[Pool]] = {}
        simulated = [pool for pool in self._pools if pool.mode == "simulated"]
        for pool in self._pools:
            if pool.mode != "simulated":
                groups.setdefault(pool.name, []).append(pool)
        for place, pool in enumerate(simulated):
            groups.setdefault(f"simulated-{place * _GROUPS // len(simulated)}", []).append(pool)
        found = {}
        for name, pools in sorted(groups.items(), key=lambda item: -sum(len(pool.tasks) for pool in item[1])):
            found[name] = copy.copy(self)
            found[name]._pools, found[name]._fixed = pools, {}
        return found

    def module(self, config: dict[str, Any]) -> nn.Module:
        return nets.create("coordination", {**config, "commands": list(COMMANDS)})

    # -- episodes -----------------------------------------------------------------------------------------------------

    def _episode(
        self, pool: Pool, tasks: NDArray[np.intp], agents: NDArray[np.intp], context: NDArray[np.intp]
    ) -> Episode:
        columns = np.concatenate([agents, len(pool.agents) + np.arange(len(COMMANDS))])
        past = History.of(pool.tasks[context], pool.utility[context][:, agents])
        agent_tokens = pool.agents[agents]
        if pool.mode != "simulated":
            agent_tokens = self._encoder.with_history(agent_tokens, past)
        state = pool.state.copy()
        state[NUMBERS["agents (log)"]] = np.log1p(len(agents)) / 5
        state[NUMBERS["tasks (log)"]] = np.log1p(len(tasks)) / 5
        tokens = np.concatenate([state[None], agent_tokens, pool.tasks[tasks]])
        return Episode(tokens, pool.utility[np.ix_(tasks, columns)], past, pool.mode, pool, tasks, agents)

    def _measured(self, pool: Pool, tasks: NDArray[np.intp], generator: np.random.Generator) -> Iterator[Episode]:
        train = np.flatnonzero(pool.split == TRAIN)
        tasks = generator.permutation(tasks)
        while len(tasks):
            size = int(generator.integers(1, _MOST_TASKS + 1))
            query, tasks = tasks[:size], tasks[size:]
            rest = generator.permutation(np.setdiff1d(train, query))
            context = rest[: int(len(rest) * max(0.0, generator.uniform(-0.2, 1.0)))]
            width = int(generator.integers(2, min(len(pool.agents), self._most_tokens - 1 - size) + 1))
            agents = np.sort(generator.permutation(len(pool.agents))[:width])
            episode = self._episode(pool, query, agents, context)
            if generator.random() < BLANKED:
                episode.tokens[1 + width :, [*range(FEATURES.start, FEATURES.stop), *_TEXTS]] = 0
            yield episode

    def _logged(self, pool: Pool, tasks: NDArray[np.intp]) -> Iterator[Episode]:
        """Each task at its own moment: the candidates are the agents seen by then, the history what had ended."""
        for task in tasks:
            start = pool.times[task, 0]
            context = np.flatnonzero(pool.times[:, 1] < start)
            cells = pool.utility[context][:, : len(pool.agents)]
            agents = np.flatnonzero(np.nansum(np.nan_to_num(cells), axis=0) > 0)
            got = pool.utility[task, : len(pool.agents)]
            if len(agents) >= 2 and np.isfinite(got).any() and got[agents].max() > 0:
                yield self._episode(pool, np.array([task]), agents[: self._most_tokens - 2], context)

    def episodes(self, split: str, generator: np.random.Generator) -> Iterator[Episode]:
        """One epoch's decisions of a split, in a random order."""
        code = {"train": TRAIN, "validation": VALIDATION, "test": TEST}[split]
        for i in generator.permutation(len(self._pools)):
            pool = self._pools[i]
            tasks = np.flatnonzero(pool.split == code)
            if not len(tasks):
                continue
            if pool.mode == "simulated":
                yield self._episode(pool, tasks, np.arange(len(pool.agents)), np.array([], np.intp))
            elif pool.mode == "logged":
                yield from self._logged(pool, tasks)
            elif split == "train":
                yield from self._measured(pool, tasks, generator)
            else:
                train = np.flatnonzero(pool.split == TRAIN)
                room = self._most_tokens - 1 - len(pool.agents)
                for first in range(0, len(tasks), min(_MOST_TASKS, room)):
                    query = tasks[first : first + min(_MOST_TASKS, room)]
                    yield self._episode(pool, query, np.arange(len(pool.agents)), train)

    def held_out(self, split: str) -> list[Episode]:
        """The decisions of a split that is judged: always the same ones."""
        if split not in self._fixed:
            self._fixed[split] = list(self.episodes(split, np.random.default_rng(0)))
        return self._fixed[split]

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Batches of ``x [B, T, 512]``, ``agents [B]``, ``tasks [B]``, ``utility [B, tasks, agents + commands]``
        (NaN = unknown or padding), each epoch in a new order."""
        episodes = list(self.episodes(split, generator))
        # Episodes of like size share a batch, so that little of it is padding.
        order = sorted(generator.permutation(len(episodes)), key=lambda i: len(episodes[i].tokens) // 8)
        chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        for i in generator.permutation(len(chunks)):
            yield _collate([episodes[j] for j in chunks[i]])

    # -- loss and measures --------------------------------------------------------------------------------------------

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Expected regret under the softmax, plus its cross-entropy to the Boltzmann distribution of the utilities.

        Regret alone has no gradient left where the softmax has settled on a poor choice, and settles early: on
        simulated swarms it stayed at accuracy 0.20 where the sum reaches 0.62 in 12
        epochs. The cross-entropy is convex in the scores. With label smoothing it aims at that distribution mixed with
        the uniform one over the known choices.
        """
        net: Any = module
        scores = net.scores(net(batch["x"], 1 + batch["agents"] + batch["tasks"]), batch["agents"], batch["tasks"])
        utility = _cut(batch["utility"], *scores.shape[1:])
        return (_regret(scores, utility) + _divergence(scores, utility, self._smoothing)).mean()

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """Measures on a split: ``loss`` (expected regret over all choices) and, among the agents only,
        ``coordination-accuracy`` (a best agent picked), ``regret``, ``utility``; each is the mean over the kinds of
        pool, which are also given one by one (``measured-regret`` ...)."""
        episodes = self.held_out(split)
        scores, losses = [], []
        for first in range(0, len(episodes), 64):
            batch = _collate(episodes[first : first + 64])
            place = next(module.parameters()).device
            batch = {name: t.to(place) for name, t in batch.items()}
            net: Any = module
            raw = net.scores(net(batch["x"], 1 + batch["agents"] + batch["tasks"]), batch["agents"], batch["tasks"])
            losses.append(_regret(raw, batch["utility"]).cpu().numpy())
            scores += [
                raw[i, : len(e.utility), : e.agents].cpu().numpy().astype(np.float64)
                for i, e in enumerate(episodes[first : first + 64])
            ]
        measured = _measures(episodes, scores)
        return {"loss": float(np.concatenate(losses).mean()) if losses else float("nan"), **measured}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """The same measures for ``random``, ``rule-based`` (best match of words, then least load) and
        ``best-single-agent`` (the highest mean utility so far)."""
        episodes = self.held_out(split)
        pickers: dict[str, Picker] = {
            "random": lambda e: np.zeros((len(e.utility), e.agents)),
            "rule-based": rule_scores,
            "best-single-agent": lambda e: np.tile(e.past.utility.astype(np.float64), (len(e.utility), 1)),
        }
        return {name: _measures(episodes, [pick(e) for e in episodes]) for name, pick in pickers.items()}

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """The feature schema, the softmax temperature fitted on the validation split, and the data's summary."""
        pools: dict[str, dict[str, int]] = {}
        for pool in self._pools:
            entry = pools.setdefault(pool.mode, {"pools": 0, "agents": 0, "tasks": 0})
            entry["pools"] += 1
            entry["agents"] += len(pool.agents)
            entry["tasks"] += len(pool.tasks)
        temperature = self._temperature(module)
        summary = {"pools": pools, "test_episodes": len(self.held_out("test")), "temperature": temperature}
        return {
            "features": self._encoder.schema(),
            "calibration": {"temperature": temperature},
            "card": {
                "training_data": summary,
                "sources": sorted(
                    {"simulator" if p.mode == "simulated" else p.name.split("/")[0] for p in self._pools}
                ),
                "protocol": "test part set apart before: whole simulated swarms, tasks of measured pools, the "
                "latest tasks of logs; validation, chosen likewise from the rest, sets epoch and temperature; "
                "a history holds training tasks (measured) or what had ended before the decision (logged)",
                "intended_use": "assigning a swarm's pending tasks to its agents, best beside the agents' own history",
                "limits": "simulated swarms follow written rules; where a log shows one agent per task the network "
                "imitates the dispatcher; defer, split and spawn were learned from simulated swarms",
            },
        }

    def _temperature(self, module: nn.Module) -> float:
        """The temperature under which the probability of picking a best known choice is most likely (a grid search)."""
        grid = np.geomspace(0.02, 8.0, 61)
        likelihood = np.zeros(len(grid))
        net: Any = module
        for episode in self.held_out("validation"):
            batch = _collate([episode])
            raw = net.scores(net(batch["x"]), batch["agents"], batch["tasks"])[0].double()
            utility = batch["utility"][0].double()
            known = torch.isfinite(utility)
            best = known & (utility >= torch.where(known, utility, -torch.inf).amax(1, keepdim=True) - 1e-6)
            for i, t in enumerate(grid):
                log_p = torch.log_softmax(torch.where(known, raw / t, -torch.inf), dim=1)
                rows = known.sum(1) >= 2
                likelihood[i] += torch.logsumexp(torch.where(best, log_p, -torch.inf), dim=1)[rows].sum().item()
        return round(float(grid[int(likelihood.argmax())]), 4)


def _collate(episodes: list[Episode]) -> dict[str, Tensor]:
    tokens = max(len(e.tokens) for e in episodes)
    agents = np.array([e.agents for e in episodes])
    tasks = np.array([len(e.utility) for e in episodes])
    x = np.zeros((len(episodes), tokens, episodes[0].tokens.shape[1]), np.float32)
    utility = np.full((len(episodes), tasks.max(), agents.max() + len(COMMANDS)), np.nan, np.float32)
    for i, e in enumerate(episodes):
        x[i, : len(e.tokens)] = e.tokens
        utility[i, : tasks[i], : agents[i]] = e.utility[:, : agents[i]]
        utility[i, : tasks[i], agents.max() :] = e.utility[:, agents[i] :]
    arrays = {"x": x, "agents": agents, "tasks": tasks, "utility": utility}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def distillation(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor], temperature: float) -> Tensor:
    """Divergence of the student's choices from the teacher's, over all agents and commands of every task, both at
    ``temperature``; times its square, which keeps the gradient's size (Hinton et al. 2015)."""
    logs = []
    for net in (student, teacher):
        module: Any = net
        scores = module.scores(
            module(batch["x"], 1 + batch["agents"] + batch["tasks"]), batch["agents"], batch["tasks"]
        )
        real = torch.arange(scores.shape[1], device=scores.device) < batch["tasks"][:, None]
        logs.append(torch.log_softmax(scores[real].masked_fill(scores[real] == -torch.inf, -1e9) / temperature, dim=1))
    ours, theirs = logs
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(dim=1).mean()


def _cut(utility: Tensor, tasks: int, choices: int) -> Tensor:
    """Utilities without the padding that they have where a batch was cut out of a larger one."""
    agents = choices - len(COMMANDS)
    return torch.cat([utility[:, :tasks, :agents], utility[:, :tasks, -len(COMMANDS) :]], dim=2)


def _known_rows(scores: Tensor, utility: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, utilities and which are known ``[rows, choices]`` of tasks with two known choices or more."""
    known = torch.isfinite(utility)
    rows = known.sum(dim=2) >= 2
    scores, utility, known = scores[rows], utility[rows], known[rows]
    # A large negative number instead of -inf keeps 0 * log 0 and its gradient finite.
    return torch.log_softmax(scores.masked_fill(~known, -1e9), dim=1), torch.where(known, utility, 0.0), known


def _divergence(scores: Tensor, utility: Tensor, smoothing: float) -> Tensor:
    log_p, utility, known = _known_rows(scores, utility)
    target = torch.softmax((utility / TEMPERATURE).masked_fill(~known, -1e9), dim=1)
    target = (1 - smoothing) * target + smoothing * known / known.sum(dim=1, keepdim=True)
    return -(target * log_p.masked_fill(~known, 0.0)).sum(dim=1)


def _regret(scores: Tensor, utility: Tensor) -> Tensor:
    """Expected regret ``[rows]`` of every task that has two known choices or more."""
    log_p, utility, known = _known_rows(scores, utility)
    probabilities = log_p.exp()
    best = torch.where(known, utility, -torch.inf).amax(dim=1)
    return best - (probabilities * utility).sum(dim=1)


def rule_scores(episode: Episode) -> NDArray[np.float64]:
    """What a careful person would write by hand: the agent whose type and capabilities share most words, then load."""
    agents = episode.tokens[1 : 1 + episode.agents].astype(np.float64)
    tasks = episode.tokens[1 + episode.agents :].astype(np.float64)
    scores: NDArray[np.float64] = tasks[:, TEXT] @ agents[:, TEXT].T - 0.3 * agents[:, NUMBERS["load"]]
    return scores


def _measures(episodes: list[Episode], scores: list[NDArray[np.float64]]) -> dict[str, float]:
    """Accuracy, regret and utility among the agents; equal scores share a pick evenly."""
    by_mode: dict[str, list[tuple[float, float, float]]] = {}
    for episode, score in zip(episodes, scores, strict=True):
        for utility, row in zip(episode.utility[:, : episode.agents].astype(np.float64), score, strict=True):
            known = np.isfinite(utility)
            if known.sum() < 2 or np.ptp(utility[known]) == 0:
                continue  # every choice is as good as any other: nothing to measure
            row = np.where(known, row, -np.inf)
            picked = row >= row.max() - 1e-12
            best = utility[known].max()
            hit = (utility[picked] >= best - 1e-6).mean()
            gain = utility[picked].mean()
            by_mode.setdefault(episode.mode, []).append((hit, best - gain, gain))
    result: dict[str, float] = {}
    means = {mode: np.mean(rows, axis=0) for mode, rows in by_mode.items()}
    for i, name in enumerate(("coordination-accuracy", "regret", "utility")):
        result[name] = float(np.mean([m[i] for m in means.values()])) if means else float("nan")
        result |= {f"{mode}-{name}": float(m[i]) for mode, m in means.items()}
    return result
