"""Reinforcement learning: the decision engine learns by acting in an environment, through the one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from claude_flow import environments, networks, registry
from claude_flow.errors import InputError
from claude_flow.networks.action.config import STREAMS
from claude_flow.networks.action.learn import EXPLORATIONS, Data, Settings
from claude_flow.networks.action.rollouts import Rollouts
from claude_flow.train import config as training
from claude_flow.train.hooks import Hook
from claude_flow.train.loop import EpochProgress
from claude_flow.train.run import Trained, train

__all__ = ["AGENTS", "ALGORITHMS", "check", "reinforcement"]

#: ways of learning
ALGORITHMS: dict[str, type[Data]] = {"q-learning": Data, "rollouts": Rollouts}

#: what the decision engine sees beside the swarm's own numbers: name -> streams that are hidden from it
AGENTS: dict[str, tuple[str, ...]] = {
    "coordination-network": (),
    "state-features": tuple(name for name in STREAMS if name != "state"),
}


class Exploration(Hook):
    """Logs training rewards and epsilon apart from what is judged; keeps both counts over an interruption.

    The memory of past decisions is not kept: a resumed run fills a new one, with the weights and the epsilon it had.
    """

    def __init__(self, data: Data) -> None:
        self._data = data
        self.about = {"name": "reinforcement", "data": type(data).__name__, **asdict(data.settings)}
        self.about["hidden"] = list(data.settings.hidden)

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        """Add the mean reward of the latest training episodes, epsilon and how many episodes there were."""
        data = self._data
        if data.rewards:
            metrics["training-reward"] = float(np.mean(data.rewards))
        metrics |= {"epsilon": data.epsilon, "episodes": float(data.played)}

    def state(self) -> dict[str, Any]:
        """Updates and episodes so far, and what the way of learning keeps."""
        return {"updates": self._data.updates, "played": self._data.played, **self._data.kept()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._data.updates, self._data.played = state["updates"], state["played"]
        self._data.resume(state)


def check(environment: str, agent: str, reward: str, exploration: str, algorithm: str) -> None:
    """Refuse unknown names: :class:`claude_flow.errors.InputError` with near matches."""
    environments.check("environment", environment, environments.ENVIRONMENTS)
    environments.check("agent", agent, AGENTS)
    environments.check("reward function", reward, environments.REWARDS)
    environments.check("exploration strategy", exploration, EXPLORATIONS)
    environments.check("algorithm", algorithm, ALGORITHMS)


def reinforcement(
    name: str,
    *,
    environment: str = "swarm-coordination-env",
    agent: str = "coordination-network",
    reward: str = "efficiency-improvement",
    exploration: str = "epsilon-greedy",
    algorithm: str = "q-learning",
    episodes: int = 10_000,
    update_frequency: int = 100,
    learning_rate: float = 7e-4,
    seeds: Sequence[int] = (0,),
    time_budget: float | None = None,
    resume: bool = False,
    world: str = "simulated",
    progress: Callable[[int], EpochProgress] = lambda seed: lambda *told: None,
) -> list[Trained]:
    """Train once per seed; every run becomes a version of the model ``name``, which then means the best of them.

    The policy is judged every ``update_frequency`` episodes, on episodes that are never trained on; a run's best
    checkpoint counts, and so the best run, by the same validation episodes. Test episodes are in the card alone.
    """
    check(environment, agent, reward, exploration, algorithm)
    if world in environments.RECORDED:
        raise InputError(
            f"in the world {world!r} one chooses among rows, not commands: its learned policies are scorers "
            "(make worlds, docs/worlds.md)"
        )
    if not world.endswith(".json"):
        environments.check("world", world, environments.WORLDS)
    environments.fitted.named(world)
    torch.set_num_threads(min(torch.get_num_threads(), 2))
    epochs = math.ceil(episodes / update_frequency)
    document = {
        "action-training": {
            "epochs": epochs,
            "batch-size": 128,
            "learning-rate": {"initial": learning_rate, "schedule": "constant", "warmup-steps": 100},
            "regularization": {"weight-decay": 0.0001},
            "ema-decay": 0.998,
        }
    }
    config = training.parse(document, "action")
    judged = 20 if time_budget is None or time_budget >= 60 else max(2, int(time_budget) // 3)
    runs = []
    for seed in seeds:
        data = ALGORITHMS[algorithm](
            Settings(
                reward=reward,
                world=world,
                exploration=exploration,
                episodes=min(update_frequency, episodes),
                hidden=AGENTS[agent],
                judged=judged,
                seed=seed,
                rounds=14 if time_budget is None else max(1, min(14, int(time_budget) // 30)),
            )
        )
        trained = train(
            networks.get("action").name,
            config,
            data,
            name,
            seed=seed,
            time_budget=None if time_budget is None else time_budget / len(seeds),
            resume=resume,
            checkpoint_interval=1,
            distributed="off",
            device="cpu",
            progress=progress(seed),
            hooks=[Exploration(data)],
        )
        if trained is not None:
            runs.append(trained)
    if len(runs) > 1:
        best = max(runs, key=_validation)
        registry.point(name, best.version, f"the best of {len(runs)} seeds on the validation episodes")
        runs.sort(key=lambda run: run is not best)
    return runs


def _validation(run: Trained) -> float:
    return -float(min(run.card["history"]["validation-loss"]))
