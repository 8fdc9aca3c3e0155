"""Which agent takes which task: a swarm as JSON in, assignments with confidences and reasons out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.data.events import utility
from claude_flow.errors import InputError
from claude_flow.model import Model
from claude_flow.networks.coordination import evidence
from claude_flow.networks.coordination.features import GROUPS, NUMBERS, Encoder, Swarm, parse_requests
from claude_flow.networks.network import Option

__all__ = ["EXAMPLES", "HELP", "OPTIONS", "answer", "answers", "outcome", "render", "taken", "tasks"]

HELP = ""
EXAMPLES = (
    """\
claude-flow neural infer coordination \\
  --input '{
    "current-agents": [
      {"id":"arch-001","type":"architect","load":0.6,"capabilities":["design","analysis"]},
      {"id":"code-001","type":"coder","load":0.8,"capabilities":["backend","apis"]}
    ],
    "pending-tasks": [
      {"id":"task-001","type":"api-design","priority":"high","complexity":0.7},
      {"id":"task-002","type":"implementation","priority":"medium","complexity":0.8}
    ],
    "system-state": {"memory-usage":0.65,"cpu-usage":0.45,"network-latency":25}
  }' \\
  --confidence-threshold 0.8 \\
  --explain-decision true""",
    "claude-flow neural infer coordination --input @swarm.json --format json",
)
OPTIONS = (
    Option(
        "input",
        "object",
        'The swarm: "current-agents", "pending-tasks", "system-state".',
        part="request",
        required=True,
    ),
    Option("confidence-threshold", "share", "Withhold what is less sure than this.", part="keyword", default=0.0),
    Option(
        "historical-context",
        "text",
        "Past decisions to go by: a dataset of tables or a view of it; none: the network alone. Default: the "
        "workspace's swarm-training-data, if there is one.",
        part="keyword",
        metavar="CONTEXT",
    ),
)


CONFIDENCE = "probability that no other choice would have turned out better, calibrated on held-out episodes"
_ALTERNATIVES = 3
_TOGETHER = 64  # requests that are encoded at a time: their tokens, 2 MB, stay in the cache


def answer(
    model: Model,
    request: Any,
    *,
    confidence_threshold: float = 0.0,
    historical_context: str | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """Assign each pending task to an agent or a command (spec: "Coordination Inference").

    ``request``: the spec's JSON object (see ``parse_request`` of :mod:`claude_flow.networks.coordination.features`).
    Where the best choice's confidence is below ``confidence_threshold``, the task's ``decision`` is ``"withheld"``.
    ``historical_context`` names the log whose past decisions count as evidence (see
    :mod:`claude_flow.networks.coordination.evidence`), ``"none"`` leaves it out; ``rests_on`` says what the answer
    rests on. ``explain`` adds, per task, the inputs without which the choice would have been less (or more) likely:
    each group of slots is blanked in turn and the network run again.

    Returns a JSON-ready dictionary. Raises :class:`InputError` for a request or threshold that cannot be used.

    >>> import claude_flow as cf
    >>> swarm = {"current-agents": [{"id": "ann", "type": "tester"}, {"id": "bob", "type": "coder"}],
    ...          "pending-tasks": [{"id": "t1", "type": "testing"}]}
    >>> answer(cf.load("coordination-v3"), swarm)["assignments"][0]["agent"]
    'ann'
    """
    keywords = {"confidence_threshold": confidence_threshold, "historical_context": historical_context}
    (found,) = answers(model, [(request, keywords)], explain=explain)
    if isinstance(found, InputError):
        raise found
    return found


def answers(
    model: Model, asked: Sequence[tuple[Any, Mapping[str, Any]]], *, explain: bool = False, batch: int | None = None
) -> list[dict[str, Any] | InputError]:
    """:func:`answer` to each pair of a request and its keywords, or the error that it raises; ``batch`` requests a
    crossing into the engine. Requests of equal lengths go together."""
    networks.get("coordination").check(model)
    encoder = Encoder.from_schema(model.features)
    found: list[Any] = [*parse_requests([request for request, _ in asked], int(model.config["max_tokens"]))]
    known: dict[Any, _Past] = {}
    items: list[_Item] = []
    for i, (swarm, (_, keywords)) in enumerate(zip(found, asked, strict=True)):
        if isinstance(swarm, InputError):
            continue
        try:
            threshold = keywords.get("confidence_threshold", 0.0)
            if not 0 <= threshold <= 1:
                raise InputError(f"confidence-threshold must lie between 0 and 1, not {threshold:g}")
            items.append(_Item(i, swarm, threshold, _past(keywords.get("historical_context"), swarm, known)))
        except InputError as error:
            found[i] = error
    items.sort(key=lambda item: len(item.swarm.agents) + len(item.swarm.tasks))
    for first in range(0, len(items), _TOGETHER):
        part = items[first : first + _TOGETHER]
        for item, result in zip(part, _answers(model, encoder, part, explain, batch), strict=True):
            found[item.index] = result
    return found


@dataclass(frozen=True)
class _Past:
    """What a log says of a swarm's types of agents, or else whether other projects do; what the answer rests on, in
    words, and how an explanation calls it."""

    decisions: list[evidence.Decision]
    rests_on: str
    called: str | None = None


@dataclass(frozen=True)
class _Item:
    """A request that can be answered; ``index`` is its place among those that were asked."""

    index: int
    swarm: Swarm
    threshold: float
    past: _Past


def _answers(
    model: Model, encoder: Encoder, items: Sequence[_Item], explain: bool, batch: int | None
) -> Iterator[dict[str, Any]]:
    swarms = [item.swarm for item in items]
    x = encoder.swarms(swarms)
    for token, item in zip(x, items, strict=True):
        if item.past.decisions:
            own = slice(1, 1 + len(item.swarm.agents))
            token[own] = _shown(encoder, item.swarm, token[own], item.past.decisions)
    counts = [len(swarm.agents) for swarm in swarms], [len(swarm.tasks) for swarm in swarms]
    decision = model.decide(x, *counts, batch=batch)
    probabilities = decision.probabilities
    mixed = [
        _with_log(_of(probabilities[i], item.swarm, decision.commands), item.swarm, item.past.decisions)
        if item.past.called
        else None
        for i, item in enumerate(items)
    ]
    width = probabilities.shape[2]
    most = width - len(decision.commands)
    for p, moved, swarm in zip(probabilities, mixed, swarms, strict=True):
        agents, tasks = len(swarm.agents), len(swarm.tasks)
        if moved is not None:
            p[:tasks, :agents], p[:tasks, most:] = moved[:, :agents], moved[:, agents:]
        p[:tasks, agents:most] = -1  # of agents that there are not: behind all others
    leading = np.argsort(-probabilities, axis=2, kind="stable")[:, :, : 1 + _ALTERNATIVES]
    exact = np.take_along_axis(probabilities, leading, 2).astype(np.float64)
    columns, shown, confidence = leading.tolist(), np.round(exact, 4).tolist(), exact[:, :, 0].tolist()
    name = registry.model_name(model.path)
    loads = x[:, 1 : 1 + most, NUMBERS["load"]].tolist()
    for i, item in enumerate(items):
        swarm, threshold = item.swarm, item.threshold
        choices = [agent["id"] for agent in swarm.agents]
        choices += [""] * (most - len(choices))
        choices += decision.commands
        assignments = []
        for task, order, values, sure in zip(swarm.tasks, columns[i], shown[i], confidence[i], strict=False):
            is_withheld = sure < threshold
            best = order[0]
            kind = "assign" if best < most else choices[best]
            count = min(len(order), len(swarm.agents) + len(decision.commands))
            entry: dict[str, Any] = {
                "task": task["id"],
                "decision": "withheld" if is_withheld else kind,
                "agent": choices[best] if kind == "assign" and not is_withheld else None,
                "confidence": values[0],
                "candidates": [{"choice": choices[order[j]], "confidence": values[j]} for j in range(count)],
            }
            if is_withheld:
                entry["reason"] = f"the best choice, {choices[best]}, has {sure:.2f}, below {threshold:.2f}"
            assignments.append(entry)
        if explain:
            tokens = x[i : i + 1, : 1 + len(swarm.agents) + len(swarm.tasks)]
            final = _of(probabilities[i], swarm, decision.commands)
            reasons = _reasons(model, swarm, tokens, final, item.past.called)
            for entry, why in zip(assignments, reasons, strict=True):
                entry["explanation"] = why
        yield {
            "network": "coordination",
            "model": name,
            "rests_on": item.past.rests_on,
            "assignments": assignments,
            "withheld": sum(a["decision"] == "withheld" for a in assignments),
            "confidence_threshold": threshold,
            "confidence_is": CONFIDENCE,
            "notes": _notes(encoder, swarm, x[i], loads[i]),
        }


def _of(probabilities: NDArray[np.float32], swarm: Swarm, commands: Sequence[str]) -> NDArray[np.float32]:
    """An item's own probabilities ``[tasks, agents + commands]`` of a batch's."""
    tasks, agents = len(swarm.tasks), len(swarm.agents)
    return np.concatenate([probabilities[:tasks, :agents], probabilities[:tasks, -len(commands) :]], axis=1)


def _past(context: str | None, swarm: Swarm, known: dict[Any, _Past]) -> _Past:
    """The log's decisions between the swarm's types of agents; ``known`` are those that were looked up before."""
    if context == "none":
        return _Past([], "the network alone, as asked")
    kinds = frozenset(_kinds(swarm))
    key = context, kinds, any("track-record" in agent for agent in swarm.agents)
    if key not in known:
        known[key] = _looked_up(*key)
    return known[key]


def _looked_up(context: str | None, kinds: frozenset[str], is_recorded: bool) -> _Past:
    """``is_recorded``: the request says itself what agents did; then other projects have no say."""
    from claude_flow.data import views  # a tenth of a command's start

    if context is None and not (registry.workspace() / "datasets" / views.TABLES_NAME).is_dir():
        past, why = [], "the workspace has no log (claude-flow neural data collect)"
    else:
        folder = views.find(context or views.TABLES_NAME).folder
        past = [decision for decision in evidence.read(folder) if decision.kind in kinds]
        why = f"no decision in {folder.name} is about these types of agents"
    if past:
        rests_on = f"{len(past)} past decision{'s' if len(past) > 1 else ''} of {folder.name} and the network"
        return _Past(past, rests_on, "log: who took tasks like it")
    if not is_recorded and evidence.knows(kinds):
        return _Past([], f"what other people's projects did and the network: {why}", "others: who takes tasks like it")
    return _Past([], f"the network alone: {why}")


def _kinds(swarm: Swarm) -> list[str]:
    return [agent.get("type") or "" for agent in swarm.agents]


def _shown(
    encoder: Encoder, swarm: Swarm, agents: NDArray[np.float32], past: list[evidence.Decision]
) -> NDArray[np.float32]:
    """The agents' tokens with the log's record of their type; an agent's own ``track-record`` stands."""
    own = np.array(["track-record" in agent for agent in swarm.agents])
    return np.where(own[:, None], agents, evidence.with_log(encoder, agents, _kinds(swarm), past))


def _with_log(probabilities: NDArray[np.float32], swarm: Swarm, past: list[evidence.Decision]) -> NDArray[np.float32]:
    texts = [task.get("description") or task.get("type") or "" for task in swarm.tasks]
    return evidence.mixed(probabilities, _kinds(swarm), past, texts)


def _notes(encoder: Encoder, swarm: Swarm, x: NDArray[np.float32], loads: Sequence[float]) -> list[str]:
    """What the network could not see: agents that are all the same to it, and task features that it does not know."""
    notes = []
    alike: dict[Any, list[str]] = {}
    loads = loads[: len(swarm.agents)]
    is_told_by_load = len(set(loads)) == len(loads)  # the usual case, and the quick one
    for agent, token, load in zip(swarm.agents, x[1:], loads, strict=False):
        alike.setdefault(load if is_told_by_load else token.tobytes(), []).append(agent["id"])
    for names in alike.values():
        if len(names) > 1:
            few = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            notes.append(f"the agents {few} cannot be told apart: give type, capabilities, load or track-record")
    given = dict.fromkeys(name for task in swarm.tasks for name in task.get("features", {}))
    unknown = [name for name in given if name not in encoder.features]
    if unknown:
        known = ", ".join(list(encoder.features)[:8]) or "none"
        notes.append(f"the model does not know the task features {', '.join(unknown[:8])}; it was trained with {known}")
    return notes


def _reasons(
    model: Model, swarm: Swarm, x: NDArray[np.float32], probabilities: NDArray[np.float32], called: str | None
) -> list[list[dict[str, Any]]]:
    """Per task, the input groups by how much blanking them changes the chosen one's probability, largest first.

    The groups are the network's; the log (or other projects, as ``called``) is one more, whose effect is what it adds.
    """
    rows = [("state", "system", 0)]
    rows += [("agent", agent["id"], 1 + i) for i, agent in enumerate(swarm.agents)]
    rows += [("task", task["id"], 1 + len(swarm.agents) + i) for i, task in enumerate(swarm.tasks)]
    parts = [
        (kind, who, token, name, slots)
        for kind, who, token in rows
        for name, slots in GROUPS[kind].items()
        if x[0, token, slots].any()
    ]
    if not parts:
        return [[] for _ in swarm.tasks]
    blanked = np.repeat(x, 1 + len(parts), axis=0)  # the first one as it is
    for i, (_, _, token, _, slots) in enumerate(parts, 1):
        blanked[i, token, slots] = 0
    network, *without = model.decide(blanked, len(swarm.agents), len(swarm.tasks)).probabilities
    reasons = []
    for t, task in enumerate(swarm.tasks):
        best = int(probabilities[t].argmax())
        by_log = round(float(probabilities[t, best] - network[t, best]), 4)
        from_log = [{"input": called, "effect": by_log}] if called and by_log else []
        effects = [
            {
                "input": f"{kind} {who}: {name}",
                "effect": round(float(network[t, best] - p[t, best]), 4),
            }
            for (kind, who, _, name, _), p in zip(parts, without, strict=True)
            if kind != "task" or who == task["id"]
        ]
        effects.sort(key=lambda e: -abs(float(str(e["effect"]))))
        reasons.append(from_log + [e for e in effects if e["effect"]][:5])
    return reasons


def tasks(request: Mapping[str, Any]) -> set[str]:
    """What the tasks of a request are called: their ids and descriptions."""
    return {
        str(task[name]) for task in request.get("pending-tasks", ()) for name in ("id", "description") if task.get(name)
    }


def outcome(request: Mapping[str, Any], answer: Mapping[str, Any], run: Mapping[str, Any]) -> float | None:
    """What a run says of an answer: its utility where the chosen agent did the task, else None."""
    chosen = {entry["task"]: entry["agent"] for entry in answer.get("assignments", ()) if entry.get("agent")}
    return taken(request, chosen, run)


def taken(request: Mapping[str, Any], chosen: Mapping[str, str], run: Mapping[str, Any]) -> float | None:
    """The utility of a run of a task by the agent that was ``chosen`` (task -> agent), or None.

    The agent is known by its id; a run whose agent has none of the request's ids (Claude Code gives every subagent a
    new one) by its type.

    >>> swarm = {"current-agents": [{"id": "ann", "type": "tester"}], "pending-tasks": [{"id": "t1"}]}
    >>> run = {"task": "t1", "description": None, "agent": "ann", "agent_type": None, "utility": None, "success": True}
    >>> taken(swarm, {"t1": "ann"}, run)
    1.0
    """
    types = {str(agent["id"]): agent.get("type") for agent in request["current-agents"]}
    told = {run["task"], run["description"]} - {None}
    for task in request["pending-tasks"]:
        agent = chosen.get(str(task["id"]))
        if agent is None or not told & {task["id"], task.get("description")}:
            continue
        by_type = run["agent"] not in types and run["agent_type"] in {agent, types.get(agent)} - {None}
        if run["agent"] == agent or by_type:
            value = utility(run)
            return None if math.isnan(value) else value
    return None


def render(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """An answer as tables: ``(title, columns, rows)``."""
    rows = []
    for entry in result["assignments"]:
        choice = {"assign": entry["agent"], "withheld": "(withheld)"}.get(entry["decision"], f"({entry['decision']})")
        runner_up = entry["candidates"][1]
        rows.append(
            [
                entry["task"],
                str(choice),
                f"{entry['confidence']:.0%}",
                f"{runner_up['choice']} {runner_up['confidence']:.0%}",
                entry.get("reason", ""),
            ]
        )
    tables = [(f"Assignments by {result['rests_on']}", ["task", "agent", "confidence", "next best", "note"], rows)]
    if result["notes"]:
        tables.append(("Notes", ["note"], [[note] for note in result["notes"]]))
    why = [
        [entry["task"], reason["input"], f"{reason['effect'] * 100:+.1f}"]
        for entry in result["assignments"]
        for reason in entry.get("explanation", ())
    ]
    if why:
        tables.append(("Why: points of confidence lost without this input", ["task", "input", "points"], why))
    return tables
