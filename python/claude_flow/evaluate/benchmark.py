"""Models and baselines side by side on the same test part: ``claude-flow neural benchmark``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import claude_flow
from claude_flow import networks, registry
from claude_flow.errors import InputError
from claude_flow.evaluate import judge
from claude_flow.evaluate.result import Result
from claude_flow.report.progress import Progress, nothing
from claude_flow.values import did_you_mean

__all__ = ["benchmark", "check", "compare", "split_names"]

#: baselines whose outcome depends on a seed
_RANDOM = ("random", "random-forest", "multi-output-forest", "per-algorithm-forest")


def split_names(asked: Sequence[str] | None, network: str) -> tuple[list[str], list[Path]]:
    """The baselines among the names asked for (default: all of the network's), and the files of the models.

    :raises InputError: a name is neither; the message has near matches.
    """
    kind = networks.get(network).judge.Judge
    known = kind.BASELINES
    if asked is None:
        return [name for name in known if name not in kind.SLOW], []
    models = []
    for name in dict.fromkeys(asked):
        if name in known:
            continue
        try:
            models.append(registry.model_path(name))
        except InputError as error:
            near = did_you_mean(name, known)
            if near:
                raise InputError(f"there is no baseline {name!r}{near}") from None
            raise InputError(f"{error}; the baselines of {network} are {', '.join(known)}") from None
    return [name for name in dict.fromkeys(asked) if name in known], models


def check(
    network: str, baselines: Sequence[str] | None, measures: Sequence[str] | None, ablate: Sequence[str] = ()
) -> None:
    """Refuse unknown names before anything is simulated or trained: :class:`InputError`."""
    kind = networks.get(network).judge.Judge
    judge.choose(measures, kind.MEASURES, f"metric of {network}")
    split_names(baselines, network)
    if ablate:
        if not (parts := getattr(kind, "ABLATIONS", {})):
            raise InputError(f"--ablate: {network} has no parts to leave out; the pipeline has: --model action")
        judge.choose(ablate, parts, "part of the pipeline")


def compare(
    result: Result,
    data: Path,
    models: Mapping[str, Path],
    baselines: Sequence[str],
    measures: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    ablate: Sequence[str] = (),
    unit: str | None = None,
    validation_split: float = 0.2,
    progress: Progress = nothing,
) -> None:
    """Add to ``result`` how models (by contender) and baselines do on the test part of a preprocessed dataset.

    ``ablate``: parts that the first model is judged without, too. ``unit`` names the whole test part, such as a fold;
    without it every row belongs to the judge's own unit.
    """
    examiner = judge.judge(judge.network_of(data), data, validation_split=validation_split)
    units = examiner.units if unit is None else unit
    total = len(models) + len(ablate) + len(baselines)
    for place, (name, path) in enumerate(models.items()):
        progress(place / total, name)
        model = claude_flow.load(path)
        marks = {name: examiner.model(model)}
        for part in ablate if place == 0 else ():
            progress((place + len(marks)) / total, f"without {part}")
            marks[f"without {part}"] = examiner.ablated(model, part)  # type: ignore[attr-defined]
        if hasattr(examiner, "adaptive"):
            try:
                marks[f"{name}, adaptive"] = examiner.adaptive(model)
            except judge.Unavailable as reason:
                result.notes.append(str(reason))
        for contender, found in marks.items():
            result.scores += found.scores(contender, units, measures)
            result.curves += found.plots(contender)
    for place, name in enumerate(baselines, len(models) + len(ablate)):
        for seed in seeds if name in _RANDOM else seeds[:1]:
            progress(place / total, name)
            try:
                found = examiner.baseline(name, seed)
            except judge.Unavailable as reason:
                result.notes.append(f"{name} is unavailable: {reason}")
                break
            result.scores += found.scores(name, units, measures, seed)
            if seed == seeds[0]:
                result.curves += found.plots(name)
    for part, rows in examiner.sizes.items():
        result.rows[part if unit is None else f"{unit}, {part}"] = rows


def benchmark(
    model: Path,
    data: Path,
    *,
    baselines: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    ablate: Sequence[str] = (),
    label: str | None = None,
    progress: Progress = nothing,
) -> Result:
    """Score ``model``, other models and baselines (default: all) on the test part of the preprocessed ``data``.

    :raises InputError: a name is unknown, the dataset is another network's or has no test part.
    """
    network = judge.network_of(data)
    kind = networks.get(network).judge.Judge
    wanted = judge.choose(measures, kind.MEASURES, f"metric of {network}")
    rules, others = split_names(baselines, network)
    models = {registry.model_name(path): path for path in [model, *others]}
    result = Result(f"{network} benchmark", label or data.name, [], higher_is_better=kind.HIGHER & frozenset(wanted))
    compare(result, data, models, rules, wanted, seeds=seeds, ablate=ablate, progress=progress)
    parts = getattr(kind, "ABLATIONS", {})
    result.notes += [f"without {part}: {parts[part]}" for part in ablate]
    return result
