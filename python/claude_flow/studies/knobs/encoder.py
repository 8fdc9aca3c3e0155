"""Configurations of a system as network inputs: numbers on two scales, words as indicators; NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError

__all__ = ["KnobEncoder"]

Array = NDArray[np.float64]


class KnobEncoder:
    """Learns the knobs of some configurations, and turns any configuration into a row of numbers.

    A knob whose settings are all numbers gives two columns, the number and the signed logarithm of 1 + its size (sizes
    in bytes span decades, counts do not); any other knob gives one indicator per word. Columns have mean 0 and
    deviation 1; those that are constant are left out. A knob that is absent, a word that was never seen, and a knob
    that was never seen are all read as "unknown": 0, the mean.

    >>> encoder = KnobEncoder.fit([{"threads": 1, "log": "ON"}, {"threads": 3, "log": "OFF"}])
    >>> encoder.encode([{"threads": 2, "log": "ON"}, {"log": "FILE"}])[:, :3].tolist()
    [[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, knobs: Mapping[str, list[str]], columns: list[int], mean: Array, deviation: Array) -> None:
        self.knobs = dict(knobs)  # name: its words in order; [] for a number
        self._columns, self._mean, self._deviation = columns, mean, deviation

    @classmethod
    def fit(cls, configurations: Sequence[Mapping[str, Any]]) -> KnobEncoder:
        """Learn names, words and scales.

        :raises InputError: no configuration, or none differs from another in any knob.
        """
        knobs: dict[str, list[str]] = {}
        for name in sorted({name for row in configurations for name in row}):
            settings = [row[name] for row in configurations if name in row]
            words = any(isinstance(setting, str) for setting in settings)
            knobs[name] = sorted({str(setting) for setting in settings}) if words else []
        whole = cls(knobs, [], np.empty(0), np.empty(0))
        wide = whole._widen(whole.table(configurations)) if configurations else np.empty((0, 0))
        known = ~np.isnan(wide)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, wide, 0).sum(0) / count
        deviation = np.sqrt((np.where(known, wide - mean, 0) ** 2).sum(0) / count)
        columns = np.flatnonzero(deviation > 1e-9 * np.maximum(1.0, np.abs(mean)))
        if not len(columns):
            raise InputError("no knob differs between the configurations: there is nothing to rank them by")
        return cls(knobs, columns.tolist(), mean[columns], deviation[columns])

    @property
    def width(self) -> int:
        """Columns of an encoded row."""
        return len(self._columns)

    def table(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """``[n, knobs]``: numbers as they are, words by their place in the alphabet, NaN for unknown."""
        rows = np.full((len(configurations), len(self.knobs)), np.nan)
        for column, (name, words) in enumerate(self.knobs.items()):
            places = {word: float(place) for place, word in enumerate(words)}
            for row, configuration in enumerate(configurations):
                setting = configuration.get(name)
                if words:
                    rows[row, column] = places.get(str(setting), np.nan)
                elif setting is not None and not isinstance(setting, str):
                    rows[row, column] = setting
        return rows

    def columns(self, table: Array) -> Array:
        """Network inputs ``[n, width]`` of a :meth:`table`."""
        wide = self._widen(table)[:, self._columns]
        return np.nan_to_num((wide - self._mean) / self._deviation, nan=0.0)

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """Network inputs, float32 ``[n, width]``."""
        return np.ascontiguousarray(self.columns(self.table(configurations)), np.float32)

    def _widen(self, table: Array) -> Array:
        made = []
        for column, words in enumerate(self.knobs.values()):
            values = table[:, column]
            if words:
                made += [np.where(np.isnan(values), np.nan, values == place) for place in range(len(words))]
            else:
                made += [values, np.sign(values) * np.log1p(np.abs(values))]
        return np.stack(made, axis=1)

    def schema(self) -> dict[str, Any]:
        """JSON-ready; :meth:`from_schema` is the inverse."""
        return {
            "knobs": [[name, words] for name, words in self.knobs.items()],
            "columns": self._columns,
            "mean": self._mean.tolist(),
            "deviation": self._deviation.tolist(),
        }

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> KnobEncoder:
        """The encoder that a model file carries."""
        mean, deviation = (np.array(schema[name], np.float64) for name in ("mean", "deviation"))
        return cls({name: list(words) for name, words in schema["knobs"]}, list(schema["columns"]), mean, deviation)
