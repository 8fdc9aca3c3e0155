"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from claude_flow.errors import require

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of their own.

    >>> metrics = Metrics()
    >>> metrics.request("/infer/coordination", 200, 0.002)
    >>> 'claude_flow_serve_requests_total{code="200",network="coordination"} 1.0' in metrics.page()[1].decode()
    True
    """

    def __init__(self) -> None:
        self._client = client = require("prometheus_client", "serve")
        self.registry: Any = client.CollectorRegistry()
        self._requests = client.Counter(
            "claude_flow_serve_requests", "Requests answered.", ["network", "code"], registry=self.registry
        )
        self._seconds = client.Histogram(
            "claude_flow_serve_seconds",
            "From a request's head to its answer.",
            ["network"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._sizes = client.Histogram(
            "claude_flow_serve_batch_size", "Requests taken at a time.", buckets=_SIZES, registry=self.registry
        )
        self._switches = client.Counter(
            "claude_flow_serve_switches", "Changes of a model's version.", ["done"], registry=self.registry
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; ``path`` is empty for what is no question to a network."""
        network = path.rpartition("/")[2]
        self._requests.labels(network, str(status)).inc()
        if path and status == 200:
            self._seconds.labels(network).observe(seconds)

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._sizes.observe(size)

    def switch(self, done: bool) -> None:
        """Count a change of version, or one that failed."""
        self._switches.labels("yes" if done else "no").inc()

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Show a value that is asked for whenever the page is read."""
        self._client.Gauge(f"claude_flow_serve_{name}", what, registry=self.registry).set_function(value)

    def page(self) -> tuple[bytes, bytes]:
        """Media type and text."""
        text: bytes = self._client.generate_latest(self.registry)
        return self._client.CONTENT_TYPE_LATEST.encode(), text
