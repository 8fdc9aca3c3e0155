"""The rival of sb3-contrib: an agent that learns by proximal policy optimization under action masks.

It sees the swarm's numbers, those of pairs included, and plays training episodes alone (``pip install
'claude-flow[peers]'``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import environments
from claude_flow.environments.rules import Policy
from claude_flow.environments.swarm import Swarm

__all__ = ["KEPT", "learned"]

KEPT = Path(__file__).parents[1] / "build" / "maskable-ppo.zip"  # a run that came to its end is not repeated
_AT_ONCE, _SEED = 16, 10_000_000


def learned(reward: str, steps: int) -> Policy:
    """An agent that has taken so many steps of the environment in training."""
    from sb3_contrib import MaskablePPO

    if not KEPT.is_file():
        from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

        make = partial(environments.make, reward=reward, pairs=True)
        envs: Any = VecNormalize(DummyVecEnv([make] * _AT_ONCE), norm_obs=False, gamma=0.995)
        envs.seed(_SEED)
        agent = MaskablePPO(
            "MlpPolicy", envs, n_steps=256, batch_size=256, gamma=0.995, ent_coef=0.005, n_epochs=5, seed=0,
            policy_kwargs={"net_arch": [128, 128]}, device="cpu",
        )  # fmt: skip
        agent.learn(steps)
        KEPT.parent.mkdir(exist_ok=True)
        agent.save(KEPT)
    agent = MaskablePPO.load(KEPT, device="cpu")

    def policy(swarm: Swarm) -> int:
        seen = np.clip(np.array(swarm.observe(), np.float32), -4, 4)
        action, _ = agent.predict(seen, deterministic=True, action_masks=np.array(swarm.mask()))
        return int(action)

    return policy
