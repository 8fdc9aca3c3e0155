"""What people call the inputs of an optimization network, and which of them they may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from claude_flow.model import Model
from claude_flow.networks.inputs import Item, Knob, Part
from claude_flow.networks.optimization.answer import possible
from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES
from claude_flow.networks.optimization.features import GROUPS as SECTIONS
from claude_flow.networks.optimization.features import TARGETS_KEY, Encoder, Reading

__all__ = ["GROUPS", "Reader", "decided"]

#: groups of inputs, each a section of a request
GROUPS = dict.fromkeys((*SECTIONS, TARGETS_KEY), "state")
_DECISION, _NOTHING = "first change", "no change"


class _Scores:
    """The scores of an output: gains of the recommendations, -1e9 for what is not possible, 0 for changing nothing."""

    def __init__(self, reading: Reading, scale: float) -> None:
        self.reading, self._scale = reading, scale
        self._lacking = np.array([not possible(i, reading) for i in range(len(RECOMMENDATIONS))])

    def __call__(self, y: Any, xp: Any) -> Any:
        gains = y / self._scale - 1e9 * xp.asarray(self._lacking, dtype=y.dtype)
        return xp.concatenate([gains, y[:, :1] * 0], 1)[:, None]


class Reader:
    """Reads requests as one model does."""

    def __init__(self, model: Model) -> None:
        self._encoder = Encoder.from_schema(model.features)
        self._scale = float(model.constant("scale"))

    def item(self, request: Any) -> Item:
        """The request as the network sees it; the one decision is which change comes first, or none."""
        encoder = self._encoder
        reading = encoder.encode(request)
        parts = [
            Part(path.partition(".")[0], path.partition(".")[2], "swarm", 0, np.array(encoder.slots(path), np.intp))
            for path in reading.values
        ]
        wishes = np.arange(2 * len(encoder.fields), encoder.width)
        parts.append(Part(TARGETS_KEY, "weights", "swarm", 0, wishes))
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
            _Scores(reading, self._scale),
            x.shape[1:],
            rival=len(names),
        )

    def changed(self, item: Item, request: Any) -> Item:
        """The item of ``request``, which is ``item``'s with other values of its :meth:`knobs`."""
        before = item.scores
        assert isinstance(before, _Scores)
        x, values = item.x.copy(), dict(before.reading.values)
        for field in self._encoder.fields:
            value = request.get(field.group, {}).get(field.name)
            if value is not item.request.get(field.group, {}).get(field.name):
                values[field.path] = value
                x[0, self._encoder.slots(field.path)[0]] = float(field.scaled(value))
        return replace(item, request=request, x=x, scores=_Scores(replace(before.reading, values=values), self._scale))

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
