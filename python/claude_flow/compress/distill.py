"""Distillation: a smaller student learns from a teacher's answers and from the labels."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from claude_flow import modelfile, networks, registry, schema
from claude_flow.compress.evidence import trial
from claude_flow.compress.quantize import check_threshold
from claude_flow.compress.release import Release, release
from claude_flow.errors import InputError, require
from claude_flow.measure.graph import Graph
from claude_flow.model import assemble
from claude_flow.modelfile import ModelFile
from claude_flow.values import json_argument, read_json

require("torch", "train")

from claude_flow import export, nets
from claude_flow.compress import tuning
from claude_flow.report.progress import Progress, nothing
from claude_flow.train import config as training
from claude_flow.train.config import TrainingConfig

__all__ = ["SHARES", "distill", "student"]

#: students by share of their teacher's cost
SHARES = {"half": 0.5, "quarter": 0.25}
_TOKENS = 16  # of the item whose operations are a network's cost


def distill(
    teacher: str,
    architecture: str,
    output: str | None = None,
    *,
    temperature: float = 3.0,
    alpha: float = 0.7,
    epochs: int = 50,
    threshold: float | None = None,
    data: str | None = None,
    measure: str | None = None,
    allow_slower: bool = False,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train a student of the model ``teacher`` and store it as ``output`` (default: the architecture's name).

    Args:
        teacher: a model; or a configuration's name, of which a model is then trained first.
        architecture: see :func:`student`.
        temperature, alpha: the loss is ``alpha`` times the teacher's part, both at ``temperature``, plus ``1 - alpha``
            times the labels'.
        threshold: share of the teacher's ``measure`` that must be kept; None: it is told, and asked of no one.

    Returns:
        The report.

    Raises:
        InputError: an unknown teacher or architecture, or an unusable dataset.
        Refused: the threshold is not shown, or the student is not faster than its teacher.
    """
    if threshold is not None:
        check_threshold(threshold)
    if not temperature > 0:
        raise InputError(f"a temperature of {temperature:g}: it is above 0")
    end = None if time_budget is None else time.monotonic() + time_budget
    progress(0.0, "reading")
    path = _teacher(teacher, data, seed, time_budget and time_budget / 2, progress, say)
    file = modelfile.read(path)
    config = student(architecture, file, epochs)
    module = export.from_file(file)
    with trial(assemble(path, file), data, measure, threshold, say) as (test, folder):
        name = output or _name(architecture, path)
        made = tuning.tune(
            name,
            config,
            file.network,
            folder,
            start=None,
            hooks=[tuning.Taught(file.network, module, registry.model_name(path), temperature, alpha)],
            seed=seed,
            time_budget=None if end is None else max(0.1, end - time.monotonic()),
            progress=lambda done, what: progress(0.3 + 0.5 * done, what),
        )
        method = {
            "name": "distillation",
            "teacher": registry.model_name(path),
            "student": made.config,
            "temperature": temperature,
            "alpha": alpha,
            "epochs": epochs,
            "cost": cost(made) / cost(file),
        }
        return release(
            Release(path, made, method, name), test, allow_slower=allow_slower, note=lambda what: progress(0.85, what)
        )


def _teacher(
    name: str,
    data: str | None,
    seed: int,
    time_budget: float | None,
    progress: Progress,
    say: Callable[[str], None],
) -> Path:
    """The teacher's file; where only a configuration has that name, a model of it is trained into the workspace."""
    try:
        return registry.model_path(name)
    except InputError as error:
        try:
            path = registry.config_path(name)
        except InputError:
            raise error from None
    from claude_flow.train import run

    document = schema.check(read_json(path), schema.Record({}, free=True), f"{path}:")
    network = next(iter(document), "").removesuffix("-training")
    config = training.read(path, network)
    dataset = registry.dataset_path(data or f"preprocessed-{network}-data")
    say(f"there is no model {name}: it is trained by its configuration first, on {dataset.name}")
    words = ["claude-flow", "neural", "train", network, "--config", name, "--data", dataset.name, "--output", name]
    trained = run.train(
        network,
        config,
        dataset,
        name,
        command=shlex.join([*words, "--seed", str(seed)]),
        seed=seed,
        time_budget=time_budget,
        progress=lambda epoch, epochs, share, values: progress(0.3 * (epoch - 1 + share) / epochs, f"training {name}"),
    )
    assert trained is not None
    return trained.path


def student(architecture: str, teacher: ModelFile, epochs: int) -> TrainingConfig:
    """How to train a student: ``"half"`` or ``"quarter"`` of the teacher's operations, a configuration's name, or a
    JSON object of the network's sizes (others as the teacher's)."""
    row = networks.get(teacher.network)
    own = row.config(teacher.config)
    if architecture in SHARES:
        return tuning.configuration(teacher, _share(teacher, own, SHARES[architecture]), epochs)
    if architecture.lstrip().startswith(("{", "@")):
        sizes = json_argument(architecture)
        if not isinstance(sizes, dict):
            raise InputError("the student's architecture: an object of the network's sizes is wanted")
        fields = {key.replace("-", "_"): value for key, value in sizes.items()}
        return tuning.configuration(teacher, row.config({**_plain(teacher, own), **fields}), epochs)
    path = registry.config_path(architecture)
    return replace(training.read(path, teacher.network), epochs=epochs)


def _plain(teacher: ModelFile, own: Any) -> dict[str, Any]:
    """The teacher's sizes without what only pruning sets."""
    usual = networks.get(teacher.network).config()
    fields = nets.config_dict(own)
    return {name: value for name, value in fields.items() if getattr(usual, name) not in (0, ()) or value}


def _name(architecture: str, teacher: Path) -> str:
    """The student's: of its configuration, or made of the teacher's."""
    word = architecture if architecture in SHARES else "student"
    own = Path(architecture).stem
    named = word == "student" and not architecture.lstrip().startswith(("{", "@"))
    return own if named else f"{registry.model_name(teacher).partition('/')[0]}-{word}"


def cost(file: ModelFile) -> float:
    """Operations of one typical item."""
    graph = Graph(file)
    tokens = min(_TOKENS, graph.max_tokens)
    return sum(graph.cost(node, [tokens]).operations for node in graph.nodes)


def _share(teacher: ModelFile, own: Any, share: float) -> Any:
    """The teacher's configuration with every group of units shrunk alike, as large as ``share`` of its cost allows."""
    row = networks.get(teacher.network)
    groups = row.structure.groups(own)
    whole = cost(export.lower(nets.create(teacher.network, nets.config_dict(own))))
    for step in range(39, 0, -1):
        sizes = {group.name: max(1, round(group.units * step / 40)) for group in groups}
        config = row.structure.shrunk(own, sizes)
        if cost(export.lower(nets.create(teacher.network, nets.config_dict(config)))) <= share * whole:
            return config
    raise InputError(f"no student of {share:g} of this teacher's cost: it is too small already")
