"""What to do now: a swarm as JSON in, an action command with instructions, adjustments and reasons out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import modelfile, networks, registry
from claude_flow.environments.pairs import pair
from claude_flow.environments.swarm import ACTIONS, DEFER
from claude_flow.errors import InputError
from claude_flow.model import Model
from claude_flow.modelfile import ModelFile
from claude_flow.networks.action.config import STREAMS
from claude_flow.networks.action.features import able, free, legal, seen
from claude_flow.networks.action.price import plans
from claude_flow.networks.action.streams import Streams, as_request, assembled, self_contained
from claude_flow.networks.coordination.answer import taken, tasks
from claude_flow.networks.coordination.features import Swarm, parse_request, parse_requests
from claude_flow.networks.network import Option

__all__ = ["EXAMPLES", "HELP", "OPTIONS", "Pipeline", "answer", "answers", "outcome", "render", "tasks", "whole"]

HELP = """\
The three networks, the integration layer and the decision engine run as one program in one call."""
EXAMPLES = (
    """\
claude-flow neural infer action \\
  --input '{
    "current-agents": [
      {"id":"arch-001","type":"architect","load":0.6,"capabilities":["design","analysis"]},
      {"id":"code-001","type":"coder","load":0.8,"capabilities":["backend","apis"]}
    ],
    "pending-tasks": [
      {"id":"task-001","type":"api-design","priority":"high","complexity":0.7},
      {"id":"task-002","type":"implementation","priority":"medium","complexity":0.8}
    ]
  }'""",
    "claude-flow neural infer action --input swarm.json --explain-decision true",
    """claude-flow neural infer action --input swarm.json --prices '{"architect": 0.9, "coder": 0.4}'""",
)
OPTIONS = (
    Option(
        "input",
        "object",
        'The swarm: "current-agents", "pending-tasks", "system-state"; or a file of it.',
        part="request",
        required=True,
    ),
    Option(
        "prices",
        "object",
        "USD per run by agent id or type: adds costs and the price of being wrong.",
        part="keyword",
    ),
    Option("historical-context", "text", "With prices: the log that says who succeeds; none: no log.", part="keyword"),
)
_COMMANDS = tuple(ACTIONS)
_TOGETHER = 128  # requests that are encoded at a time


class Pipeline:
    """Coordination, optimization, prediction, integration and decision as one program.

    >>> import claude_flow as cf
    >>> swarm = {"current-agents": [{"id": "ann", "type": "tester"}], "pending-tasks": [{"id": "t", "type": "testing"}]}
    >>> cf.Pipeline()(swarm)["command"] in cf.Pipeline.COMMANDS
    True
    """

    COMMANDS = _COMMANDS

    def __init__(self, model: Model | str | None = None) -> None:
        from claude_flow.model import load_for

        self.decision = model if isinstance(model, Model) else load_for("action", model)
        networks.get("action").check(self.decision)
        features = self.decision.features
        if features.get("commands") != list(_COMMANDS) or set(features.get("networks", ())) != {*STREAMS} - {"state"}:
            raise InputError(f"{self.decision.path}: it decides on other commands: train the model again")
        self.streams = Streams.of(self.decision)
        self.hidden = tuple(features.get("hidden", ()))
        self.model = self.decision if self.decision.backend == "torch" else assembled(self.decision, self.streams)
        self.most_tokens = int(self.streams.models["coordination"].config["max_tokens"])

    def values(self, swarms: Sequence[Swarm], batch: int | None = None) -> Any:
        """Q-values ``[n, 13]`` of checked requests: one call of the engine, or one for every ``batch`` of them."""
        if self.decision.backend == "torch":  # the reference, network by network
            return self.decision.run(self.streams.run(list(map(as_request, swarms)), self.hidden))
        inputs, lengths = self.streams.encode_many(swarms)
        return self.model.run(inputs, [lengths, None, None, None], batch=batch)

    def save(self, path: str | Path) -> None:
        """Write the program as one file, by which the JavaScript package answers alone."""
        modelfile.write(path, self_contained(self.decision, self.streams))

    def __call__(self, request: Any, *, explain: bool = False) -> dict[str, Any]:
        """The answer to a request of the guide's form; see :func:`answer`."""
        (found,) = self.answers([request], explain=explain)
        if isinstance(found, InputError):
            raise found
        return found

    def answers(
        self, requests: Sequence[Any], *, explain: bool = False, batch: int | None = None
    ) -> list[dict[str, Any] | InputError]:
        """The answers to several requests, or what is wrong with them."""
        found: list[Any] = [*parse_requests(requests, self.most_tokens)]
        good = [i for i, swarm in enumerate(found) if not isinstance(swarm, InputError)]
        good.sort(key=lambda i: len(found[i].agents) + len(found[i].tasks))
        for first in range(0, len(good), _TOGETHER):
            part = good[first : first + _TOGETHER]
            q = self.values([found[i] for i in part], batch) / self.decision.constant("scale")
            asked = [as_request(found[i]) for i in part]
            mask = np.array(list(map(legal, asked)))
            best = np.where(mask, q, -np.inf).argmax(1).tolist()
            order = np.argsort(-q, axis=1, kind="stable").tolist()
            gains = np.round((q - q[:, DEFER, None]).astype(np.float64), 4).tolist()
            shown = np.round(q.astype(np.float64), 4).tolist()
            better = (q > q[:, DEFER, None]).tolist()
            for row, i in enumerate(part):
                ranked = [k for k in order[row] if mask[row, k]]
                found[i] = self._answer(asked[row], best[row], ranked, shown[row], gains[row], better[row])
                if explain:
                    found[i]["explanation"] = self._explanation(asked[row], q[row], best[row])
        return found

    def _answer(
        self,
        asked: dict[str, Any],
        best: int,
        ranked: list[int],
        shown: list[float],
        gains: list[float],
        better: list[bool],
    ) -> dict[str, Any]:
        return {
            "network": "action",
            "model": registry.model_name(self.decision.path),
            "command": _COMMANDS[best],
            "does": ACTIONS[_COMMANDS[best]],
            "instructions": _instructions(best, asked),
            "adjustments": [
                {"command": _COMMANDS[i], "does": ACTIONS[_COMMANDS[i]], "gain": gains[i]}
                for i in ranked
                if i > DEFER and (i == best or better[i])
            ],
            "values": [{"command": _COMMANDS[i], "value": shown[i]} for i in ranked],
            "reasons": _reasons(asked, best),
            "price": None,
        }

    def _explanation(self, asked: dict[str, Any], q: Any, best: int) -> list[dict[str, Any]]:
        """How much of the command's lead over the mean one each stream makes: hidden, the engine is asked again."""
        lead, scale = q[best] - q.mean(), self.decision.constant("scale")
        found = []
        for name in STREAMS:
            without = self.decision.run(self.streams.run([asked], (*self.hidden, name)))[0] / scale
            found.append({"stream": name, "effect": _round(lead - (without[best] - without.mean()))})
        return sorted(found, key=lambda entry: -abs(float(entry["effect"])))


@lru_cache(maxsize=4)
def _pipeline(model: Model) -> Pipeline:
    return Pipeline(model)


def answer(
    model: Model,
    request: Any,
    *,
    prices: Any = None,
    historical_context: str | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """The command that the decision engine values most, as instructions to agents and adjustments of the swarm.

    ``request``: a swarm as for coordination; a task's ``features`` may say ``waiting-minutes`` and ``minutes-left``.
    ``value``s are expected rewards from here on, in the units of the reward it was trained for; an adjustment's
    ``gain`` is its value above that of doing nothing. ``explain`` adds what each network's output contributes;
    ``prices`` and ``historical_context`` add ``price``: see :mod:`claude_flow.networks.action.price`.

    Returns a JSON-ready dictionary. Raises :class:`InputError` for a request that cannot be used.
    """
    keywords = {"prices": prices, "historical_context": historical_context}
    (found,) = answers(model, [(request, keywords)], explain=explain)
    if isinstance(found, InputError):
        raise found
    return found


def answers(
    model: Model, asked: Sequence[tuple[Any, Mapping[str, Any]]], *, explain: bool = False, batch: int | None = None
) -> list[dict[str, Any] | InputError]:
    """:func:`answer` to each pair of a request and its keywords, or the error that it raises; ``batch`` requests a
    crossing into the engine."""
    pipeline = _pipeline(model)
    found = pipeline.answers([request for request, _ in asked], explain=explain, batch=batch)
    for i, (request, keywords) in enumerate(asked):
        if keywords.get("prices") is not None and not isinstance(result := found[i], InputError):
            try:
                swarm = as_request(parse_request(request, pipeline.most_tokens))
                result["price"] = plans(swarm, keywords["prices"], keywords.get("historical_context"))
            except InputError as error:
                found[i] = error
    return found


def whole(model: Model) -> ModelFile:
    """The pipeline as one file: the JavaScript package answers by it alone."""
    return self_contained(model, _pipeline(model).streams)


def _round(value: float) -> float:
    return round(float(value), 4)


def _instructions(action: int, asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Who takes what by an ``assign`` command: the pair that it makes, and those it makes of the rest."""
    if action >= DEFER:
        return []
    swarm = able(asked, None)
    agents, tasks, found = swarm.free, swarm.tasks, []
    while agents and tasks:
        who, what = pair(action, agents, tasks, swarm.table)
        agents.remove(who)
        tasks.remove(what)
        found.append({"agent": asked["current-agents"][who.id]["id"], "task": asked["pending-tasks"][what.id]["id"]})
    return found


def _reasons(asked: Mapping[str, Any], best: int) -> list[str]:
    """What of the swarm stands out, in words."""
    agents, tasks = asked["current-agents"], asked["pending-tasks"]
    idle = sum(free(agent) for agent in agents)
    found = [f"{len(tasks)} tasks wait, {idle} of {len(agents)} agents can take one"]
    nobody = [task["id"] for task, told in zip(tasks, seen(agents, tasks), strict=True) if told.any_fit < 0.5]
    if nobody:
        few = ", ".join(nobody[:3]) + (f" and {len(nobody) - 3} more" if len(nobody) > 3 else "")
        found.append(f"no agent's role or capabilities fit {few}")
    late = [task["id"] for task in tasks if task.get("features", {}).get("minutes-left", 1.0) < 0]
    if late:
        found.append(f"{len(late)} tasks are overdue")
    if not idle and best < DEFER:
        found.append("every agent is busy")
    return found


def outcome(request: Mapping[str, Any], answer: Mapping[str, Any], run: Mapping[str, Any]) -> float | None:
    """What a run says of an answer: its utility where the instructions gave the task to its agent, else None."""
    return taken(request, {each["task"]: each["agent"] for each in answer.get("instructions", ())}, run)


_PRICED = (
    "task",
    "first",
    "then, if your check rejects",
    "chance",
    "USD expected",
    "USD if wrong",
    "price of being wrong",
)


def _told(plan: Mapping[str, Any]) -> list[str]:
    def usd(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3g}"

    chance = "unknown" if plan["chance"] is None else f"{plan['chance']:.0%}"
    costs = [usd(plan[name]) for name in ("expected_cost", "cost_if_wrong", "price_of_being_wrong")]
    return [plan["task"], plan["first"], plan["then"] or "", chance, *costs]


def render(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """An answer as tables: ``(title, columns, rows)``."""
    rows = [[entry["command"], f"{entry['value']:.2f}"] for entry in result["values"][:5]]
    tables = [(f"Command: {result['command']} ({result['does']})", ["command", "value"], rows)]
    if result["instructions"]:
        pairs = [[entry["agent"], entry["task"]] for entry in result["instructions"]]
        tables.append(("Instructions", ["agent", "takes"], pairs))
    if result["adjustments"]:
        changes = [[entry["command"], entry["does"], f"{entry['gain']:+.2f}"] for entry in result["adjustments"]]
        tables.append(("System adjustments", ["command", "what", "gain over doing nothing"], changes))
    if (price := result.get("price")) is not None:
        tables.append((f"Price, by {price['rests_on']}", list(_PRICED), [_told(plan) for plan in price["plans"]]))
        if price["unpriced"]:
            tables.append(("Agents without a price, left out", ["agent"], [[name] for name in price["unpriced"]]))
    tables.append(("Why", ["reason"], [[reason] for reason in result["reasons"]]))
    if "explanation" in result:
        why = [[entry["stream"], f"{entry['effect']:+.3f}"] for entry in result["explanation"]]
        tables.append(("What each input adds to the command's lead", ["stream", "effect"], why))
    return tables
