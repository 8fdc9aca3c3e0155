"""Which node gets the next shard: in turn, to the one with least to do, or to the one that will be done first."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from claude_flow.model import load_for
from claude_flow.networks.prediction.forecast import durations
from claude_flow.networks.prediction.history import Runs

__all__ = ["STRATEGIES", "LeastLoaded", "NeuralWeighted", "RoundRobin"]

_KEPT = 16  # latest shards of each node that the network looks back at
_RATE = 0.3  # weight of the newest shard in the correction
# The network learned from runs of seconds to days: a shard's milliseconds stand as seconds.
_SCALE = 1000.0


class RoundRobin:
    """The nodes in turn, however much they have to do."""

    def __init__(self, names: Sequence[str]) -> None:
        self._turn = deque(names)

    def choose(self, free: Sequence[str], queued: Mapping[str, Sequence[int]], size: int) -> str | None:
        """The node of ``free`` that gets a shard of ``size`` requests, or None to wait; ``queued`` are the sizes of
        what each node has to do."""
        for _ in range(len(self._turn)):
            name = self._turn[0]
            if name in queued and name not in free:
                return None  # its turn, and it has enough to do
            self._turn.rotate(-1)
            if name in free:
                return name
        return None

    def learn(self, name: str, size: int, seconds: float) -> None:
        """Take in how long a shard took."""

    def about(self, name: str) -> dict[str, Any]:
        """What is known of a node."""
        return {}


class LeastLoaded(RoundRobin):
    """The node with the fewest requests to do; of several the next in turn."""

    def choose(self, free: Sequence[str], queued: Mapping[str, Sequence[int]], size: int) -> str | None:
        """As :meth:`RoundRobin.choose`."""
        if not free:
            return None
        self._turn.rotate(-1)
        return min((name for name in self._turn if name in free), key=lambda name: sum(queued[name]))


class NeuralWeighted(RoundRobin):
    """The node that would be done with the shard first, by the prediction network's median.

    The network sees every node's latest shards as past runs of an agent of that name. What it was not trained on, a
    correction per node learns: the mean log ratio of measured to expected seconds, newest first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self._model = load_for("prediction")
        self._past: dict[str, deque[tuple[int, int, float]]] = {name: deque(maxlen=_KEPT) for name in names}
        self._correction: dict[str, float] = dict.fromkeys(names, 0.0)
        self._seen: dict[str, int] = dict.fromkeys(names, 0)
        self._misses: dict[str, list[float]] = defaultdict(list)
        self._medians: dict[int, dict[str, float]] = {}  # per size, until something new is known
        self._expected: dict[str, float] = {}

    def choose(self, free: Sequence[str], queued: Mapping[str, Sequence[int]], size: int) -> str | None:
        """As :meth:`RoundRobin.choose`."""
        if not free:
            return None
        self._turn.rotate(-1)
        new = [name for name in self._turn if name in free and not self._seen[name]]
        if new:  # nothing is known of it yet
            return min(new, key=lambda name: sum(queued[name]))
        ends = {name: sum(self.expected(n)[name] for n in (*queued[name], size)) for name in self._turn if name in free}
        return min(ends, key=lambda name: ends[name])

    def expected(self, size: int) -> dict[str, float]:
        """Seconds that every node is expected to take for ``size`` requests."""
        if size not in self._medians:
            now = time.time_ns() // 1000
            rows = [(name, *row) for name, past in self._past.items() for row in past]
            columns: dict[str, list[Any]] = {
                "end": [end for _, end, _, _ in rows],
                "duration_s": [seconds * _SCALE for *_, seconds in rows],
                "batch_size": [float(n) for _, _, n, _ in rows],
                "agent": [name for name, *_ in rows],
                "status": ["completed"] * len(rows),
            }
            names = list(self._past)
            tasks = Runs.from_columns(
                {"submitted": [now] * len(names), "agent": names, "batch_size": [float(size)] * len(names)}
            )
            medians = durations(self._model, Runs.from_columns(columns), tasks) / _SCALE
            self._medians[size] = {
                name: max(float(median), 1e-6) * math.exp(self._correction[name])
                for name, median in zip(names, medians, strict=True)
            }
        return self._medians[size]

    def learn(self, name: str, size: int, seconds: float) -> None:
        """Take in how long a shard took."""
        miss = math.log(max(seconds, 1e-6) / self.expected(size)[name])
        if self._seen[name]:
            self._misses[name].append(abs(miss))
        # The first shards count in full: an average until the newest would weigh less than _RATE.
        self._seen[name] += 1
        self._correction[name] += max(_RATE, 1 / self._seen[name]) * miss
        self._past[name].append((time.time_ns() // 1000, size, seconds))
        self._medians.clear()
        self._expected[name] = self.expected(size)[name]

    def about(self, name: str) -> dict[str, Any]:
        """Seconds that it is expected to take for a shard as its last one, and how far off that was, as a factor."""
        misses = self._misses[name]
        return {
            "expected_seconds": self._expected.get(name),
            "expectation_off_by": math.exp(sum(misses) / len(misses)) if misses else None,
        }


STRATEGIES = {"neural-weighted": NeuralWeighted, "round-robin": RoundRobin, "least-loaded": LeastLoaded}
