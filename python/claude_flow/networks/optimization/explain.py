"""What people call the inputs of an optimization network, and which of them they may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from claude_flow.model import Model
from claude_flow.networks.inputs import Item, Knob, Part
from claude_flow.networks.optimization.answer import possible
from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES
from claude_flow.networks.optimization.features import GROUPS as SECTIONS
from claude_flow.networks.optimization.features import TARGETS_KEY, Encoder

__all__ = ["GROUPS", "Reader", "decided"]

#: groups of inputs, each a section of a request
GROUPS = dict.fromkeys((*SECTIONS, TARGETS_KEY), "state")
_DECISION, _NOTHING = "first change", "no change"


class Reader:
    """Reads requests as one model does."""

    def __init__(self, model: Model) -> None:
        self._encoder = Encoder.from_schema(model.features)
        self._scale = float(model.constant("scale"))

    def item(self, request: Any) -> Item:
        """The request as the network sees it; the one decision is which change comes first, or none."""
        encoder, scale = self._encoder, self._scale
        reading = encoder.encode(request)
        parts = [
            Part(path.partition(".")[0], path.partition(".")[2], "swarm", 0, np.array(encoder.slots(path), np.intp))
            for path in reading.values
        ]
        wishes = np.arange(2 * len(encoder.fields), encoder.width)
        parts.append(Part(TARGETS_KEY, "weights", "swarm", 0, wishes))
        lacking = np.array([not possible(i, reading) for i in range(len(RECOMMENDATIONS))])

        def scores(y: Any, xp: Any) -> Any:
            gains = y / scale - 1e9 * xp.asarray(lacking, dtype=y.dtype)
            return xp.concatenate([gains, y[:, :1] * 0], 1)[:, None]

        names = tuple(r.id for r in RECOMMENDATIONS)
        x = reading.inputs[None]
        return Item(
            request,
            x,
            ("swarm",),
            ("state",),
            tuple(parts),
            (_DECISION,),
            (*names, _NOTHING),
            scores,
            x.shape[1:],
            rival=len(names),
        )

    def knobs(self, item: Item) -> list[Knob]:
        """What a request may say otherwise: what it measures, sets, works on and is limited by."""
        whole = {tunable.name for tunable in TUNABLES if tunable.whole}
        reading = self._encoder.encode(item.request)
        made = []
        for field in self._encoder.fields:
            value = reading.values.get(field.path)
            if value is not None:
                low, high = min(field.low, value), max(field.high, value)
                integer = field.group == SECTIONS[1] and field.name in whole
                path = (field.group, field.name)
                made.append(Knob(field.path, path, value, low, high, (), field.scale != "linear", integer))
        return made


def decided(answer: Mapping[str, Any]) -> dict[str, str]:
    """What an answer of ``infer`` decided: the change that it names first."""
    first = answer["recommendations"][:1]
    return {_DECISION: first[0]["id"] if first else _NOTHING}
