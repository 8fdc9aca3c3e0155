"""The model that a recipe starts from, and layers by name."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from claude_flow import export, modelfile, networks
from claude_flow.data import manifest
from claude_flow.errors import InputError
from claude_flow.nets import config_dict
from claude_flow.train import config as training
from claude_flow.train.config import TrainingConfig
from claude_flow.values import did_you_mean, read_json

__all__ = ["Source", "chosen_layers", "comparable", "read", "schema", "suits"]

_SHOWN = 3  # names of a list that a message shows


@dataclass(frozen=True)
class Source:
    """A trained model: its file, its network's row, the torch module, the document that it was trained by, and the
    schema of its features."""

    path: Path
    row: networks.Network
    module: nn.Module
    document: dict[str, Any]
    features: dict[str, Any]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights by parameter name, as ``fit(start=)`` takes them."""
        return dict(self.module.state_dict())

    @property
    def layers(self) -> dict[str, list[str]]:
        """Layer name -> beginnings of parameter names, from the input to the output."""
        found: dict[str, list[str]] = self.row.net.layers(self.module.config)
        return found

    def config(self, **changes: Any) -> TrainingConfig:
        """The training configuration of the model with its own sizes and the given fields of the guide's document.

        >>> import claude_flow
        >>> source = read(claude_flow.registry.model_path("optimization-v2"))
        >>> source.config(epochs=3).epochs
        3
        """
        root = f"{self.row.name}-training"
        body = copy.deepcopy(self.document)
        fixed = self.row.part("config").FIXED
        body["network"] = {name: value for name, value in config_dict(self.module).items() if name not in fixed}
        for section in ("attention-config", "model-architecture"):
            body.pop(section, None)
        for name, value in changes.items():
            key = name.replace("_", "-")
            body[key] = {**body.get(key, {}), **value} if isinstance(value, dict) else value
        return training.parse({root: body}, self.row.name, f"the configuration in {self.path}")


def read(path: Path) -> Source:
    """The model of a file as a recipe's start.

    Raises:
        InputError: the file is no model, or one of 8- or 4-bit weights, whose rounding no training should start from.
    """
    file = modelfile.read(path)
    if file.precision != "fp32":
        raise InputError(f"{path}: it has {file.precision[3:]}-bit weights: start from the model that it was made from")
    document = file.provenance.get("config") or {}
    body = document.get(f"{file.network}-training", {})
    return Source(path, networks.get(file.network), export.from_file(file).train(), body, file.features)


def suits(source: Source, data: Path) -> str | None:
    """Refuse preprocessed data whose inputs or outputs are others than the model's; what to say of data that share no
    named number with it, whose weights then serve for the rest alone.

    A network's fields, targets, choices stand in an order that its weights follow. Named numbers (a task's features)
    have places by their names, so that unknown ones are new inputs and no error.

    Raises:
        InputError: the lists of fields, targets or choices differ.
    """
    ours: Mapping[str, Any] = source.features
    theirs = schema(data)
    comparable({"the model": ours, str(data): theirs}, "preprocess the data anew, or take another model")
    known, named = (set(side.get("features") or ()) for side in (ours, theirs))
    if named and known and not named & known:
        return (
            f"the model knows none of the data's numbers ({_some(sorted(named), [])}): what carries over is the rest, "
            "agents, words and history"
        )
    return None


def schema(data: Path) -> dict[str, Any]:
    """The schema of preprocessed data as its manifest tells it; nothing of one that has none."""
    return read_json(data / manifest.FILE).get("schema") or {}


def comparable(schemas: Mapping[str, Mapping[str, Any]], mend: str) -> None:
    """Refuse schemas, by whose they are, with other lists of fields, targets or choices than the first one's.

    >>> comparable({"a": {"fields": ["x", "y"]}, "b": {"fields": ["z"]}}, "take another")
    Traceback (most recent call last):
        ...
    claude_flow.errors.InputError: a and b share none of their fields: a has x, y, b has z; take another
    """
    (first, ours), *others = schemas.items()
    for second, theirs in others:
        for key in sorted(ours.keys() & theirs.keys()):
            own, other = _names(ours[key]), _names(theirs[key])
            if own and other and own != other:
                count = len(set(own) & set(other))
                raise InputError(
                    f"{first} and {second} share {count or 'none'} of their {key}: {first} has {_some(own, other)}, "
                    f"{second} has {_some(other, own)}; {mend}"
                )


def _names(entries: Any) -> list[str]:
    """The names in a list of names or of records with names; none of anything else."""
    if not isinstance(entries, list):
        return []
    found = [entry.get("name") if isinstance(entry, Mapping) else entry for entry in entries]
    return [name for name in found if isinstance(name, str)]


def _some(names: Sequence[str], but: Sequence[str]) -> str:
    """The first few of ``names`` that are not in ``but``."""
    own = [name for name in names if name not in but] or list(names)
    return ", ".join(own[:_SHOWN]) + (" …" if len(own) > _SHOWN else "")


def chosen_layers(
    layers: Mapping[str, Sequence[str]], frozen: Sequence[str] | None, tuned: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The layers that stay as they are and those that are trained, each in the network's order.

    Told one of the two only, the rest is the other; told both, what neither names stays as it is.

    >>> chosen_layers({"a": [], "b": [], "c": []}, ["a"], None)
    (['a'], ['b', 'c'])

    Raises:
        InputError: a name that is no layer (the message has near matches), one in both, or nothing to train.
    """
    for name in [*(frozen or ()), *(tuned or ())]:
        if name not in layers:
            near = did_you_mean(name, layers) or f": it has {', '.join(layers)}"
            raise InputError(f"this network has no layer {name!r}{near}")
    both = sorted(set(frozen or ()) & set(tuned or ()))
    if both:
        raise InputError(f"{both[0]} cannot be frozen and fine-tuned at once")
    if tuned is not None:
        trained = [name for name in layers if name in tuned]
    else:
        trained = [name for name in layers if name not in (frozen or ())]
    if not trained:
        raise InputError("every layer is frozen: leave one to fine-tune")
    return [name for name in layers if name not in trained], trained
