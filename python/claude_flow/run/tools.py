"""The networks as tools: what each takes and gives, and ``record_outcome``. MCP and HTTP offer the same ones."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claude_flow import networks, registry, requests, runtime, schema
from claude_flow.errors import InputError
from claude_flow.model import Model, load
from claude_flow.networks.network import Network, Option
from claude_flow.run import outcomes
from claude_flow.values import did_you_mean, plain

__all__ = ["RECORD_OUTCOME", "Question", "Tools", "answers", "described", "question"]

_KEPT_BYTES = 256 << 20  # of model files whose models stay loaded
_TYPES: dict[str, dict[str, Any]] = {
    "object": {"type": "object"},
    "text": {"type": "string"},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
    "shares": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}},
    "duration": {"type": "number", "minimum": 0},  # seconds
    "number": {"type": "number"},
    "count": {"type": "integer"},
    "switch": {"type": "boolean"},
    "targets": {"type": ["array", "object"]},
}


class Tools:
    """What the server offers: a tool for every network whose row names one, and ``record_outcome``.

    >>> [tool["name"] for tool in Tools().list()]
    ['coordinate', 'optimize', 'predict', 'act', 'record_outcome']
    """

    def __init__(self) -> None:
        self._rows = {row.tool: row for row in networks.NETWORKS.values() if row.tool}
        self._models: runtime.Cache[Model] = runtime.Cache(_KEPT_BYTES)

    def list(self) -> list[dict[str, Any]]:
        """Name, description, and the schemas of arguments and result of every tool."""
        return [*(described(name, row) for name, row in self._rows.items()), RECORD_OUTCOME]

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A tool's result. Raises :class:`InputError` for arguments that it cannot use, and an unknown tool."""
        if name == RECORD_OUTCOME["name"]:
            return outcomes.record(arguments)
        if name not in self._rows:
            raise InputError(f"there is no tool {name!r}{did_you_mean(name, [t['name'] for t in self.list()])}")
        return self._ask(self._rows[name], arguments)

    def _ask(self, row: Network, arguments: Mapping[str, Any]) -> dict[str, Any]:
        asked = question(row, arguments)
        begin = time.perf_counter()
        path = registry.newest_model(row.name) if asked.model is None else registry.model_path(asked.model)
        if asked.model is None or "/" not in asked.model:
            path = registry.asked(path)  # a canary's turn, maybe
        model = self._models.get(path, None, lambda: load(path))
        row.check(model)
        answer = asked.answer(model)
        if requests.is_kept(None):
            requests.keep(row.name, asked.request, asked.model, time.perf_counter() - begin, answer)
        return answer


@dataclass(frozen=True)
class Question:
    """What a tool of a network was asked: ``keywords`` are those of the network's ``answer``."""

    row: Network
    model: str | None
    explain: bool
    request: Any
    keywords: dict[str, Any]

    def answer(self, model: Model) -> dict[str, Any]:
        """The answer of ``model``, as plain JSON."""
        found = self.row.answer.answer(model, self.request, explain=self.explain, **self.keywords)
        return dict(plain(found))


def question(row: Network, arguments: Mapping[str, Any]) -> Question:
    """The arguments of a network's tool, checked. Raises :class:`InputError`."""
    rest = dict(arguments)
    explain = schema.check(rest.pop("explain", False), schema.Flag(), "explain")
    model = rest.pop("model", None)
    model = model if model is None else schema.check(model, schema.Text(), "model")
    return Question(row, model, explain, *requests.split(row, rest, besides=("model", "explain")))


def answers(model: Model, asked: Sequence[Question]) -> list[dict[str, Any] | Exception]:
    """The answers of ``model`` to questions of one network and one ``explain``, or what is wrong with each: as one
    batch where the network can."""
    row, explain = asked[0].row, asked[0].explain
    many = getattr(row.answer, "answers", None)
    if many is not None and len(asked) > 1:
        with contextlib.suppress(Exception):  # whose fault it is, they say one by one
            found = many(model, [(one.request, one.keywords) for one in asked], explain=explain)
            return [one if isinstance(one, Exception) else plain(one) for one in found]
    return [_answer(model, one) for one in asked]


def _answer(model: Model, one: Question) -> dict[str, Any] | Exception:
    try:
        return one.answer(model)
    except Exception as error:  # the others of its batch must not notice
        return error


# What clients are told ------------------------------------------------------------------------------------


def described(name: str, row: Network) -> dict[str, Any]:
    options = row.answer.OPTIONS
    properties = {option.name: _property(option) for option in options}
    properties["model"] = {"type": "string", "description": f"By default the newest of {row.name}."}
    properties["explain"] = {"type": "boolean", "description": "Name the inputs that decided."}
    example = json.dumps(requests.example(row), separators=(",", ":"))
    return {
        "name": name,
        "description": f"Say {row.question}. Example: {example}",
        "input_schema": {
            "type": "object",
            "properties": properties,
            "required": [option.name for option in options if option.required],
            "additionalProperties": False,
        },
        "output_schema": {
            "type": "object",
            "properties": {"network": {"type": "string"}, "model": {"type": "string"}},
            "required": ["network", "model"],
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }


def _property(option: Option) -> dict[str, Any]:
    found = {**_TYPES[option.kind], "description": option.help}
    if option.limits is not None and option.kind in ("number", "count"):
        found |= {key: limit for key, limit in zip(("minimum", "maximum"), option.limits, strict=True)
                  if abs(limit) != float("inf")}  # fmt: skip
    return found


RECORD_OUTCOME: dict[str, Any] = {
    "name": "record_outcome",
    "description": "Say how a task ended, so that later answers learn from it.",
    "input_schema": {
        "type": "object",
        "properties": {f.name: {"type": f.type, "description": f.help} for f in outcomes.FIELDS},
        "required": list(outcomes.RECORD.required),
        "additionalProperties": False,
    },
    "output_schema": {
        "type": "object",
        "properties": {"run_id": {"type": "string"}, "recorded_in": {"type": "string"}},
        "required": ["run_id", "recorded_in"],
    },
    "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
}
