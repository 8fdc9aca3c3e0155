"""The training configuration: the spec's JSON, checked field by field, with defaults for what it leaves out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_flow import networks
from claude_flow.errors import InputError
from claude_flow.values import parse_json

__all__ = ["TrainingConfig", "lower_is_better", "parse", "read"]

OPTIMIZERS = ("AdamW", "Adam", "SGD")
SCHEDULES = ("cosine-annealing", "linear", "constant")


@dataclass
class TrainingConfig:
    """One training run. ``network`` holds fields of the network's own configuration class.

    ``monitor`` is the validation metric that stops early and picks the best epoch (``patience`` epochs without an
    improvement; ``None`` trains to the end). ``gradient_clipping`` is the largest norm of all gradients.
    ``learning_rate`` ``None`` has a range test find it. ``ema_decay`` above 0 keeps the average of the weights over
    about 1 / (1 - decay) steps instead of the last ones. ``label_smoothing`` is the share of the target distribution
    that is spread evenly (coordination's, the one network whose loss has such a distribution as its only label).
    """

    learning_rate: float | None = 1e-3
    schedule: str = "cosine-annealing"
    warmup_steps: int = 100
    optimizer: str = "AdamW"
    weight_decay: float = 0.01
    batch_size: int = 32
    sequence_length: int = 128
    epochs: int = 100
    patience: int | None = 10
    monitor: str = "validation-loss"
    gradient_clipping: float = 1.0
    ema_decay: float = 0.0
    label_smoothing: float = 0.0
    network: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)


def lower_is_better(metric: str) -> bool:
    """Whether a metric's name says that smaller values are better.

    >>> lower_is_better("validation-regret"), lower_is_better("coordination-accuracy")
    (True, False)
    """
    return any(word in metric for word in ("loss", "regret", "mae", "error", "brier", "width", "pinball"))


def _number(low: float, high: float, *, open_low: bool = False) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"a number, not {value!r}")
        if value > high or value < low or (open_low and value == low):
            raise ValueError(f"a number in {'(' if open_low else '['}{low:g}, {high:g}], not {value!r}")
        return float(value)

    return check


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}, not {value!r}")
        return value

    return check


def _choice(*names: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}, not {value!r}")
        return str(value)

    return check


def _rate(value: Any) -> float | None:
    if value == "auto":
        return None
    try:
        return _number(0, 10, open_low=True)(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "auto"') from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false, not {value!r}")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a name, not {value!r}")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"an object, not {value!r}")
    return {key.replace("-", "_"): v for key, v in value.items()}


#: path in the JSON -> (field of TrainingConfig, or a field of the network after "network.", check)
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "model-architecture": ("", _name),
    "optimizer": ("optimizer", _choice(*OPTIMIZERS)),
    "learning-rate.initial": ("learning_rate", _rate),
    "learning-rate.schedule": ("schedule", _choice(*SCHEDULES)),
    "learning-rate.warmup-steps": ("warmup_steps", _integer(0, 10**9)),
    "batch-size": ("batch_size", _integer(1, 1_000_000)),
    "sequence-length": ("sequence_length", _integer(2, 128)),
    "epochs": ("epochs", _integer(1, 1_000_000)),
    "early-stopping.patience": ("patience", _integer(1, 1_000_000)),
    "early-stopping.monitor": ("monitor", _name),
    "ema-decay": ("ema_decay", _number(0, 0.99999)),
    "gradient-clipping": ("gradient_clipping", _number(0, 1e9, open_low=True)),
    "regularization.weight-decay": ("weight_decay", _number(0, 10)),
    "regularization.dropout": ("network.dropout", _number(0, 0.95)),
    "regularization.label-smoothing": ("label_smoothing", _number(0, 0.9)),
    "regularization.layer-norm": ("network.layer_norm", _flag),
    "attention-config.num-heads": ("network.heads", _integer(1, 256)),
    "attention-config.attention-dropout": ("network.attention_dropout", _number(0, 0.95)),
    "attention-config.scale-attention": ("network.scale_attention", _flag),
    "network": ("network", _object),
    "data": ("data", _object),
}
#: fields that some networks have no use for: those that have list them in their rows
_OPTIONAL = frozenset({"regularization.label-smoothing", "regularization.layer-norm"}) | {
    path for path in _FIELDS if path.startswith("attention-config.")
}
_SECTIONS = {path.split(".")[0] for path in _FIELDS if "." in path}


def parse(document: Any, network: str, where: str = "config") -> TrainingConfig:
    """Check a configuration document for ``network`` and fill in the defaults.

    The document is the spec's: one object under ``"<network>-training"``. Beyond the spec's keys, ``"network"``
    sets sizes (``{"width": 64}``), ``"data"`` options of the network's training data, ``"gradient-clipping"`` the
    norm; leaving out ``"early-stopping"`` trains every epoch. Raises :class:`InputError` that names the field.

    >>> parse({"optimization-training": {"epochs": 3, "network": {"hidden": [64]}}}, "optimization").epochs
    3
    >>> parse({"coordination-training": {"epoch": 3}}, "coordination")
    Traceback (most recent call last):
    ...
    claude_flow.errors.InputError: config: coordination-training.epoch: no such field; did you mean epochs?
    """
    row = networks.get(network)
    root = f"{network}-training"
    if not isinstance(document, dict) or list(document) != [root] or not isinstance(document[root], dict):
        raise InputError(f'{where}: it must be one object under "{root}", as in the guide')
    config = TrainingConfig(source=document, monitor="validation-loss")
    if "early-stopping" not in document[root]:
        config.patience = None
    for path, value in _leaves(document[root]):
        if path not in _FIELDS:
            near = difflib.get_close_matches(path, [*_FIELDS, *_SECTIONS], 1)
            hint = f"did you mean {near[0]}?" if near else f"known fields: {', '.join(_FIELDS)}"
            raise InputError(f"{where}: {root}.{path}: no such field; {hint}")
        target, check = _FIELDS[path]
        if path in _OPTIONAL and path not in row.training_fields:
            others = ", ".join(other.name for other in networks.NETWORKS.values() if path in other.training_fields)
            raise InputError(f"{where}: {root}.{path}: {network} has no use for it, {others} has")
        try:
            value = check(value)
        except ValueError as error:
            raise InputError(f"{where}: {root}.{path} must be {error}") from None
        if path == "model-architecture" and value != row.architecture:
            raise InputError(f"{where}: {root}.{path}: {network} is a {row.architecture}, not a {value}")
        if target.startswith("network."):
            config.network.setdefault(target.removeprefix("network."), value)
        elif target == "network":
            config.network.update(value)
        elif target:
            setattr(config, target, value)
    try:
        row.config(config.network)
    except InputError as error:
        raise InputError(f"{where}: {root}.{error}") from None
    return config


def _leaves(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and (path in _SECTIONS or (value and path not in _FIELDS)):
            leaves += _leaves(value, f"{path}.")
        else:
            leaves.append((path, value))
    return leaves


def read(path: Path, network: str) -> TrainingConfig:
    """Read and :func:`parse` a JSON file; a malformed one raises :class:`InputError` with line and column."""
    try:
        return parse(parse_json(path.read_text(encoding="utf-8"), str(path)), network, str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
