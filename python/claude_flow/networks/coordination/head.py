"""The pointer head: from a coordination network's token outputs to who takes which task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from claude_flow.errors import InputError
from claude_flow.model import Decision

__all__ = ["Head"]


class Head:
    """score(task, agent) = <out_task, out_agent> / sqrt(width), over the item's agents and the command embeddings of
    the file; then a softmax at the calibrated temperature. :class:`InputError` for a file where they do not fit."""

    def __init__(self, path: Path, file: Any) -> None:
        commands, names = file.tensors.get("commands"), file.config.get("commands")
        if (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or commands is None
            or commands.dtype != np.float32
            or commands.shape != (len(names), file.config.get("output_width"))
        ):
            raise InputError(f"{path}: the command embeddings do not fit the configuration; the file is damaged")
        temperature = file.calibration.get("temperature", 1.0)
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 1e-6 < temperature < 1e6:
            raise InputError(
                f"{path}: calibration.temperature is {temperature!r}, not a positive number; calibrate again"
            )
        self._commands, self._names, self._temperature = commands, names, float(temperature)

    def decide(
        self,
        run: Callable[[NDArray[np.float32], NDArray[np.int32]], NDArray[np.float32]],
        x: NDArray[np.float32],
        agents: ArrayLike,
        tasks: ArrayLike,
    ) -> Decision:
        """The choices of a batch ``x [B, T, 512]``; see :meth:`claude_flow.model.Model.decide`."""
        batch, tokens = x.shape[:2]
        agents, tasks = (np.broadcast_to(np.asarray(n, np.int32), (batch,)) for n in (agents, tasks))
        lengths = np.ascontiguousarray(1 + agents + tasks, np.int32)
        if agents.min() < 1 or tasks.min() < 1 or lengths.max() > tokens:
            raise InputError(f"agents and tasks must be at least 1 and 1 + agents + tasks at most T = {tokens}")
        y = run(x, lengths)
        most_agents, most_tasks = int(agents.max()), int(tasks.max())
        task_index = np.arange(most_tasks)
        rows = np.minimum(1 + agents[:, None] + task_index, tokens - 1)
        task_out = np.take_along_axis(y, rows[:, :, None], axis=1)
        pointers = task_out @ y[:, 1 : 1 + most_agents].transpose(0, 2, 1)
        scores = np.concatenate([pointers, task_out @ self._commands.T], axis=2) * np.float32(y.shape[2] ** -0.5)
        scores[:, :, :most_agents][
            np.broadcast_to(np.arange(most_agents) >= agents[:, None, None], pointers.shape)
        ] = -np.inf
        heat = scores / np.float32(self._temperature)
        weights = np.exp(heat - heat.max(axis=2, keepdims=True))
        probabilities = weights / weights.sum(axis=2, keepdims=True)
        probabilities *= (task_index < tasks[:, None])[:, :, None]
        return Decision(scores, probabilities.astype(np.float32), tuple(self._names))
