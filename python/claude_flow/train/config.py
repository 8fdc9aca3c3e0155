"""The training configuration: the spec's JSON, checked field by field, with defaults for what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_flow import networks, schema
from claude_flow.errors import InputError
from claude_flow.files import printable
from claude_flow.values import read_json

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


#: path in the JSON -> field of TrainingConfig, or of the network's sizes after "network."
_TARGETS = {
    "optimizer": "optimizer",
    "learning-rate.initial": "learning_rate",
    "learning-rate.schedule": "schedule",
    "learning-rate.warmup-steps": "warmup_steps",
    "batch-size": "batch_size",
    "sequence-length": "sequence_length",
    "epochs": "epochs",
    "early-stopping.patience": "patience",
    "early-stopping.monitor": "monitor",
    "ema-decay": "ema_decay",
    "gradient-clipping": "gradient_clipping",
    "regularization.weight-decay": "weight_decay",
    "regularization.dropout": "network.dropout",
    "regularization.label-smoothing": "label_smoothing",
    "regularization.layer-norm": "network.layer_norm",
    "attention-config.num-heads": "network.heads",
    "attention-config.attention-dropout": "network.attention_dropout",
    "attention-config.scale-attention": "network.scale_attention",
    "network": "network",
    "data": "data",
}


def _fields(row: networks.Network) -> schema.Record:
    """What a training configuration of the network may say."""

    def optional(path: str, kind: schema.Kind) -> schema.Kind:
        others = ", ".join(other.name for other in networks.NETWORKS.values() if path in other.training_fields)
        return kind if path in row.training_fields else _Unused(f"{row.name} has no use for it, {others} has")

    schedule: dict[str, schema.Kind] = {
        "initial": schema.Either(schema.Number(0, 10, above=True), schema.Choice("auto")),
        "schedule": schema.Choice(*SCHEDULES),
        "warmup-steps": schema.Whole(0, 10**9),
    }
    attention: dict[str, schema.Kind] = {
        "num-heads": schema.Whole(1, 256),
        "attention-dropout": schema.Number(0, 0.95),
        "scale-attention": schema.Flag(),
    }
    regularization: dict[str, schema.Kind] = {
        "weight-decay": schema.Number(0, 10),
        "dropout": schema.Number(0, 0.95),
        "label-smoothing": optional("regularization.label-smoothing", schema.Number(0, 0.9)),
        "layer-norm": optional("regularization.layer-norm", schema.Flag()),
    }
    return schema.Record(
        {
            "model-architecture": schema.Fixed(row.architecture, f"{row.name} is a {row.architecture}"),
            "optimizer": schema.Choice(*OPTIMIZERS),
            "learning-rate": schema.Record(schedule),
            "batch-size": schema.Whole(1, 1_000_000),
            "sequence-length": schema.Whole(2, 128),
            "epochs": schema.Whole(1, 1_000_000),
            "early-stopping": schema.Record(
                {"patience": schema.Whole(1, 1_000_000), "monitor": _Monitor(row.part("config").MEASURES)}
            ),
            "ema-decay": schema.Number(0, 0.99999),
            "gradient-clipping": schema.Number(0, 1e9, above=True),
            "regularization": schema.Record(regularization),
            "attention-config": schema.Record(
                {name: optional(f"attention-config.{name}", kind) for name, kind in attention.items()}
            ),
            "network": row.trainable_sizes,
            "data": row.part("config").DATA,
        },
        says="an object",
    )


@dataclass(frozen=True)
class _Unused:
    """A field that another network has a use for."""

    says: str

    def take(self, value: Any, path: str) -> Any:
        raise InputError(f"{path}: {self.says}")


@dataclass(frozen=True)
class _Monitor:
    """A measure of the validation split: one of these, or one of them for a part of the data, as part-measure or
    part/measure; which parts there are, the data says."""

    measures: tuple[str, ...]

    @property
    def says(self) -> str:
        return f"one of {', '.join(f'validation-{name}' for name in self.measures)}"

    def take(self, value: Any, path: str) -> str:
        ends = tuple(f"{mark}{name}" for name in self.measures for mark in "-/")
        if isinstance(value, str) and value.startswith("validation-") and value.endswith(ends):
            return value
        return schema.Choice(*(f"validation-{name}" for name in self.measures)).take(value, path)


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
    claude_flow.errors.InputError: config: coordination-training.epoch: no such field: did you mean epochs?
    """
    row = networks.get(network)
    root = f"{network}-training"
    if not isinstance(document, dict) or list(document) != [root] or not isinstance(document[root], dict):
        raise InputError(f'{where}: it must be one object under "{root}", as in the guide')
    path = f"{where}: {root}"
    given = schema.check(document[root], _fields(row), path)
    config = TrainingConfig(source=document, monitor="validation-loss")
    if "early-stopping" not in given:
        config.patience = None
    for name, value in _leaves(given):
        target = _TARGETS.get(name, "")
        if target == "learning_rate" and value == "auto":
            config.learning_rate = None
        elif target == "network":
            config.network |= value
        elif target.startswith("network."):
            config.network.setdefault(target.removeprefix("network."), value)
        elif target:
            setattr(config, target, value)
    try:
        sizes = row.config(config.network)
    except InputError as error:
        raise InputError(f"{path}.{error}") from None
    longest = getattr(sizes, "max_tokens", config.sequence_length)
    if config.sequence_length > longest:
        if "sequence-length" in given:
            raise InputError(f"{path}.sequence-length {config.sequence_length} is above network.max_tokens {longest}")
        config.sequence_length = longest  # nothing was said of it: what the network takes
    return config


def _leaves(given: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The fields by path; the network's sizes and the data's options are one each."""
    leaves: list[tuple[str, Any]] = []
    for key, value in given.items():
        path = f"{prefix}{key}"
        leaves += [(path, value)] if path in _TARGETS or not isinstance(value, dict) else _leaves(value, f"{path}.")
    return leaves


def read(path: Path, network: str) -> TrainingConfig:
    """Read and :func:`parse` a JSON file; a malformed one raises :class:`InputError` with line and column."""
    return parse(read_json(path), network, printable(path))
