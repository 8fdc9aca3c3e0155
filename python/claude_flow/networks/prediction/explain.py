"""What people call the inputs of a prediction network. It forecasts numbers: there is no decision to change."""

from __future__ import annotations

from typing import Any

import numpy as np

from claude_flow.model import Model
from claude_flow.networks.inputs import Item, Part
from claude_flow.networks.prediction.answer import INPUTS, encoded, parse_request
from claude_flow.networks.prediction.features import QUANTILES, slots

__all__ = ["GROUPS", "Reader"]

#: group of inputs -> kind of token
GROUPS = {"task-attributes": "task", "history-statistics": "task", "past-runs": "run"}
_STATISTICS = {"runs most like it", "the source's latest runs"}


class Reader:
    """Reads requests as one model does."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def item(self, request: Any) -> Item:
        """The request as the network sees it; what is explained is log1p of the median duration, without its anchor."""
        read = encoded(self._model, [parse_request(request)])
        x, names = read.x[0], slots()
        last = len(x) - 1
        own = {
            label: [i for i, name in enumerate(names) if name.startswith(starts)] for label, starts in INPUTS.items()
        }
        own["means of the history"] = [
            i for i, name in enumerate(names) if name.startswith(("anchor ", "same request:"))
        ]
        parts = [
            Part(
                "history-statistics" if label in {*_STATISTICS, "means of the history"} else "task-attributes",
                label,
                "task",
                last,
                np.array(index, np.intp),
            )
            for label, index in own.items()
        ]
        everything = np.arange(x.shape[1])
        parts += [Part("past-runs", "past run", f"run {last - i} before", i, everything) for i in range(last)]
        spread, middle = float(read.encoder.spread[0]), QUANTILES.index(0.5)

        def scores(y: Any, xp: Any) -> Any:
            median = spread * y[:, middle : middle + 1]
            return xp.concatenate([median, median * 0], 1)[:, None]

        tokens = (*(f"run {last - i} before" for i in range(last)), "task")
        kinds = (*("run" for _ in range(last)), "task")
        return Item(
            request, x, tokens, kinds, tuple(parts), ("duration",), ("median", "mean"), scores, x.shape, rival=1
        )
