"""Sizes of the integration layer and the decision engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from claude_flow.environments.observe import FEATURES
from claude_flow.schema import Record, Whole

__all__ = ["DATA", "FIXED", "MEASURES", "STREAMS", "TINY", "ActionConfig", "Config"]

#: what is fused, in the order of the inputs: name -> width. Coordination comes as four tokens of 256: its outputs,
#: pooled with each of its command embeddings as the query.
STREAMS = {"coordination": 1024, "optimization": 128, "prediction": 64, "state": len(FEATURES)}
FIXED = ("input_width", "actions")
DATA = Record({})
MEASURES = ("loss", "reward", "resolve-rate", "completion-time", "cost")


@dataclass(frozen=True)
class ActionConfig:
    """Sizes of :class:`~claude_flow.networks.action.net.ActionNet`; ``fused`` is the fused state's width."""

    input_width: Annotated[int, Whole(1, 65_536)] = sum(STREAMS.values())
    fused: Annotated[int, Whole(1, 4096)] = 256
    hidden: Annotated[int, Whole(1, 4096)] = 128
    actions: Annotated[int, Whole(1, 256)] = 13


Config = ActionConfig
TINY = {"input_width": 7, "fused": 5, "hidden": 4, "actions": 3}
