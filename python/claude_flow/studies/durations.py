"""How long coding agents' subagents run: forecasts at their spawn, from real Claude Code logs, walk-forward in time.

Rules: all repositories' runs in the order of their spawns; a forecast knows the spawn (type, prompt length, how many
were spawned together, time of day) and the runs that had **ended** by then, from all repositories. The first 50 runs
only warm up. A duration is log1p of the active seconds: idle gaps above 300 s are left out. Whatever is fitted is
fitted anew after every 100 runs, on the runs that had ended by then; its intervals follow its own misses by adaptive
conformal inference, which starts from its first 100 forecasts. Each rule is a point; its quantiles are those of its
own errors on the runs that had ended. Ours is the shrunken log-mean, moved towards the network by the share that would
have been best so far. The network's settings are those of the built-in configuration
``prediction-v2`` but for smaller batches; LightGBM's are small trees, fixed beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import registry, statistics
from claude_flow.data.collect import collect
from claude_flow.data.lines import head
from claude_flow.data.sources import claude_code
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError, require
from claude_flow.evaluate.result import OURS, Curve, Result, Score
from claude_flow.files import temporary_folder
from claude_flow.networks.prediction import conformal
from claude_flow.networks.prediction.features import QUANTILES
from claude_flow.networks.prediction.history import KEYS, NO_TIME, NUMBERS, TARGETS, Runs, as_of
from claude_flow.networks.prediction.prepare import read_runs
from claude_flow.report.progress import Progress
from claude_flow.train import config

__all__ = ["DATA", "detect", "run"]

DATA = "a folder of Claude Code transcripts (*.jsonl, *.jsonl.gz)"
WARM_UP, BLOCK = 50, 100
LEVELS = {0.8: (1, 3), 0.95: (0, 4)}  # central interval: its bounds among the judged quantiles
JUDGED = (0.025, 0.1, 0.5, 0.9, 0.975)
SHRUNKEN = "shrunken log-mean"
_SHRINKAGE = 3.0  # runs that a wider scope's mean weighs
_BATCH = 32  # prediction-v2's batches are made for logs of 50 000 runs
_BOOSTING = {
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 10,
    "feature_fraction": 0.5,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
}
_ROUNDS = 80
_SHARES = np.linspace(0, 1, 21)  # of the network's forecast when mixed with the shrunken mean

Array = NDArray[Any]


def detect(path: Path) -> bool:
    """Whether ``path`` is a folder of sessions, or of projects with their sessions directly inside."""
    near = [file for depth in ("*.jsonl*", "*/*.jsonl*") for file in sorted(path.glob(depth)) if file.is_file()]
    return any(claude_code.claims(head(file)) for file in near[:20])


def run(path: Path, *, seeds: Sequence[int], quick: bool, progress: Progress) -> Result:
    """Forecast every run after the warm-up by every contender; ``quick`` takes one seed and refits half as often.

    :raises InputError: fewer than 200 runs have a time and a duration.
    """
    seeds, block = (seeds[:1], 2 * BLOCK) if quick else (seeds, BLOCK)
    progress(0.0, f"read {path.name}")
    runs, sessions = _read(path)
    blocks = [np.arange(first, min(first + block, len(runs))) for first in range(WARM_UP, len(runs), block)]
    result = Result("durations", path.name, [], {"warm-up": WARM_UP, "test": len(runs) - WARM_UP})
    losses: dict[str, list[Array]] = {}

    def score(contender: str, quantiles: Array, seed: int) -> None:
        error, loss = _score(result, runs, sessions, contender, quantiles, seed)
        losses.setdefault(contender, []).append(np.stack([error, loss]))

    rules = {name: _with_errors(runs, point) for name, point in _rules(runs).items()}
    for name, quantiles in rules.items():
        score(name, quantiles, 0)
    for i, seed in enumerate(seeds):
        start, share = 0.05 + 0.8 * i / len(seeds), 0.8 / len(seeds)

        def step(done: float, start: float = start, share: float = share, seed: int = seed) -> None:
            progress(start + share * done, f"{OURS}, seed {seed}")

        ours = _mixed(runs, blocks, rules[SHRUNKEN], _adapted(runs, _network(runs, blocks, seed, step)))
        score(OURS, ours, seed)
        if not i:
            middle = ours[WARM_UP:, JUDGED.index(0.5)]
            outcome = runs.numbers[WARM_UP:, 0] - middle
            result.curves.append(Curve("residual", OURS, middle.tolist(), outcome.tolist()))
    boosted = _boosted(runs, blocks, lambda done: progress(0.85 + 0.15 * done, "LightGBM"))
    score("LightGBM", _adapted(runs, boosted), 0)
    result.notes += _notes(losses, sessions[WARM_UP:])
    progress(1.0, "done")
    return result


def _read(path: Path) -> tuple[Runs, Array]:
    """Runs with a time and a duration, in the order of their spawns, and each run's session."""
    with temporary_folder() as folder:
        collect([path], folder / "tables", quality_filter="none")
        runs, _ = read_runs(folder / "tables")
        table = read_table(folder / "tables", "runs")
    assert table is not None
    known = np.flatnonzero((runs.decision != NO_TIME) & ~np.isnan(runs.numbers[:, 0]))
    if len(known) < 200:
        raise InputError(f"{path}: {len(known)} subagent runs with a time and a duration; at least 200 are needed")
    runs = runs.take(known)
    sessions = np.array(table.column("group").to_pylist(), dtype=object)[runs.row]
    return runs, sessions


def _ended(runs: Runs, row: int) -> Array:
    """Rows of the runs that had ended when run ``row`` was spawned."""
    rows: Array = np.flatnonzero(runs.end <= runs.decision[row])
    return rows


def _rules(runs: Runs) -> dict[str, Array]:
    """Point forecasts of log1p seconds [n]; before anything has ended, 0."""
    truth = runs.numbers[:, 0].astype(np.float64)
    kind, repository = (runs.keys[:, KEYS.index(name)] for name in ("task_type", "group"))
    rules = {name: np.zeros(len(runs)) for name in ("global median", "type median", "last-2 mean", SHRUNKEN)}
    for row in range(len(runs)):
        ended = _ended(runs, row)
        if not len(ended):
            continue
        own = ended[kind[ended] == kind[row]]
        median, whole = np.median(truth[ended]), truth[ended].mean()
        latest = own[np.argsort(runs.end[own], kind="stable")[-2:]]
        rules["global median"][row] = median
        rules["type median"][row] = np.median(truth[own]) if len(own) >= 3 else median
        rules["last-2 mean"][row] = np.log1p(np.expm1(truth[latest]).mean()) if len(latest) else median
        nearest = own[repository[own] == repository[row]]
        for scope in (own, nearest):
            whole = (truth[scope].sum() + _SHRINKAGE * whole) / (len(scope) + _SHRINKAGE)
        rules[SHRUNKEN][row] = whole
    return rules


def _with_errors(runs: Runs, point: Array) -> Array:
    """Quantiles [n, 5] around a point forecast from its errors on the runs that had ended."""
    errors = runs.numbers[:, 0] - point
    result = np.repeat(point[:, None], len(JUDGED), 1)
    for row in range(WARM_UP, len(runs)):
        result[row] += np.quantile(errors[_ended(runs, row)], JUDGED)
    result[:, JUDGED.index(0.5)] = point
    return np.sort(result, axis=1)


def _adapted(runs: Runs, quantiles: Array) -> Array:
    """Quantiles [n, 5] whose intervals follow the misses of the runs that had ended."""
    first, rest = np.arange(WARM_UP, WARM_UP + BLOCK), np.arange(WARM_UP + BLOCK, len(runs))
    moved = quantiles.copy()
    for level, (low, high) in LEVELS.items():
        missed = conformal.misses(quantiles[:, low], quantiles[:, high], runs.numbers[:, 0].astype(np.float64))
        known = first[runs.end[first] <= runs.decision[rest[0]]]
        decided, ended = runs.decision[rest], runs.end[rest]
        grow = np.nan_to_num(conformal.adaptive(missed[known], missed[rest], level, decided=decided, ended=ended))
        moved[rest, low] -= grow
        moved[rest, high] += grow
    return np.sort(moved, axis=1)


def _mixed(runs: Runs, blocks: list[Array], rule: Array, network: Array) -> Array:
    """The rule's quantiles moved towards the network's, [n, 5], by a share chosen anew before each block.

    It is the share, from 0 to 1 by twentieths, of the least pinball loss over the earlier forecasts of runs that had
    ended: a network of few rows counts for nothing until it has forecast better than the mean that it starts from.
    """
    truth = runs.numbers[:, 0].astype(np.float64)
    mixed: Array = rule.copy()
    for rows in blocks:
        judged = _ended(runs, rows[0])
        judged = judged[judged >= WARM_UP]
        if len(judged):
            tried = [rule[judged] + share * (network - rule)[judged] for share in _SHARES]
            losses = [statistics.pinball(truth[judged], quantiles, JUDGED).mean() for quantiles in tried]
            mixed[rows] += _SHARES[int(np.argmin(losses))] * (network - rule)[rows]
    return mixed


def _network(runs: Runs, blocks: list[Array], seed: int, step: Callable[[float], None]) -> Array:
    """Our network, trained anew before each block by the project's own data and loss."""
    import torch

    from claude_flow.networks.prediction.learn import Data
    from claude_flow.train import rate

    settings = config.read(registry.config_path("prediction-v2"), "prediction")
    peak, length = settings.learning_rate, settings.sequence_length - 1
    if peak is None:
        raise InputError("prediction-v2: learning-rate.initial must be a number, it is not sought anew for every block")
    history = as_of(runs, runs, length)
    manifest = {"schema": {"normalization": "z-score", "describe": True}, "source-names": {}}
    result = np.full((len(runs), len(JUDGED)), np.nan)
    for done, rows in enumerate(blocks):
        step(done / len(blocks))
        split = np.full(len(runs), -1)
        split[_ended(runs, rows[0])] = 0
        split[rows] = 2
        data = Data(manifest, runs, np.arange(len(runs)), history, split, length, settings.data)
        torch.manual_seed(seed)
        module = data.module(settings.network)
        optimizer = rate.optimizer(module, settings)
        generator, taken = np.random.default_rng(seed), 0
        steps = settings.epochs * -(-int((split == 0).sum()) // _BATCH)
        module.train()
        for _ in range(settings.epochs):
            for batch in data.batches("train", _BATCH, generator):
                for group in optimizer.param_groups:
                    group["lr"] = rate.scheduled(settings, peak, taken, steps)
                optimizer.zero_grad(set_to_none=True)
                data.loss(module, batch).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clipping)
                optimizer.step()
                taken += 1
        module.eval()
        quantiles, _ = data.predict(module, rows)
        result[rows] = quantiles[:, 0, [QUANTILES.index(level) for level in JUDGED]]
    return result


def _boosted(runs: Runs, blocks: list[Array], step: Callable[[float], None]) -> Array:
    """LightGBM on the numbers of the network's open record, anchored as the network is."""
    lightgbm = require("lightgbm", "baselines")
    from claude_flow.networks.prediction.features import Encoder

    history = as_of(runs, runs, 1)
    truth = runs.numbers[:, TARGETS.index("duration")].astype(np.float64)
    asked = runs.numbers[:, [NUMBERS.index(name) for name in ("prompt", "batch")]]
    result = np.full((len(runs), len(JUDGED)), np.nan)
    for done, rows in enumerate(blocks):
        step(done / len(blocks))
        train = _ended(runs, rows[0])
        openings, anchors = Encoder().fit(runs, history, train).openings(runs, history)
        inputs, anchor = np.column_stack([openings, asked, anchors[:, 0]]), anchors[:, 0]
        for i, level in enumerate(JUDGED):
            settings = {**_BOOSTING, "objective": "quantile", "alpha": level}
            model = lightgbm.train(settings, lightgbm.Dataset(inputs[train], (truth - anchor)[train]), _ROUNDS)
            result[rows, i] = model.predict(inputs[rows]) + anchor[rows]
    return np.sort(result, axis=1)


def _score(
    result: Result, runs: Runs, sessions: Array, contender: str, quantiles: Array, seed: int
) -> tuple[Array, Array]:
    """Add the scores of a contender, whole and by session; the errors and pinball losses of the runs after warm-up."""
    truth, quantiles = runs.numbers[WARM_UP:, 0].astype(np.float64), quantiles[WARM_UP:]
    middle = quantiles[:, JUDGED.index(0.5)]
    error, loss = np.abs(truth - middle), statistics.pinball(truth, quantiles, JUDGED)
    for measure, values in (("MAE of log1p s", error), ("pinball", loss)):
        result.scores.append(Score(contender, measure, float(values.mean()), "", seed))
        for session in dict.fromkeys(sessions[WARM_UP:].tolist()):
            own = sessions[WARM_UP:] == session
            result.scores.append(Score(contender, measure, float(values[own].mean()), str(session), seed))
    for level, (low, high) in LEVELS.items():
        share, width = statistics.coverage(truth, quantiles[:, low], quantiles[:, high])
        result.scores.append(Score(contender, f"coverage of {level:.0%}", share, "", seed))
        result.scores.append(Score(contender, f"width of {level:.0%}", width, "", seed))
    return error, loss


def _notes(losses: dict[str, list[Array]], sessions: Array) -> list[str]:
    """Ours less the others over runs, whole sessions resampled; and what so few sessions can show at all."""
    ours, count = np.mean(losses[OURS], axis=0), len(set(sessions.tolist()))
    notes = []
    for name in (SHRUNKEN, "LightGBM"):
        for measure, mine, theirs in zip(("MAE of log1p s", "pinball"), ours, losses[name][0], strict=True):
            found = statistics.bootstrap(mine - theirs, sessions)
            # The interval's half width is 1.96 standard errors; 80 % power takes 1.96 + 0.84 of them.
            seen = (found.high - found.low) / 2 / 1.96 * (1.96 + 0.84)
            needed = count * (seen / found.mean) ** 2 if found.mean else math.inf
            told = f"{needed:,.0f}" if needed < 1e6 else "over a million"
            reach = "out of their reach" if needed > count else "within their reach"
            notes.append(
                f"{measure}, {OURS} less {name}: {found.mean:+.4f}, 95 % session bootstrap {found.low:+.4f} to "
                f"{found.high:+.4f}; {count} sessions show a difference of {seen:.4f} with 80 % power; this one takes "
                f"{told}: {reach}"
            )
    return notes
