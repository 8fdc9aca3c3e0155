"""The standard benchmark suite: simulated data of fixed seeds, made anew wherever it runs, one dataset per network.

Its swarms and logs are others than those that the shipped models learned from, under the same rules. It shows that a
model works and how it compares on equal terms; what it is worth on real data, real data says.
"""

from __future__ import annotations

from pathlib import Path

from claude_flow import networks

__all__ = ["NAME", "build"]

NAME = "standard-benchmark-suite"
#: The shipped models learned from seed 0. Of all other seeds this is the first that tests optimization on the same
#: three families of work: on those that the shipped model never saw (a test compares them with its card).
_SEED = 1303


def build(network: str, folder: Path, share: float = 1.0) -> Path:
    """Make a network's dataset of the suite in ``folder``, or the given ``share`` of it; returns the dataset.

    Simulated swarms, of which the last fifth, or three families of work, are the test part; for prediction a simulated
    log. Each network's ``prepare.suite`` says what.
    """
    data = folder / network
    data.mkdir(parents=True, exist_ok=True)
    prepare = networks.get(network).prepare
    tables, options = prepare.suite(folder, _SEED, share)
    prepare.preprocess(tables, data, options)
    return data
