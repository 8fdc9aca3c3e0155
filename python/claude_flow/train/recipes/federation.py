"""A whole federation: who takes part, its rounds with checkpoints, and the model that is kept."""

from __future__ import annotations

import io
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from claude_flow import export, files, modelfile, networks, registry
from claude_flow.data import preprocess
from claude_flow.errors import InputError, require
from claude_flow.train import config as training
from claude_flow.train import run
from claude_flow.train.recipes import federated, flower, source
from claude_flow.train.recipes.federated import Federation, Participant
from claude_flow.train.recipes.privacy import Private

__all__ = ["train"]

_SWARM = re.compile(r"swarm-[1-9]\d*")
_HIDDEN = 0.2  # of every participant's data, to validate on


def train(
    *,
    participants: Sequence[str],
    network: str = "coordination",
    data: str | None = None,
    model: str | None = None,
    aggregation_strategy: str = "weighted-average",
    rounds: int = 50,
    local_epochs: int = 5,
    privacy_preserving: bool = False,
    epsilon: float = 8.0,
    clip: float = 1.0,
    name: str | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    resume: bool = False,
    tensorboard_logging: bool = False,
    progress: Callable[[int, int, dict[str, Any]], None] = lambda done, of, entry: None,
) -> dict[str, Any]:
    """Run a federation and store the best round; see ``claude-flow neural train federated --help``.

    Raises :class:`InputError` for fewer than two participants, one of another network, or an unknown one.
    """
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    row = networks.get(network)
    if model is not None:
        start = source.read(registry.model_path(model))
        if start.row.name != network:
            raise InputError(f"{model} is a {start.row.name} model: name one of the {network} network, or --network")
        config = start.config()
    else:
        start = None
        shipped = registry.built_in_configs(network)
        config = (
            training.read(shipped[-1], network) if shipped else training.parse({f"{network}-training": {}}, network)
        )
    config.learning_rate = config.learning_rate or federated.RATE
    if len(set(participants)) < 2:
        raise InputError("a federation needs two participants at least: name more in --participants")
    flower_link = flower.addressed(participants)
    if flower_link is not None and start is None:
        raise InputError("Flower clients start from a model, since this machine has no data: name one with --model")
    members = [] if flower_link else _participants(row, participants, data, seed, config, start)
    torch.manual_seed(seed)
    module = members[0].data.module(config.network) if start is None else start.module
    weights = {key: t.detach().clone() for key, t in module.state_dict().items()}
    name = name or f"{network}-federated"
    checkpoint = run.folder(name) / "federation.pt"
    about = {"network": network, "participants": list(participants), "strategy": aggregation_strategy, "seed": seed}
    state = _read(checkpoint, about) if resume and flower_link is None else {}
    if tensorboard_logging:
        progress = _logged(progress, run.folder(name) / "tensorboard")
    privacy = {"epsilon": epsilon, "clip": clip} if privacy_preserving else {}
    if flower_link is not None and start is not None:
        link, nodes = flower_link
        job = {
            "network": network,
            "nodes": nodes,
            "strategy": aggregation_strategy,
            "rounds": rounds,
            "local_epochs": local_epochs,
            "seed": seed,
            "privacy": privacy,
            "config": config.source,
            "seconds": time_budget,
        }
        folder = run.folder(name) / "flower-run"
        began = _read(folder / "state.pt", None) if resume else {}
        found = flower.rounds(link, job, weights, folder, began, progress)
        module.load_state_dict(found["weights"])
        file = modelfile.read(start.path)
        about["secure_aggregation"] = False  # Flower's server sees each update
        metadata = {"features": file.features, "calibration": file.calibration}
        return _store(row, module, found, config, metadata, name, about)

    def secret(member: Participant) -> Private:
        return federated.private(member, config, rounds, local_epochs, seed, epsilon, clip)

    secure = privacy_preserving and aggregation_strategy not in federated.ROBUST
    federation = Federation(
        network,
        config,
        members,
        aggregation_strategy,
        local_epochs,
        seed,
        secret if privacy_preserving else None,
        secure=secure,
        state=state,
    )
    best, stopped = federation.run(
        weights,
        rounds,
        deadline=deadline,
        progress=progress,
        save=lambda new: _write(checkpoint, new, about),
    )
    module.load_state_dict(best)
    module.eval()
    with torch.no_grad():
        metadata = members[0].data.metadata(module)
        scores = {
            member.name: member.data.metrics(module, "test" if "test" in member.data.splits else "validation")
            for member in members
        }
    found = {
        "stopped": stopped,
        "history": federation.history,
        "sizes": {member.name: member.size for member in members},
        "scores": scores,
        "epsilon": federation.epsilon,
    }
    about["secure_aggregation"] = secure
    return _store(row, module, found, config, metadata, name, about)


def _participants(
    row: networks.Network,
    names: Sequence[str],
    data: str | None,
    seed: int,
    config: Any,
    start: source.Source | None,
) -> list[Participant]:
    own = [name for name in names if not _SWARM.fullmatch(name) or _exists(name)]
    swarms = [name for name in names if name not in own]
    folders = {name: preprocess.for_network(row.name, name) for name in own}
    whole = data or f"preprocessed-{row.name}-data"
    if swarms:
        folders[whole] = preprocess.for_network(row.name, whole)
    for folder in folders.values():
        if start is not None:
            source.suits(start, folder)
    schemas = {name: source.schema(folder) for name, folder in folders.items()}
    source.comparable(schemas, "preprocess both with the same options")
    found: dict[str, Any] = {}
    if swarms:
        parts = row.learn.Data.load(folders[whole], _HIDDEN, seed, asdict(config)).parts()
        usable = [part for part in parts.values() if _usable(part)]
        places = {name: int(name.rpartition("-")[2]) for name in swarms}
        if len(usable) < max(places.values()):
            raise InputError(
                f"{folders[whole]}: {len(usable)} of its projects, pools or families have enough to train and to "
                f"validate on; there is no {max(swarms, key=places.__getitem__)}"
            )
        found |= {name: usable[place - 1] for name, place in places.items()}
    found |= {name: row.learn.Data.load(folders[name], _HIDDEN, seed, asdict(config)) for name in own}
    ordered = {name: found[name] for name in names}
    if own:
        federated.alike({name: federated.kinds(_features(part, config)) for name, part in ordered.items()})
    return list(federated.participants(ordered, list(ordered), config.batch_size))


def _logged(progress: Callable[[int, int, dict[str, Any]], None], folder: Path) -> Callable[..., None]:
    """``progress``, which also writes the rounds' losses for TensorBoard."""
    writer = require("torch.utils.tensorboard", "train").SummaryWriter(str(folder))

    def tell(done: int, of: int, entry: dict[str, Any]) -> None:
        for who, loss in {"all": entry["loss"], **entry["losses"]}.items():
            writer.add_scalar(f"validation-loss/{who}", loss, done)
        writer.flush()
        progress(done, of, entry)

    return tell


def _features(part: Any, config: Any) -> Any:
    """The feature schema of a participant's data; an untrained network is enough for it."""
    module = part.module(config.network).eval()
    with torch.no_grad():
        return part.metadata(module)["features"]


def _exists(name: str) -> bool:
    try:
        return registry.dataset_path(name).exists()
    except InputError:
        return False


def _usable(part: Any) -> bool:
    return all(
        next(part.batches(split, 1, np.random.default_rng(0)), None) is not None for split in ("train", "validation")
    )


def _store(
    row: networks.Network,
    module: Any,
    found: Mapping[str, Any],
    config: Any,
    metadata: dict[str, Any],
    name: str,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Keep the best round's model; what is returned is the command's JSON.

    ``found``: stopped, history, and by participant sizes, scores, epsilon.
    """
    history = found["history"]
    scores: dict[str, list[float]] = {}
    for own in found["scores"].values():
        for key, value in own.items():
            scores.setdefault(key, []).append(value)
    held_out = {key: float(np.nanmean(v)) for key, v in scores.items() if np.isfinite(v).any()}
    absent: dict[str, list[str]] = {}
    suspects: dict[str, int] = {}
    for entry in history:
        for who, reason in entry["absent"].items():
            absent.setdefault(who, []).append(reason)
        for who in entry["suspects"]:
            suspects[who] = suspects.get(who, 0) + 1
    about = dict(about)
    card = {
        **about,
        "config": config.source,
        "rounds": history[-1]["round"] if history else 0,
        "stopped": found["stopped"],
        "participants": found["sizes"],
        "privacy": {"epsilon": found["epsilon"], "secure_aggregation": about.pop("secure_aggregation")},
        "held_out": {"split": "each participant's own", "metrics": held_out},
        "absent": absent,
        "suspects": suspects,
    }
    card.pop("secure_aggregation")
    metadata.pop("card", None)
    file = run.folder(name) / "model.safetensors"
    module.eval()
    export.save(module, file, metadata={**metadata, "provenance": card})
    path = registry.add_model(name, None, file, card)
    return {
        "model": name,
        "version": path.parent.name,
        "path": path,
        "stopped": found["stopped"],
        "rounds": history,
        "participants": found["sizes"],
        "losses": history[-1]["losses"] if history else {},
        "epsilon": found["epsilon"],
        "secure_aggregation": card["privacy"]["secure_aggregation"],
        "held_out": held_out,
        "absent": absent,
        "suspects": suspects,
    }


def _write(path: Path, state: dict[str, Any], about: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    adam = {key: torch.from_numpy(np.asarray(value)) for key, value in state["adam"].items()}
    torch.save({**state, "adam": adam, "about": about}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.atomic_write(path, buffer.getvalue())


def _read(path: Path, about: dict[str, Any] | None) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path.parent}: nothing to resume, it has no federation; leave out --resume to start")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"{path}: the checkpoint cannot be read ({error}); start again without --resume") from None
    if about is not None and state.pop("about") != about:
        raise InputError(f"{path}: cannot resume, the federation was another one; start a new one")
    return state
