"""What people call the inputs of a coordination network, and which of them they may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from claude_flow import modelfile
from claude_flow.model import Model
from claude_flow.networks.coordination.features import GROUPS as SLOTS
from claude_flow.networks.coordination.features import NUMBERS, PRIORITIES, Encoder, parse_request
from claude_flow.networks.inputs import Item, Knob, Part, numbers

__all__ = ["GROUPS", "Reader", "decided", "tokens"]

#: group of inputs -> kind of token
GROUPS = {"agent-properties": "agent", "task-attributes": "task", "system-state": "state"}
_SIZES = {
    "size of the swarm": [NUMBERS["agents (log)"], NUMBERS["tasks (log)"]],
    "mean and largest load": [NUMBERS["mean load"], NUMBERS["largest load"]],
}
_LATENCY_MS = 1000.0  # the largest network latency that a change may ask for


def tokens(batch: Mapping[str, Any], item: int) -> list[str]:
    """Names of the tokens of an item of a training batch, in their order."""
    agents, tasks = int(batch["agents"][item]), int(batch["tasks"][item])
    return ["state", *(f"agent {i + 1}" for i in range(agents)), *(f"task {i + 1}" for i in range(tasks))]


class Reader:
    """Reads requests as one model does."""

    def __init__(self, model: Model) -> None:
        self._encoder = Encoder.from_schema(model.features)
        self._most = int(model.config["max_tokens"])
        self._commands = np.array(modelfile.read(model.path).tensors["commands"])
        self._names = tuple(model.config["commands"])

    def item(self, request: Any) -> Item:
        """The request as the network sees it; a decision is a task's choice among the agents and the commands."""
        swarm = parse_request(request, self._most)
        agents, tasks = (tuple(row["id"] for row in rows) for rows in (swarm.agents, swarm.tasks))
        rows = [("state", "system"), *(("agent", a) for a in agents), *(("task", t) for t in tasks)]
        x = self._encoder.swarm(swarm)[0]
        slots = {**SLOTS, "state": {**SLOTS["state"], **_SIZES}}
        group = {kind: name for name, kind in GROUPS.items()}
        parts = [
            Part(group[kind], name, f"{kind} {who}", token, numbers(own))
            for token, (kind, who) in enumerate(rows)
            for name, own in slots[kind].items()
        ]
        commands, first = self._commands, 1 + len(agents)

        def scores(y: Any, xp: Any) -> Any:
            of_tasks = y[:, first : first + len(tasks)]
            to_commands = of_tasks @ xp.asarray(commands, dtype=y.dtype).T
            pointers = of_tasks @ y[:, 1:first].swapaxes(1, 2)
            return xp.concatenate([pointers, to_commands], 2) * y.shape[2] ** -0.5

        return Item(
            request,
            x,
            ("state", *(f"agent {a}" for a in agents), *(f"task {t}" for t in tasks)),
            tuple(kind for kind, _ in rows),
            tuple(parts),
            tasks,
            (*agents, *self._names),
            scores,
            x.shape,
        )

    def changed(self, item: Item, request: Any) -> Item:
        """The item of ``request``, which is ``item``'s with other values of its :meth:`knobs`.

        A token is made anew where its agent or task is another object than before; the rest is as it was.
        """
        x, first = item.x.copy(), 1
        for key, encode in (("current-agents", self._encoder.agent), ("pending-tasks", self._encoder.task)):
            rows = request[key]
            for i, (row, before) in enumerate(zip(rows, item.request[key], strict=True)):
                if row is not before:
                    x[first + i] = encode(row)
            first += len(rows)
        tasks = len(request["pending-tasks"])
        x[0] = self._encoder.state(request.get("system-state") or {}, request["current-agents"], tasks)
        return replace(item, request=request, x=x)

    def knobs(self, item: Item) -> list[Knob]:
        """What a request may say otherwise: load, track record, priority, complexity, state of the system."""
        made = []
        for i, agent in enumerate(item.request["current-agents"]):
            path: tuple[str | int, ...] = ("current-agents", i)
            made.append(Knob(f"load of {agent['id']}", (*path, "load"), agent.get("load")))
            record = agent.get("track-record")
            if record:
                path = (*path, "track-record", "success-rate")
                made.append(Knob(f"success rate of {agent['id']}", path, record["success-rate"]))
        for i, task in enumerate(item.request["pending-tasks"]):
            path, priority = ("pending-tasks", i), task.get("priority")
            words = () if isinstance(priority, int | float) else tuple(PRIORITIES)
            made.append(Knob(f"priority of {task['id']}", (*path, "priority"), priority, words=words))
            made.append(Knob(f"complexity of {task['id']}", (*path, "complexity"), task.get("complexity")))
        state = item.request.get("system-state") or {}
        made += [Knob(name, ("system-state", name), state.get(name)) for name in ("memory-usage", "cpu-usage")]
        latency = state.get("network-latency")
        high = max(_LATENCY_MS, float(latency or 0))
        made.append(Knob("network-latency", ("system-state", "network-latency"), latency, high=high, log=True))
        return made


def decided(answer: Mapping[str, Any]) -> dict[str, str]:
    """What an answer of ``infer`` decided: task -> agent or command."""
    return {a["task"]: a["agent"] or a["decision"] for a in answer["assignments"]}
