"""Which agent takes which task: a swarm as JSON in, assignments with confidences and reasons out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import networks, registry
from claude_flow.errors import InputError
from claude_flow.model import Decision, Model
from claude_flow.networks.coordination import evidence
from claude_flow.networks.coordination.features import GROUPS, Encoder, Swarm, parse_request
from claude_flow.networks.network import Option

__all__ = ["EXAMPLES", "HELP", "OPTIONS", "answer", "render"]

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
    if not 0 <= confidence_threshold <= 1:
        raise InputError(f"confidence-threshold must lie between 0 and 1, not {confidence_threshold:g}")
    networks.get("coordination").check(model)
    swarm = parse_request(request, int(model.config["max_tokens"]))
    encoder = Encoder.from_schema(model.features)
    x = encoder.swarm(swarm)
    past, rests_on = _past(historical_context, swarm)
    agents = slice(1, 1 + len(swarm.agents))
    x[0, agents] = _shown(encoder, swarm, x[0, agents], past)
    decision = model.decide(x, len(swarm.agents), len(swarm.tasks))
    probabilities = _with_log(decision.probabilities[0], swarm, past)
    choices = [agent["id"] for agent in swarm.agents] + list(decision.commands)
    reasons = _reasons(model, swarm, x, decision, probabilities) if explain else None
    assignments = []
    for i, task in enumerate(swarm.tasks):
        p = probabilities[i]
        order = np.argsort(-p, kind="stable")
        best = int(order[0])
        confidence = float(p[best])
        withheld = confidence < confidence_threshold
        kind = "assign" if best < len(swarm.agents) else decision.commands[best - len(swarm.agents)]
        entry: dict[str, Any] = {
            "task": task["id"],
            "decision": "withheld" if withheld else kind,
            "agent": choices[best] if kind == "assign" and not withheld else None,
            "confidence": round(confidence, 4),
            "candidates": [
                {"choice": choices[j], "confidence": round(float(p[j]), 4)} for j in order[: 1 + _ALTERNATIVES]
            ],
        }
        if withheld:
            entry["reason"] = (
                f"the best choice, {choices[best]}, has {confidence:.2f}, below {confidence_threshold:.2f}"
            )
        if reasons is not None:
            entry["explanation"] = reasons[i]
        assignments.append(entry)
    return {
        "network": "coordination",
        "model": registry.model_name(model.path),
        "rests_on": rests_on,
        "assignments": assignments,
        "withheld": sum(a["decision"] == "withheld" for a in assignments),
        "confidence_threshold": confidence_threshold,
        "confidence_is": CONFIDENCE,
        "notes": _notes(encoder, swarm, x),
    }


def _past(context: str | None, swarm: Swarm) -> tuple[list[evidence.Decision], str]:
    """The log's decisions between the swarm's types of agents, and what the answer rests on, in words."""
    from claude_flow.data import views  # a tenth of a command's start

    if context == "none":
        return [], "the network alone, as asked"
    if context is None and not (registry.workspace() / "datasets" / views.TABLES_NAME).is_dir():
        return [], "the network alone: the workspace has no log (claude-flow neural data collect)"
    folder = views.find(context or views.TABLES_NAME).folder
    kinds = set(_kinds(swarm))
    past = [decision for decision in evidence.read(folder) if decision.kind in kinds]
    if not past:
        return [], f"the network alone: no decision in {folder.name} is about these types of agents"
    return past, f"{len(past)} past decision{'s' if len(past) > 1 else ''} of {folder.name} and the network"


def _kinds(swarm: Swarm) -> list[str]:
    return [agent.get("type") or "" for agent in swarm.agents]


def _shown(
    encoder: Encoder, swarm: Swarm, agents: NDArray[np.float32], past: list[evidence.Decision]
) -> NDArray[np.float32]:
    """The agents' tokens with the log's record of their type; an agent's own ``track-record`` stands."""
    own = np.array(["track-record" in agent for agent in swarm.agents])
    return np.where(own[:, None], agents, evidence.with_log(encoder, agents, _kinds(swarm), past))


def _with_log(probabilities: NDArray[np.float32], swarm: Swarm, past: list[evidence.Decision]) -> NDArray[np.float32]:
    if not past:
        return probabilities
    texts = [task.get("description") or task.get("type") or "" for task in swarm.tasks]
    return evidence.mixed(probabilities, _kinds(swarm), past, texts)


def _notes(encoder: Encoder, swarm: Swarm, x: NDArray[np.float32]) -> list[str]:
    """What the network could not see: agents that are all the same to it, and task features that it does not know."""
    notes = []
    alike: dict[bytes, list[str]] = {}
    for agent, token in zip(swarm.agents, x[0, 1:], strict=False):
        alike.setdefault(token.tobytes(), []).append(agent["id"])
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
    model: Model, swarm: Swarm, x: NDArray[np.float32], decision: Decision, probabilities: NDArray[np.float32]
) -> list[list[dict[str, Any]]]:
    """Per task, the input groups by how much blanking them changes the chosen one's probability, largest first.

    The groups are the network's; the log is one more, whose effect is what they add to the network's.
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
    blanked = np.repeat(x, len(parts), axis=0)
    for i, (_, _, token, _, slots) in enumerate(parts):
        blanked[i, token, slots] = 0
    without = model.decide(blanked, len(swarm.agents), len(swarm.tasks)).probabilities
    reasons = []
    for t, task in enumerate(swarm.tasks):
        best = int(probabilities[t].argmax())
        by_log = round(float(probabilities[t, best] - decision.probabilities[0, t, best]), 4)
        from_log = [{"input": "log: who took tasks like it", "effect": by_log}] if by_log else []
        effects = [
            {
                "input": f"{kind} {who}: {name}",
                "effect": round(float(decision.probabilities[0, t, best] - p[t, best]), 4),
            }
            for (kind, who, _, name, _), p in zip(parts, without, strict=True)
            if kind != "task" or who == task["id"]
        ]
        effects.sort(key=lambda e: -abs(float(str(e["effect"]))))
        reasons.append(from_log + [e for e in effects if e["effect"]][:5])
    return reasons


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
