"""The three networks in front of the decision engine: their outputs for many swarms at once, and all of it as one
program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import model as models
from claude_flow import modelfile, networks, registry, runtime
from claude_flow.environments.observe import SWARM
from claude_flow.environments.swarm import ACTIONS
from claude_flow.environments.world import WEIGHTS
from claude_flow.errors import InputError
from claude_flow.modelfile import ABSENT, PER_ITEM, PER_TOKEN, ModelFile, Op, Program
from claude_flow.modelfile.ops import TENSORS, VALUES
from claude_flow.modelfile.quantize import products, quantize
from claude_flow.networks.action.config import STREAMS
from claude_flow.networks.action.features import FEATURES, performance, state, urgent
from claude_flow.networks.coordination.features import Swarm
from claude_flow.networks.coordination.scenarios import ROLES

__all__ = ["NETWORKS", "Streams", "as_request", "joined", "self_contained"]

Floats = NDArray[np.float32]
Requests = Sequence[Mapping[str, Any]]
_KEPT = 65536  # records of texts
_NOT_IN_TOKENS = frozenset({"id", "features", "speed", "cost-per-hour", "past-tasks", "free-in-minutes"})
#: the models that the shipped decision engine learned with
NETWORKS = {"coordination": "coordination-v3", "optimization": "optimization-v2", "prediction": "prediction-v2"}


class Streams:
    """Encoders and networks: requests to the four inputs of the joined program, or to the decision engine's input."""

    def __init__(self, names: Mapping[str, str] = NETWORKS, count: int = len(FEATURES)) -> None:
        """``count``: of the numbers of the swarm that the decision engine takes."""
        self.names, self._count = dict(names), count
        self.paths = {network: registry.model_path(name) for network, name in self.names.items()}
        self.models = {network: models.load_for(network, name, backend="native") for network, name in names.items()}
        coordination, optimization, prediction = (self.models[name] for name in NETWORKS)
        part = networks.get("coordination").part("features")
        self._tokens = part.Encoder.from_schema(coordination.features)
        self._metrics = networks.get("optimization").part("features").Encoder.from_schema(optimization.features)
        self._openings: dict[str, Floats] = {}
        self._opening = lru_cache(maxsize=65536)(lambda text: _openings(prediction, [text])[0])
        self._forecast = lru_cache(maxsize=65536)(lambda text: prediction.run(self._opening(text)[None])[0])
        self._told = lru_cache(maxsize=65536)(
            lambda told: self._metrics.encode({"current-performance": dict(told)}).inputs
        )
        self._advice = lru_cache(maxsize=65536)(lambda told: optimization.run(self._told(told)[None])[0])
        self._agents: dict[Any, Floats] = {}
        self._tasks: dict[Any, Floats] = {}
        queries = modelfile.read(self.paths["coordination"]).tensors["commands"]
        self.queries = np.ascontiguousarray(queries, np.float32)
        if self.queries.size != STREAMS["coordination"]:
            raise InputError(
                f"{self.paths['coordination']}: its command embeddings are {list(self.queries.shape)}, not [4, 256]: "
                "use a coordination model of the usual commands"
            )

    @classmethod
    def of(cls, decision: models.Model) -> Streams:
        """Those that a decision engine learned with; one that names no numbers takes the first thirty.

        Raises:
            InputError: it takes numbers that are not known here.
        """
        numbers = decision.features.get("numbers", SWARM)
        if tuple(numbers) != FEATURES[: len(numbers)]:
            raise InputError(f"{decision.path}: it sees other numbers of a swarm: train the model again")
        return cls(decision.features["networks"], len(numbers))

    def encode(self, request: Mapping[str, Any]) -> tuple[Floats, Floats, Floats, Floats]:
        """The inputs of one request: tokens ``[T, 512]``, metrics ``[256]``, record ``[1, 128]``, state ``[66]``."""
        return (
            self._swarm(request),
            self._told(_key(request)),
            self._opening(urgent(request)),
            state(request, self._count),
        )

    def encode_many(self, swarms: Sequence[Swarm]) -> tuple[list[Floats], NDArray[np.int32]]:
        """The inputs of several checked requests, each with a first axis of them; and the tokens of each."""
        requests = [as_request(swarm) for swarm in swarms]
        told = list(map(_key, requests))
        words = list(map(urgent, requests))
        kept = {text: record for text in words if (record := self._openings.get(text)) is not None}
        if new := [text for text in dict.fromkeys(words) if text not in kept]:  # other threads may clear what is kept
            kept.update(zip(new, _openings(self.models["prediction"], new), strict=True))
            if len(self._openings) > _KEPT:
                self._openings.clear()
            self._openings.update(kept)
        _, metrics = self._metrics.encode_many([{"current-performance": dict(known)} for known in told])
        lengths = np.array([1 + len(swarm.agents) + len(swarm.tasks) for swarm in swarms], np.int32)
        records = np.stack([kept[text] for text in words])
        return [self._tokens.swarms(swarms), metrics.inputs, records, self._state(requests)], lengths

    def _swarm(self, request: Mapping[str, Any]) -> Floats:
        agents, tasks = request["current-agents"], request["pending-tasks"]
        tokens = [self._tokens.state(request.get("system-state", {}), agents, len(tasks))]
        tokens += [_kept(self._agents, agent, self._tokens.agent) for agent in agents]
        tokens += [_kept(self._tasks, task, self._tokens.task) for task in tasks]
        return np.stack(tokens)

    def run(self, requests: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> Floats:
        """The decision engine's inputs ``[B, 1282]`` for requests; the streams ``without`` are 0."""
        widths = {**STREAMS, "state": self._count}
        found = np.zeros((len(requests), sum(widths.values())), np.float32)
        first = 0
        for name, width in widths.items():
            if name not in without:
                found[:, first : first + width] = getattr(self, f"_{name}")(requests)
            first += width
        return found

    def _coordination(self, requests: Requests) -> Floats:
        encoded = [self._swarm(request) for request in requests]
        lengths = np.array([len(tokens) for tokens in encoded], np.int32)
        x = np.zeros((len(encoded), lengths.max(), encoded[0].shape[1]), np.float32)
        for item, tokens in enumerate(encoded):
            x[item, : len(tokens)] = tokens
        y = self.models["coordination"].run(x, lengths)
        scores = y @ self.queries.T
        scores[np.arange(x.shape[1]) >= lengths[:, None]] = -np.inf
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        pooled: Floats = (weights.transpose(0, 2, 1) @ y).reshape(len(encoded), -1)
        return pooled

    def _optimization(self, requests: Requests) -> Floats:
        return np.stack([self._advice(_key(request)) for request in requests])

    def _prediction(self, requests: Requests) -> Floats:
        return np.stack([self._forecast(urgent(request)) for request in requests])

    def _state(self, requests: Requests) -> Floats:
        return np.stack([state(request, self._count) for request in requests])


def _openings(prediction: models.Model, texts: Sequence[str]) -> Floats:
    """The records ``[n, 1, 128]`` of open tasks of which nothing but words is known, on a Monday morning."""
    answers = networks.get("prediction").answer
    asked = [{"task-description": text, "decision-time": "2026-01-05T10:00:00Z"} for text in texts]
    return np.ascontiguousarray(answers.encoded(prediction, answers.parse_requests(asked)).x[:, -1:], np.float32)


def as_request(swarm: Swarm) -> dict[str, Any]:
    """A checked request in the guide's form."""
    return {"current-agents": swarm.agents, "pending-tasks": swarm.tasks, "system-state": swarm.state}


def _key(request: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(performance(request).items())


def _kept(kept: dict[Any, Floats], item: Mapping[str, Any], encode: Any) -> Floats:
    """A token, from memory where the same agent or task was encoded before; its name counts for nothing."""
    key = repr([(name, value) for name, value in item.items() if name not in _NOT_IN_TOKENS])
    if key not in kept:
        if len(kept) > 50_000:
            kept.clear()
        kept[key] = encode(item)
    return kept[key]


def joined(decision: ModelFile, parts: Mapping[str, ModelFile], explained: bool = False) -> ModelFile:
    """Preprocessed inputs to Q-values as one program of four inputs: tokens, metrics, record, state.

    The three networks' ops, then the attention pools over coordination's outputs, one per command embedding, then the
    decision engine, whose first layer is taken apart by stream: what it adds up are the streams' projections.
    ``explained``: behind the Q-values come those without each stream, in the streams' order.
    """
    tensors: dict[str, Any] = {}
    outputs: dict[str, int] = {}
    program = Program(parts["coordination"].parse().max_tokens)
    for name, file in parts.items():
        own = file.parse()
        axis = PER_TOKEN
        if name != "coordination" and any(rows == PER_TOKEN for rows, _ in own.values):
            axis = program.axis(own.max_tokens)
        outputs[name] = _append(program, own, name, axis)
        tensors |= {f"{name}.{key}": value for key, value in file.tensors.items()}
    weight = decision.tensors["integration.weight"]
    widths = {**STREAMS, "state": weight.shape[1] - sum(STREAMS.values()) + STREAMS["state"]}
    state_input = program.input(PER_ITEM, widths["state"])
    queries = tensors["coordination.commands"]
    pooled = program.value(PER_ITEM, STREAMS["coordination"])
    width = queries.shape[1]
    for i, query in enumerate(np.asarray(queries, np.float32)):
        tensors[f"query.{i}"] = np.ascontiguousarray(query)
        program.op(
            Op.ATTENTION_POOL,
            source=outputs["coordination"],
            keys=outputs["coordination"],
            weight=program.tensor(f"query.{i}"),
            target=pooled,
            column=i * width,
        )
    sources = {**outputs, "coordination": pooled, "state": state_input}
    first = 0
    for name, size in widths.items():
        seen = name not in decision.features.get("hidden", ())
        tensors[f"integration.{name}"] = np.ascontiguousarray(weight[:, first : first + size]) * np.float32(seen)
        first += size
    tensors["integration.bias"] = decision.tensors["integration.bias"]
    tensors |= {f"decision.{key}": value for key, value in decision.tensors.items() if not key.startswith("integr")}
    own = decision.parse()
    *hidden_layers, (code, output) = own.ops[1:]
    actions = own.values[own.target][1]
    left_out = [None, *widths] if explained else [None]
    program.target = program.value(PER_ITEM, actions * len(left_out))
    for i, without in enumerate(left_out):
        fused = _integrated(program, {name: sources[name] for name in widths if name != without}, weight.shape[0])
        rest = replace(own.like(), ops=[*hidden_layers, (code, output | {"column": i * actions})])
        _append(program, rest, "decision", PER_TOKEN, {own.ops[0][1]["target"]: fused, own.target: program.target})
    found = {file.precision for file in (decision, *parts.values())}
    precision = next(precision for precision in ("int4", "int8", "fp32") if precision in found)
    used = {name: tensors[name] for name in program.tensors}
    return replace(
        decision, program=program.words(), program_tensors=program.tensors, tensors=used, precision=precision
    )


def _integrated(program: Program, sources: Mapping[str, int], width: int) -> int:
    """Add the integration layer over these streams' values: their projections, added up."""
    fused = ABSENT
    for i, (name, source) in enumerate(sources.items(), 1):
        target = program.value(PER_ITEM, width)
        program.op(
            Op.LINEAR,
            source=source,
            target=target,
            column=0,
            weight=program.tensor(f"integration.{name}"),
            bias=program.tensor("integration.bias") if i == len(sources) else ABSENT,
            residual=fused,
            activation=0,
        )
        fused = target
    return fused


def _append(program: Program, own: Program, name: str, axis: int, known: Mapping[int, int] | None = None) -> int:
    """Add a program's values and ops; returns its output. ``known``: values of it that are there already."""
    place = dict(known or {})
    read = {v for _, operands in own.ops for key, v in operands.items() if key in VALUES and v != ABSENT}
    for i, (rows, width) in enumerate(own.values):
        if i in place or i not in read:
            continue
        mine = axis if rows == PER_TOKEN else PER_ITEM
        place[i] = program.input(mine, width) if known is None and i in own.inputs else program.value(mine, width)
    for code, operands in own.ops:
        mapped = {
            key: v
            if v == ABSENT
            else place[v]
            if key in VALUES
            else program.tensor(f"{name}.{own.tensors[v]}")
            if key in TENSORS
            else v
            for key, v in operands.items()
        }
        program.op(code, **mapped)
    return place[own.target]


def self_contained(decision: models.Model, streams: Streams) -> ModelFile:
    """The joined program as one file that says all that JavaScript answers by: the networks' feature schemas, what the
    commands do, which words name which role."""
    parts = {name: modelfile.read(path) for name, path in streams.paths.items()}
    file = joined(modelfile.read(decision.path), parts, explained=True)
    schemas = {name: part.features for name, part in parts.items()}
    told = {"schemas": schemas, "does": ACTIONS, "roles": ROLES, "streams": list(STREAMS), "weights": WEIGHTS}
    return replace(file, features=file.features | told)


def assembled(decision: Any, streams: Streams) -> models.Model:
    """The joined program of a loaded decision engine, ready to run as it runs."""
    parts = {name: modelfile.read(path, packed=False) for name, path in streams.paths.items()}
    file = joined(modelfile.read(decision.path, packed=False), parts)
    if decision.precision in ("int8", "int4") and file.precision == "fp32":  # asked for as it was loaded
        file = quantize(file, four=products(file) if decision.precision == "int4" else ())
    settings = replace(runtime.Settings(), backend=decision.backend, threads=decision.threads)
    return models.assemble(decision.path, file, settings)
