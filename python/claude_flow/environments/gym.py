"""``swarm-coordination-env`` as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.observe import FEATURES
from claude_flow.environments.rewards import REWARDS
from claude_flow.environments.swarm import ACTIONS, DEFER, Swarm
from claude_flow.environments.world import WORLDS
from claude_flow.errors import require

gymnasium: Any = require("gymnasium", "rl")

__all__ = ["SwarmEnv"]

_STEPS = 1000  # an episode at most


class SwarmEnv(gymnasium.Env):  # type: ignore[misc]
    """A swarm in which tasks arrive; an action is a command of :data:`~claude_flow.environments.swarm.ACTIONS`.

    Observations are the numbers of :data:`~claude_flow.environments.observe.FEATURES`, float32 ``[30]``.
    ``info["action_mask"]`` (int8 ``[13]``) and :meth:`action_masks` say which commands are legal; another one counts as
    ``defer``, or as the first legal one. The same seed gives the same episode.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, world: str = "simulated", reward: str = "efficiency-improvement") -> None:
        self.observation_space = gymnasium.spaces.Box(-4.0, 4.0, (len(FEATURES),), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))
        self.swarm = Swarm(WORLDS[world], 0)
        self._world, self._reward, self._steps = WORLDS[world], REWARDS[reward].of, 0
        self._mask = self.swarm.mask()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin another episode."""
        super().reset(seed=seed)
        self.swarm = Swarm(self._world, int(self.np_random.integers(2**31)))
        self._steps = 0
        return self._observation(), {"action_mask": self._legal()}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Carry a command out, and go on to the next decision."""
        action = int(action)
        if not self._mask[action]:
            action = DEFER if self._mask[DEFER] else self._mask.index(True)
        reward = self._reward(self.swarm.step(action))
        self._steps += 1
        over = self.swarm.over
        info = {"action_mask": self._legal()}
        return self._observation(), float(reward), over, self._steps >= _STEPS and not over, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which commands are legal now, as sb3-contrib asks."""
        return np.array(self._mask)

    def _legal(self) -> NDArray[np.int8]:
        self._mask = self.swarm.mask()
        return np.array(self._mask, np.int8)

    def _observation(self) -> NDArray[np.float32]:
        return np.array(self.swarm.observe(), np.float32)
