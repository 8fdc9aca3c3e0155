"""Sizes of the prediction network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from claude_flow.errors import InputError
from claude_flow.schema import List, Number, Record, Whole

__all__ = ["DATA", "FIXED", "MEASURES", "TINY", "Config", "PredictionConfig", "space"]

#: fields that the encoder dictates: a training cannot change them
FIXED = ("input_width", "targets", "quantiles")
#: options of the training data: shares of the rows that are shown without their history, and without names
DATA = Record({"forget": Number(0, 1), "anonymous": Number(0, 1)})
#: what the validation split is judged by; also by source, such as kth-sp2/duration-mae-s
MEASURES = (
    *("loss", "duration-mae-log", "duration-mae-s", "duration-pinball", "failure-auc"),
    *("duration-coverage-80", "duration-width-80", "duration-coverage-95", "duration-width-95"),
    *("steps-mae-log", "cpu-mae-log", "memory-mae-log", "cost-mae-log", "tokens-mae-log", "retries-mae-log"),
    "queue-mae-log",
)


@dataclass(frozen=True)
class PredictionConfig:
    """Sizes of :class:`PredictionNet`; the defaults are the spec's. The output is ``targets * (quantiles + 1)``.

    ``layers`` 0 reads each record by itself, through two linear layers with GELU: only the attention then relates them.
    ``hidden`` above 0 puts two layers of that width (GELU, the second residual) before the head and shows them the
    open record beside what was read; ``members`` such networks are trained side by side and their outputs averaged.
    What pruning leaves is given by ``widths``, of each layer (empty: ``width`` in each), and ``key_width``, of the
    attention's keys (0: that of the last layer).
    """

    input_width: Annotated[int, Whole(1, 65_536)] = 128
    width: Annotated[int, Whole(1, 65_536)] = 256
    layers: Annotated[int, Whole(0, 64)] = 3
    targets: Annotated[int, Whole(1, 1024)] = 8
    quantiles: Annotated[int, Whole(1, 99)] = 7
    max_tokens: Annotated[int, Whole(1, 65_536)] = 128
    dropout: Annotated[float, Number(0, 0.95)] = 0.1
    hidden: Annotated[int, Whole(0, 65_536)] = 0
    members: Annotated[int, Whole(1, 64)] = 1
    widths: Annotated[tuple[int, ...], List(Whole(1, 65_536), "width", 0, 64)] = ()
    key_width: Annotated[int, Whole(0, 65_536)] = 0

    def __post_init__(self) -> None:
        if self.widths and len(self.widths) != (self.layers or 2):
            raise InputError(f"network.widths names {len(self.widths)} layers; there are {self.layers or 2}")

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Width of each LSTM, or of the two linear layers in their place."""
        return self.widths or (self.width,) * (self.layers or 2)

    @property
    def key_size(self) -> int:
        """Width of the attention's keys."""
        return self.key_width or self.layer_widths[-1]


Config = PredictionConfig
TINY = {"input_width": 4, "width": 3, "layers": 1, "targets": 2, "quantiles": 3, "hidden": 3, "members": 2}


def space(trial: Any) -> dict[str, Any]:
    """Sizes to try in an architecture search, by a trial's ``suggest_*``."""
    return {
        "width": trial.suggest_categorical("width", [16, 32, 64, 96, 128]),
        "layers": trial.suggest_int("layers", 0, 2),
        "hidden": trial.suggest_categorical("hidden", [0, 64, 128, 192]),
        "members": trial.suggest_int("members", 1, 4),
    }
