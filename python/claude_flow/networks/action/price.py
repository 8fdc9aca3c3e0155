"""What an assignment costs, and what it costs to be wrong: prices of the user's, chances and times of the log's.

Each pending task has a plan: the cheapest agent whose chance to do it is within :data:`WITHIN` of the best one's does
it in one shot; or a cheaper one goes first, and that agent follows where the user's own check rejects the work, if this
costs less on average. How often such a check errs is not known here: ``claude-flow neural benchmark --prices``
estimates it from runs of known outcome.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import registry, schema
from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

__all__ = ["WITHIN", "plans"]

WITHIN = 0.01
_PRIOR = 4.0  # runs: a kind of task is drawn towards all of the agent's type, and that towards everybody's
_Option = tuple[str, str, float, float | None]  # an agent's id, type, price, chance
_PRICES = schema.Table(schema.Number(0))


@dataclass(frozen=True)
class _Known:
    """Of a log: outcomes and seconds by agent type, and outcomes by agent type and kind of task."""

    runs: int
    outcomes: Mapping[str, Sequence[bool]]
    kinds: Mapping[tuple[str, str], Sequence[bool]]
    seconds: Mapping[str, Sequence[float]]

    def chance(self, kind: str, task: str) -> float | None:
        """That a run of this type of agent succeeds; None where no outcome of the type is known."""
        if not self.outcomes.get(kind):
            return None
        everybody = [outcome for own in self.outcomes.values() for outcome in own]
        of_type = _drawn(self.outcomes[kind], float(np.mean(everybody)))
        return _drawn(self.kinds.get((kind, task), ()), of_type)


def _drawn(outcomes: Sequence[bool], towards: float) -> float:
    return (sum(outcomes) + _PRIOR * towards) / (len(outcomes) + _PRIOR)


def plans(asked: Mapping[str, Any], prices: Any, context: str | None) -> dict[str, Any]:
    """For each pending task whom to try first and then, with chance, cost, and the price of being wrong.

    Args:
        asked: a checked swarm.
        prices: USD per run by agent, by its id or its type.
        context: the log to go by, as ``historical_context`` of coordination.

    Raises:
        InputError: a price is no number from 0 on, names nobody of the swarm, or nobody has one.
    """
    table = schema.check(prices, _PRICES, "prices")
    agents = asked["current-agents"]
    names = {agent["id"] for agent in agents} | {agent["type"] for agent in agents if agent.get("type")}
    for name in table:
        if name not in names:
            raise InputError(f"prices.{name}: no agent of the swarm has this id or type{did_you_mean(name, names)}")
    price = {a["id"]: table.get(a["id"], table.get(a.get("type") or "")) for a in agents}
    able = [agent for agent in agents if price[agent["id"]] is not None]
    if not able:
        raise InputError("prices: name the USD per run of at least one agent, by its id or its type")
    known, rests_on = _of_log(context)
    found = []
    for task in asked["pending-tasks"]:
        options: list[_Option] = []
        for agent in able:
            kind = agent.get("type") or ""
            options.append((agent["id"], kind, float(price[agent["id"]]), known.chance(kind, task.get("type") or "")))
        found.append(_plan(task["id"], options, known))
    unpriced = [agent["id"] for agent in agents if price[agent["id"]] is None]
    return {"rests_on": rests_on, "plans": found, "unpriced": unpriced}


def _plan(task: str, options: Sequence[_Option], known: _Known) -> dict[str, Any]:
    """One task's. Without any known chance the cheapest goes first, and what fails the dearest does anew."""
    chances = [chance for *_, chance in options if chance is not None]
    good = [o for o in options if o[3] is not None and o[3] >= max(chances) - WITHIN] if chances else list(options)
    single = min(good, key=lambda o: (o[2], o[0]))
    # Cheap first pays where what is saved when it holds outweighs what is paid twice when it does not.
    best: tuple[_Option, _Option | None] = (single, None)
    cost = single[2]
    for first in options:
        if first[3] is not None and first[2] < single[2] and first[2] + (1 - first[3]) * single[2] < cost:
            best, cost = (first, single), first[2] + (1 - first[3]) * single[2]
    first, second = best
    again = second or max(options, key=lambda o: (o[3] or 0.0, o[2]))
    seconds, chance = known.seconds.get(first[1]), first[3]
    return {
        "task": task,
        "policy": "one shot" if second is None else "cheap first",
        "first": first[0],
        "then": None if second is None else second[0],
        "chance": None if chance is None else round(chance, 4),
        "seconds": round(float(np.median(seconds)), 1) if seconds else None,
        "expected_cost": round(cost, 4),
        "cost_if_wrong": round(first[2] + again[2], 4),
        "price_of_being_wrong": None if chance is None else round((1 - chance) * again[2], 4),
    }


def _of_log(context: str | None) -> tuple[_Known, str]:
    from claude_flow.data import views  # a tenth of a command's start

    if context == "none" or (context is None and not (registry.workspace() / "datasets" / views.TABLES_NAME).is_dir()):
        return _Known(0, {}, {}, {}), "the prices alone: no log says who succeeds (claude-flow neural data collect)"
    folder = views.find(context or views.TABLES_NAME).folder
    path = folder / "runs.parquet"
    known = _read(folder, path.stat().st_mtime_ns if path.exists() else 0)
    told = sum(map(len, known.outcomes.values()))
    if not told:
        nothing = "none of known outcome (claude-flow neural record-outcome)"
        return known, f"the prices and {known.runs} runs of {folder.name}, {nothing}"
    return known, f"the prices and {folder.name}: {told} of {known.runs} runs have a known outcome"


@lru_cache(maxsize=4)
def _read(folder: Path, written: int) -> _Known:
    from claude_flow.data.tables import read_table

    table = read_table(folder, "runs")
    outcomes, kinds = defaultdict(list), defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    rows = [] if table is None else table.select(["agent_type", "task_type", "success", "duration_s"]).to_pylist()
    for run in rows:
        kind = run["agent_type"]
        if kind and run["success"] is not None:
            outcomes[kind].append(bool(run["success"]))
            kinds[kind, run["task_type"] or ""].append(bool(run["success"]))
        if kind and run["duration_s"] is not None:
            seconds[kind].append(float(run["duration_s"]))
    return _Known(len(rows), dict(outcomes), dict(kinds), dict(seconds))
