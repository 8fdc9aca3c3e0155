"""Is a network that is trained on a log better for that log than what there is? Judged walk-forward, kept or refused.

The later half of the log is cut into blocks. For each, the network is trained on what came before the block, and asked
beside the rivals of its kind, which know just as much, and beside the model in use.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import claude_flow
from claude_flow import networks, registry, statistics
from claude_flow.errors import InputError
from claude_flow.evaluate.refit import derive
from claude_flow.report.progress import Progress, nothing
from claude_flow.train.config import TrainingConfig

__all__ = ["BLOCKS", "NEW", "SURE", "Block", "Verdict", "judge", "walk"]

NEW = "trained on the log"
BLOCKS = 2
SURE = 0.05  # the chance that a model which is no better is kept

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """What a network's ``judge.walked`` returns for one block: a value per judged row and contender.

    ``measure`` says what the values are, ``higher`` whether more is better, ``units`` [rows] what a paired test
    resamples.
    """

    measure: str
    higher: bool
    units: NDArray[Any]
    values: dict[str, Array]


@dataclass(frozen=True)
class Verdict:
    """How the contenders did, and whether the new one is kept.

    ``contenders``: name -> mean; ``strongest`` the best of the others; ``gain`` of the new one over it, above 0 is
    better, with a 95 % interval over units; ``p`` of no difference (paired permutations).
    """

    network: str
    measure: str
    rows: int
    units: int
    contenders: dict[str, float]
    strongest: str
    gain: float
    low: float | None
    high: float | None
    p: float
    kept: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON-ready dictionary."""
        return asdict(self)


def judge(network: str, blocks: Sequence[Block]) -> Verdict:
    """The verdict on all blocks together: the new network is kept if it beats the strongest of the others for sure.

    >>> units = np.repeat(np.arange(12), 2).astype(str)
    >>> found = Block("accuracy", True, units, {NEW: np.ones(24), "most used": np.zeros(24)})
    >>> judge("coordination", [found]).kept
    True
    """
    first = blocks[0]
    names = [name for name in first.values if all(name in block.values for block in blocks)]
    values = {name: np.concatenate([block.values[name] for block in blocks]) for name in names}
    units = np.concatenate([block.units for block in blocks])
    known = np.all([np.isfinite(v) for v in values.values()], axis=0)
    values, units = {name: v[known] for name, v in values.items()}, units[known]
    if not len(units):
        raise InputError(f"{network}: the log has nothing to judge on after its first half: collect more runs")
    means = {name: float(v.mean()) for name, v in values.items()}
    sign = 1.0 if first.higher else -1.0
    strongest = max((name for name in names if name != NEW), key=lambda name: sign * means[name])
    gains = sign * (values[NEW] - values[strongest])
    groups, place = np.unique(units, return_inverse=True)
    p: float = 1.0
    span: tuple[float | None, float | None] = (None, None)
    if len(groups) > 1:
        p = statistics.permutation(np.bincount(place, gains))
        found = statistics.bootstrap(gains, units.tolist())
        span = found.low, found.high
    gain = float(gains.mean())
    kept = gain > 0 and p < SURE
    told = f"{means[NEW]:.4g} against {means[strongest]:.4g} of {strongest}, p {p:.2g}"
    why = f"better: {told}" if kept else f"{'a tie' if p >= SURE else 'worse'}: {told}"
    return Verdict(network, first.measure, len(units), len(groups), means, strongest, gain, *span, p, kept, why)


def walk(
    network: str,
    settings: TrainingConfig,
    tables: Path,
    data: Path,
    current: Path,
    scratch: Path,
    *,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> tuple[Verdict, Path, dict[str, Any]]:
    """Train ``network`` for every block and judge it beside its rivals and the ``current`` model.

    Args:
        tables: the log. data: the same, preprocessed for the network.
        scratch: an empty folder for what is trained.
        time_budget: seconds for all trainings; each ends at its best epoch.

    Returns:
        The verdict, the model of the last block, which knows most of the log, and its card.

    Raises:
        InputError: the network's data is no log, or too short.
    """
    examiner = networks.get(network).judge
    if not hasattr(examiner, "blocks"):
        raise InputError(f"{network} is not judged on a log")
    parts = examiner.blocks(data, BLOCKS)
    from claude_flow.train.loop import fit  # torch takes seconds to load: after what can be wrong

    deadline = None if time_budget is None else time.monotonic() + time_budget
    name, found, card, model = registry.model_name(current), [], {}, current
    for place, (what, manifest, tensors) in enumerate(parts):
        folder, run = derive(data, scratch / f"data-{place}", manifest, tensors), scratch / f"run-{place}"

        def epochs(epoch: int, of: int, share: float, values: dict[str, float]) -> None:
            progress((place + 0.8 * (epoch - 1 + share) / of) / len(parts), f"{what}: epoch {epoch} of {of}")  # noqa: B023

        left = None if deadline is None else max(deadline - time.monotonic(), 0.1) / (len(parts) - place)
        card = fit(network, settings, folder, run, seed=seed, time_budget=left, distributed="off", progress=epochs)
        model = run / "model.safetensors"
        progress((place + 0.8) / len(parts), f"{what}: its rivals")
        models = {NEW: claude_flow.load(model), name: claude_flow.load(current)}
        found.append(examiner.walked(tables, folder, models, seed))
    return judge(network, found), model, card
