"""``swarm-coordination-env`` as Gymnasium environments: of commands, and of choices among jobs or agents."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from claude_flow.environments.jobs import JobsWorld
from claude_flow.environments.observe import FEATURES, SWARM
from claude_flow.environments.replay import ReplayWorld
from claude_flow.environments.rewards import REWARDS, Happened
from claude_flow.environments.swarm import ACTIONS, DEFER, Swarm
from claude_flow.environments.world import World
from claude_flow.errors import require

gymnasium: Any = require("gymnasium", "rl")

__all__ = ["ChoiceEnv", "SwarmEnv"]


class _Env(gymnasium.Env):  # type: ignore[misc]
    """What both have in common: an illegal action counts as to wait, or as the first legal one."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    _most: int  # steps of an episode
    _wait: int  # the action
    _mask: list[bool]

    def __init__(self, world: Any, reward: str, shape: tuple[int, ...], actions: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-4.0, 4.0, shape, np.float32)
        self.action_space = gymnasium.spaces.Discrete(actions)
        self.world, self._reward, self._steps = world, REWARDS[reward].of, 0
        self._begin(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin another episode."""
        super().reset(seed=seed)
        self._begin(int(self.np_random.integers(2**31)))
        self._steps = 0
        return self._observation(), {"action_mask": np.array(self._mask, np.int8)}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Carry an action out, and go on to the next decision."""
        action = int(action)
        if not self._mask[action]:
            action = self._wait if self._mask[self._wait] else self._mask.index(True)
        reward = self._reward(self._act(action))
        self._steps += 1
        cut = self._steps >= self._most and not self.over
        return self._observation(), float(reward), self.over, cut, {"action_mask": np.array(self._mask, np.int8)}

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal now, as sb3-contrib asks."""
        return np.array(self._mask)

    @property
    def over(self) -> bool:
        """Whether the episode is."""
        raise NotImplementedError

    def _begin(self, seed: int) -> None:
        raise NotImplementedError

    def _act(self, action: int) -> Happened:
        raise NotImplementedError

    def _observation(self) -> NDArray[np.float32]:
        raise NotImplementedError


class SwarmEnv(_Env):
    """A swarm in which tasks arrive; an action is a command of :data:`~claude_flow.environments.swarm.ACTIONS`.

    Observations are the thirty numbers of :data:`~claude_flow.environments.observe.SWARM`, float32; with ``pairs`` all
    of :data:`~claude_flow.environments.observe.FEATURES`, which take twice as long.
    ``info["action_mask"]`` (int8 ``[13]``) and :meth:`action_masks` say which commands are legal; another one counts as
    ``defer``, or as the first legal one. The same seed gives the same episode.
    """

    _most, _wait = 1000, DEFER

    def __init__(self, world: World, reward: str = "efficiency-improvement", pairs: bool = False) -> None:
        self._pairs = pairs
        super().__init__(world, reward, (len(FEATURES if pairs else SWARM),), len(ACTIONS))

    @property
    def over(self) -> bool:
        """Whether all work is done."""
        return self.swarm.over

    def _begin(self, seed: int) -> None:
        self.swarm = Swarm(self.world, seed)
        self._mask = self.swarm.mask()

    def _act(self, action: int) -> Happened:
        happened = self.swarm.carry_out(action)  # step() has seen that it is legal
        self._mask = self.swarm.mask()
        return happened

    def _observation(self) -> NDArray[np.float32]:
        return np.array(self.swarm.observe(self._pairs), np.float32)


class ChoiceEnv(_Env):
    """A recorded world, in which an action chooses a row: a job that gets an executor, or an agent that gets a task.

    Observations are float32 ``[rows, features]``, zeros where nothing can be chosen; the last action waits for the next
    event. ``info["action_mask"]`` is int8 ``[rows + 1]``.
    """

    _most = 200_000

    def __init__(self, world: JobsWorld | ReplayWorld, reward: str = "efficiency-improvement") -> None:
        self._wait = world.rows
        super().__init__(world, reward, (world.rows, world.columns), world.rows + 1)

    @property
    def over(self) -> bool:
        """Whether all is done."""
        return bool(self.episode.over)

    def _begin(self, seed: int) -> None:
        self.episode: Any = self.world.begin(seed)
        self._look()

    def _act(self, action: int) -> Happened:
        happened: Happened = self.episode.step(None if action == self._wait else self._rows[action])
        self._look()
        return happened

    def _look(self) -> None:
        self._rows = {} if self.over else self.episode.rows()
        self._mask = [False] * self._wait + [not self.over and self.episode.may_wait]
        for row in self._rows:
            self._mask[row] = True

    def _observation(self) -> NDArray[np.float32]:
        found = np.zeros(self.observation_space.shape, np.float32)
        if self._rows:
            found[list(self._rows)] = self.episode.features(list(self._rows.values()))
        return found.clip(-4.0, 4.0)
