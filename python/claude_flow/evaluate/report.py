"""What a protocol found as a summary (the JSON of every evaluation command), as tables, as a page, as plots.

A summary's keys are a promise::

    protocol, data, rows, notes, reference
    scores: measure, contender, better ("lower" | "higher"), mean, low, high, seeds, units, unit_low, unit_high
    tests:  measure, reference, contender, units, difference, low, high, test, p, p_wilcoxon, p_holm, better,
            detectable, needed
    parts:  unit, contender, measure, value (folds and windows only)
    curves: kind, contender, x, y

``low`` and ``high`` of a score are Student's 95 % interval over seeds (null for one seed); ``unit_low`` and
``unit_high`` the bootstrap's over units (folds, sessions, tasks, workloads). A test pairs the units of the reference
with another contender's: ``difference`` is reference less contender with the bootstrap's interval, ``better`` on which
side it lies (null where they are equal or the measure has no better end; whether that is more than chance says
``p_holm`` alone, and the tables say "tie" from 0.05 on), ``p_holm`` corrected over all contenders
of the measure, ``detectable`` the smallest difference that these units show with 80 % power, ``needed`` the units that
the observed difference takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from html import escape
from typing import Any

from claude_flow import statistics
from claude_flow.evaluate.result import OURS, Curve, Result, Score
from claude_flow.report import charts, document, table

__all__ = ["page", "plots", "summarize", "tables", "verdict"]

_ALPHA = 0.05  # of a corrected p, below which two differ
_POINTS = 400  # of a residual plot, per contender
_AXES = {
    "reliability": ("forecast probability", "observed share"),
    "failure reliability": ("chance to fail", "share that failed"),
    "regret": ("", "regret"),
    "residual": ("forecast", "outcome less forecast"),
}
#: measures for which neither direction is better: an interval should cover what it says, at the least width
_NEUTRAL = "coverage"


def summarize(
    result: Result, *, reference: str = OURS, test_share: float | None = None, parts: bool = False
) -> dict[str, Any]:
    """The summary of ``result``; the paired tests are of ``reference`` against every other contender.

    ``test_share``, by default the result's own, says that units are folds whose training sets overlap (1/k): then the
    corrected t-test of Nadeau and Bengio takes the place of the permutation test. ``parts`` gives every unit's own
    figures too.
    """
    test_share = result.test_share if test_share is None else test_share
    contenders = list(dict.fromkeys(score.contender for score in result.scores))
    measures = list(dict.fromkeys(score.measure for score in result.scores))
    cells: dict[tuple[str, str], list[Score]] = {}
    for score in result.scores:
        if math.isfinite(score.value):
            cells.setdefault((score.measure, score.contender), []).append(score)
    scores = [
        _score(measure, contender, cells[measure, contender], result)
        for measure in measures
        for contender in contenders
        if (measure, contender) in cells
    ]
    tests = []
    for measure in measures:
        pairs = [
            _test(result, measure, reference, other, cells[measure, reference], cells[measure, other], test_share)
            for other in contenders
            if other != reference and (measure, other) in cells and (measure, reference) in cells
        ]
        found = [pair for pair in pairs if pair]
        for pair, corrected in zip(found, statistics.holm([pair["p"] for pair in found]), strict=True):
            tests.append({**pair, "p_holm": float(corrected)})
    return {
        "protocol": result.protocol,
        "data": result.data,
        "rows": result.rows,
        "notes": result.notes,
        "reference": reference,
        "scores": scores,
        "tests": tests,
        "parts": _parts(result) if parts else [],
        "curves": [{"kind": c.kind, "contender": c.contender, "x": c.x, "y": c.y} for c in result.curves],
    }


def _score(measure: str, contender: str, scores: list[Score], result: Result) -> dict[str, Any]:
    by_seed: dict[int, list[float]] = {}
    for score in [s for s in scores if not s.unit] or scores:  # the whole test set's own figure, where there is one
        by_seed.setdefault(score.seed, []).append(score.value)
    means = [statistics.mean(values) for values in by_seed.values()]
    seeds = statistics.interval([float(mean) for mean in means])
    units = statistics.bootstrap([float(mean) for mean in _by_unit(scores).values()])
    return {
        "measure": measure,
        "contender": contender,
        "better": "higher" if measure in result.higher_is_better else "lower",
        "mean": float(statistics.mean(means)),
        "low": seeds.low,
        "high": seeds.high,
        "seeds": len(by_seed),
        "units": len(_by_unit(scores)),
        "unit_low": units.low,
        "unit_high": units.high,
    }


def _by_unit(scores: Sequence[Score]) -> dict[str, Fraction]:
    """unit: its mean over seeds, so that a test sees each unit once."""
    found: dict[str, list[float]] = {}
    for score in scores:
        if score.unit:
            found.setdefault(score.unit, []).append(score.value)
    return {unit: statistics.mean(values) for unit, values in found.items()}


def _parts(result: Result) -> list[dict[str, Any]]:
    return [
        {"unit": score.unit, "contender": score.contender, "measure": score.measure, "value": score.value}
        for score in result.scores
        if score.unit
    ]


def _test(
    result: Result,
    measure: str,
    reference: str,
    other: str,
    ours: list[Score],
    theirs: list[Score],
    test_share: float | None,
) -> dict[str, Any] | None:
    """A paired test, or None for fewer than two units that both have."""
    mine, others = _by_unit(ours), _by_unit(theirs)
    exact = [mine[unit] - others[unit] for unit in mine if unit in others]
    if len(exact) < 2:
        return None
    difference, differences = statistics.mean(exact), [float(value) for value in exact]
    spread = statistics.bootstrap(differences)
    plan = statistics.power(differences)
    folds = test_share is not None
    p = statistics.permutation(differences) if test_share is None else statistics.corrected_t(differences, test_share)
    better = difference > 0 if measure in result.higher_is_better else difference < 0
    return {
        "measure": measure,
        "reference": reference,
        "contender": other,
        "units": len(differences),
        "difference": float(difference),
        "low": spread.low,
        "high": spread.high,
        "test": "corrected t" if folds else "permutation",
        "p": p,
        "p_wilcoxon": statistics.wilcoxon(differences),
        "better": None if _NEUTRAL in measure or not difference else better,
        "detectable": plan.detectable,
        "needed": plan.needed,
    }


# Tables -------------------------------------------------------------------------------------------------------------


def tables(summary: dict[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    """The summary as ``(title, columns, rows)``: scores (contender by measure), paired tests, rows, notes."""
    contenders = list(dict.fromkeys(score["contender"] for score in summary["scores"]))
    measures = list(dict.fromkeys(score["measure"] for score in summary["scores"]))
    cells = {(score["measure"], score["contender"]): score for score in summary["scores"]}
    arrow = {score["measure"]: _arrow(score) for score in summary["scores"]}
    scores = [
        [contender, *(_figure(cells.get((measure, contender))) for measure in measures)] for contender in contenders
    ]
    title = f"{summary['protocol']}: {summary['data']}, mean ± half of the 95 % interval over seeds"
    found = [(title, ["contender", *(f"{measure} {arrow[measure]}".strip() for measure in measures)], scores)]
    tests = [
        [
            test["measure"],
            test["contender"],
            test["units"],
            test["difference"],
            f"{test['low']:.3g} … {test['high']:.3g}",
            test["p"],
            test["p_holm"],
            verdict(test),
            test["detectable"],
            test["needed"],
        ]
        for test in summary["tests"]
    ]
    if tests:
        columns = ["measure", "against", "units", "difference", "95 %", "p", "p (Holm)", f"{summary['reference']} is"]
        name = f"{summary['reference']} less each other contender, paired by unit ({summary['tests'][0]['test']} test)"
        found.append((name, [*columns, "detectable", "units needed"], tests))
    if summary["parts"]:
        own: dict[tuple[str, str], dict[str, float]] = {}
        for part in summary["parts"]:
            own.setdefault((part["unit"], part["contender"]), {})[part["measure"]] = part["value"]
        rows = [[*key, *(values.get(measure) for measure in measures)] for key, values in own.items()]
        found.append(("Each part", ["part", "contender", *measures], rows))
    if summary["rows"]:
        found.append(("Rows", ["part", "rows"], [list(part) for part in summary["rows"].items()]))
    if summary["notes"]:
        found.append(("Notes", ["note"], [[note] for note in summary["notes"]]))
    return found


def verdict(test: dict[str, Any]) -> str:
    """What a paired test shows of its reference: better, worse, other (no end of the measure is better), or a tie."""
    if not test["p_holm"] < _ALPHA:
        return "tie"
    return {True: "better", False: "worse", None: "other"}[test["better"]]


def _arrow(score: dict[str, Any]) -> str:
    return "" if _NEUTRAL in score["measure"] else {"lower": "↓", "higher": "↑"}[score["better"]]


def _figure(score: dict[str, Any] | None) -> str:
    if score is None:
        return "-"
    half = (score["high"] - score["low"]) / 2
    # Seeds that all say the same differ by rounding at most.
    return f"{score['mean']:.4g}" + (f" ± {half:.2g}" if half > 1e-9 else "")


# Plots and page -----------------------------------------------------------------------------------------------------


def plots(summary: dict[str, Any]) -> list[tuple[str, charts.Draw]]:
    """(name, plot) of everything that the summary has to show: its first measure, and its curves by kind."""
    found: list[tuple[str, charts.Draw]] = []
    measures = list(dict.fromkeys(score["measure"] for score in summary["scores"]))
    if measures:
        own = [score for score in summary["scores"] if score["measure"] == measures[0]]
        found.append((measures[0], _intervals(own, summary["reference"])))
    for kind in dict.fromkeys(curve["kind"] for curve in summary["curves"]):
        curves = [Curve(**curve) for curve in summary["curves"] if curve["kind"] == kind]
        found.append((kind, _curves(kind, curves, summary["reference"])))
    return found


def _intervals(scores: list[dict[str, Any]], reference: str) -> charts.Draw:
    def draw(axes: Any) -> None:
        for place, score in enumerate(reversed(scores)):
            by_unit = math.isfinite(score["unit_low"])
            low, high = (score["unit_low"], score["unit_high"]) if by_unit else (score["low"], score["high"])
            color = "C0" if score["contender"] == reference else "0.35"
            if math.isfinite(low):
                axes.plot([low, high], [place, place], color=color, linewidth=1.5)
            axes.plot(score["mean"], place, "o", color=color)
        axes.set_yticks(range(len(scores)), [score["contender"] for score in reversed(scores)])
        axes.set(xlabel=f"{scores[0]['measure']} ({scores[0]['better']} is better), 95 % interval")
        axes.grid(axis="x", color="0.9")

    return draw


def _curves(kind: str, curves: list[Curve], reference: str) -> charts.Draw:
    def draw(axes: Any) -> None:
        for curve in curves:
            ours = curve.contender == reference
            if kind == "residual":
                step = max(1, len(curve.x) // _POINTS)
                axes.plot(curve.x[::step], curve.y[::step], ".", label=curve.contender, alpha=0.4, markersize=3)
                continue
            width, order = (2.2, 3) if ours else (1.0, 2)
            axes.plot(curve.x, curve.y, marker=".", label=curve.contender, linewidth=width, zorder=order)
        if kind.endswith("reliability"):
            axes.plot([0, 1], [0, 1], color="0.6", linestyle=":")
        if kind == "residual":
            axes.axhline(0, color="0.6", linestyle=":")
        x, y = _AXES.get(kind, ("", kind))
        axes.set(xlabel=x, ylabel=y)
        axes.legend(fontsize=8)
        axes.grid(color="0.92")

    return draw


def page(title: str, summaries: Sequence[dict[str, Any]]) -> str:
    """One HTML page that needs nothing else: the tables, and the plots as inline SVG."""
    parts = []
    for summary in summaries:
        parts.append(f"<h2>{escape(summary['protocol'])}: {escape(summary['data'])}</h2>")
        figures = [
            f"<figure><h3>{escape(name)}</h3>{charts.svg(draw, (5.6, 3.8))}</figure>" for name, draw in plots(summary)
        ]
        parts.append(f"<div class=wide>{''.join(figures)}</div>")
        for name, columns, rows in tables(summary):
            parts.append(f"<h3>{escape(name)}</h3>{table(columns, rows)}")
    return document(title, "".join(parts))
