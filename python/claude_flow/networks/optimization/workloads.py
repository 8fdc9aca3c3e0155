"""Random swarms for the simulator: workload families, workloads drawn around them, settings with things wrong.

A *family* is a kind of work (``FAMILIES``): the centre from which its workloads are drawn. The optimization
network is trained on some families and judged on others, so that what it learns must carry over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from claude_flow.networks.optimization.catalogue import TUNABLES
from claude_flow.networks.optimization.features import WORKLOAD

__all__ = ["FAMILIES", "HIDDEN", "PARAMETERS", "VISIBLE", "sample"]

Array = NDArray[np.float64]

_SPREADS = {  # log spread around the family's centre; a share is drawn in log-odds
    "steps": 0.5,
    "context-need": 0.6,
    "output-tokens": 0.5,
    "tool-seconds": 0.7,
    "test-seconds": 0.8,
    "difficulty": 0.6,
    "parallelism": 0.7,
    "repetition": 0.7,
    "burstiness": 0.5,
    "variability": 0.4,
}
VISIBLE = {name: (low, high, _SPREADS.get(name, 0.0)) for name, (_, low, high, _) in WORKLOAD.items()}
HIDDEN: dict[str, tuple[float, float, float]] = {  # (low, high, spread); nobody measures these, only their effects
    "provider-error": (0.001, 0.3, 1.0),  # share of model calls
    "tool-error": (0.002, 0.3, 0.8),  # share of tool calls
    "flakiness": (0.001, 0.3, 1.0),  # chance that flaky tests fail good work
    "network-ms": (1.0, 300.0, 1.0),
    "coupling": (0.02, 0.9, 0.8),  # share of tasks that touch the same files
    "change-rate": (0.002, 2.0, 1.0),  # relevant edits to the code base per hour
    "cold-start": (1.0, 120.0, 0.8),  # seconds
}
PARAMETERS = {**VISIBLE, **HIDDEN}
_SHARES = frozenset(name for name, (_, high, _) in PARAMETERS.items() if high < 1.0)

_SIZED = ("arrival-rate", "cores", "host-memory", "rate-limit")  # drawn together, see sample()
_CENTRES = (
    *("steps", "context-need", "output-tokens", "tool-seconds", "test-seconds", "difficulty", "parallelism"),
    *("repetition", "burstiness", "flakiness", "coupling", "change-rate"),
)
_COMMON = {
    "variability": 1.3,
    "provider-error": 0.03,
    "tool-error": 0.02,
    "network-ms": 25.0,
    "cold-start": 30.0,
}
FAMILIES: dict[str, tuple[float, ...]] = {  # columns as in _CENTRES
    "bug-fix": (25, 20e3, 350, 4, 180, 0.35, 0.20, 0.40, 1.5, 0.02, 0.20, 0.10),
    "feature": (60, 30e3, 700, 5, 300, 0.40, 0.50, 0.30, 1.2, 0.02, 0.30, 0.15),
    "refactoring": (45, 60e3, 900, 3, 400, 0.25, 0.40, 0.50, 1.0, 0.02, 0.60, 0.20),
    "test-writing": (20, 15e3, 800, 8, 250, 0.15, 0.70, 0.60, 1.0, 0.05, 0.10, 0.10),
    "code-review": (8, 40e3, 500, 1, 5, 0.30, 0.60, 0.20, 3.0, 0.01, 0.05, 0.20),
    "documentation": (10, 25e3, 1200, 1, 5, 0.08, 0.60, 0.40, 1.0, 0.01, 0.10, 0.05),
    "migration": (80, 35e3, 600, 10, 900, 0.25, 0.80, 0.70, 0.8, 0.04, 0.40, 0.10),
    "data-pipeline": (30, 12e3, 500, 40, 600, 0.20, 0.50, 0.50, 1.5, 0.03, 0.15, 0.05),
    "research": (40, 90e3, 1500, 6, 5, 0.60, 0.60, 0.15, 2.0, 0.01, 0.05, 0.02),
    "incident": (15, 30e3, 300, 8, 60, 0.55, 0.30, 0.20, 7.0, 0.03, 0.30, 0.60),
    "web-interface": (35, 18e3, 900, 6, 240, 0.20, 0.40, 0.40, 1.3, 0.10, 0.40, 0.30),
    "api-design": (18, 25e3, 1000, 2, 60, 0.45, 0.25, 0.25, 1.0, 0.01, 0.30, 0.10),
    "triage": (4, 8e3, 200, 1, 2, 0.12, 0.20, 0.60, 5.0, 0.01, 0.05, 0.10),
    "security-audit": (70, 120e3, 500, 12, 30, 0.65, 0.70, 0.25, 1.0, 0.02, 0.05, 0.05),
    "infrastructure": (22, 10e3, 350, 35, 120, 0.30, 0.20, 0.50, 1.5, 0.06, 0.30, 0.15),
    "performance": (50, 35e3, 500, 45, 800, 0.60, 0.30, 0.30, 0.9, 0.08, 0.20, 0.08),
    "dependency-update": (12, 8e3, 200, 15, 500, 0.12, 0.50, 0.80, 4.0, 0.06, 0.20, 0.10),
    "prototype": (30, 10e3, 1300, 3, 20, 0.30, 0.40, 0.25, 2.0, 0.02, 0.20, 0.40),
    "embedded": (40, 45e3, 450, 60, 1500, 0.50, 0.15, 0.35, 0.8, 0.04, 0.30, 0.05),
    "translation": (6, 6e3, 1500, 0.5, 5, 0.06, 0.85, 0.55, 3.0, 0.01, 0.05, 0.05),
}


def sample(generator: np.random.Generator, rows: int) -> tuple[dict[str, Array], Array, NDArray[np.int32]]:
    """Draw ``rows`` swarms: workload columns by name (each ``[rows]``), settings ``[rows, 64]`` in the catalogue's
    units, and the index of each row's family ``[rows]``.

    Settings start near the catalogue's defaults; then a random handful is thrown anywhere in its range, and the
    number of agents is drawn around what the load needs, so that a row usually has one or a few things wrong.

    >>> workload, settings, family = sample(np.random.default_rng(0), 4)
    >>> sorted(workload) == sorted(PARAMETERS), settings.shape, family.shape
    (True, (4, 64), (4,))
    """
    family = generator.integers(0, len(FAMILIES), rows).astype(np.int32)
    centres = np.array(list(FAMILIES.values()))[family]
    workload: dict[str, Array] = {}
    for name, (low, high, spread) in PARAMETERS.items():
        if name in _SIZED:
            continue
        centre = centres[:, _CENTRES.index(name)] if name in _CENTRES else np.full(rows, _COMMON[name])
        noise = generator.normal(0.0, spread, rows)
        if name in _SHARES:
            odds = centre / (1.0 - centre) * np.exp(noise)
            value = odds / (1.0 + odds)
        else:
            value = centre * np.exp(noise)
        workload[name] = np.clip(value, low, high)

    # The load and the host are drawn to fit each other loosely: each is now too small, now too large.
    busy = np.exp(generator.normal(1.5, 0.9, rows))  # agents that the arrivals keep busy, roughly
    seconds = workload["steps"] * (24.0 + workload["tool-seconds"]) + 0.3 * workload["test-seconds"]
    tokens = workload["steps"] * (0.7 * workload["context-need"] + 12e3)
    sizes = {
        "arrival-rate": busy / seconds * 3600.0,
        "cores": busy * 0.7 * np.exp(generator.normal(0.6, 0.7, rows)),
        "host-memory": busy * 4e9 * np.exp(generator.normal(0.6, 0.7, rows)),
        "rate-limit": busy / seconds * 60.0 * tokens * np.exp(generator.normal(1.0, 0.8, rows)),
    }
    for name, value in sizes.items():
        workload[name] = np.clip(value, *PARAMETERS[name][:2])

    defaults = np.array([float(tunable.position(tunable.default)) for tunable in TUNABLES])
    position = defaults + generator.normal(0.0, 0.06, (rows, len(TUNABLES)))
    share = generator.choice([0.02, 0.08, 0.25], rows, p=[0.35, 0.4, 0.25])
    wrong = generator.random(position.shape) < share[:, None]
    position = np.where(wrong, generator.random(position.shape), position)

    agents = np.clip(busy * np.exp(generator.normal(0.9, 0.6, rows)), 1.0, 64.0)
    position[:, 0] = np.where(wrong[:, 0], position[:, 0], TUNABLES[0].position(agents))
    settings = np.stack([tunable.value(position[:, i]) for i, tunable in enumerate(TUNABLES)], axis=1)
    return workload, settings, family
