"""What was found, as pages that need nothing else and follow the system's light or dark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from claude_flow.report import document, drawings, table

__all__ = ["boundaries", "comparison", "evolution", "features", "page"]

_SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const views = data.attention.map((a) => [`layer ${a.layer}, head ${a.head}`, a.weights]);
views.push(["rollout", data.rollout], ["gradient-weighted, all layers", data.gradient_weighted]);
at("view").replaceChildren(...views.map(([name]) => new Option(name)));
function show() {
  const [, weights] = views[at("view").selectedIndex];
  const most = Math.max(...weights.flat()) || 1, of = weights === data.gradient_weighted ? most : 1;
  const row = (head, cells) => {
    const tr = document.createElement("tr"), th = document.createElement("th");
    th.textContent = head;
    tr.append(th, ...cells);
    return tr;
  };
  const heads = data.tokens.map((t) => Object.assign(document.createElement("th"), { textContent: t }));
  const top = row("from \\u2193 to \\u2192", heads);
  at("heat").replaceChildren(top, ...data.tokens.map((from, i) => row(from, data.tokens.map((to, j) => {
    const cell = document.createElement("td"), text = `${Math.round(100 * weights[i][j] / of)}%`;
    cell.textContent = text;
    cell.title = `${from} \\u2192 ${to}: ${text}`;
    cell.style.setProperty("--p", weights[i][j] / most);
    return cell;
  }))));
}
at("view").addEventListener("input", show);
show();
"""

_NOTHING = "<span class=note>nothing was found that turns it</span>"
_VERIFIED = {True: "", False: " (not verified)"}
_EVOLUTION = """
const { kinds, heads } = JSON.parse(document.getElementById("data").textContent);
const tables = [...document.querySelectorAll(".blocks")], step = document.getElementById("step");
const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
function show() {
  document.getElementById("which").textContent = step.value;
  tables.forEach((table, i) => {
    const blocks = heads[i][step.value - 1], top = make("tr", "");
    top.append(make("th", "from \\u2193 to \\u2192"), ...kinds.map((kind) => make("th", kind)));
    table.replaceChildren(top, ...kinds.map((from, a) => {
      const row = make("tr", "");
      row.append(make("th", from), ...kinds.map((to, b) => {
        const cell = make("td", `${blocks[a][b] > 0 ? "+" : ""}${Math.round(100 * blocks[a][b])}%`);
        cell.classList.toggle("minus", blocks[a][b] < 0);
        cell.style.setProperty("--p", Math.min(1, Math.abs(blocks[a][b]) * 2));
        return cell;
      }));
      return row;
    }));
  });
}
step.addEventListener("input", show);
show();
"""


def page(answer: dict[str, Any]) -> str:
    """The page of an :func:`claude_flow.insight.attention.attention`."""
    told = ", ".join(f"{name.replace('_', '-')} {value:+.2f}" for name, value in answer["agreement"].items())
    columns = ["token", "raw", "rollout", "gradient-weighted", "ablation"]
    names = ["received", "rollout_received", "gradient_received", "ablation"]
    rows = [[token, *(answer[name][i] for name in names)] for i, token in enumerate(answer["tokens"])]
    return document(
        f"Attention of {answer['model']}",
        f"<p>{_sentence(answer['data'])} Take care: {escape(answer['caveat'])}. "
        f"Spearman's correlation with ablation, over {len(answer['tokens'])} tokens: {told}.</p>"
        f"<p><label>Show <select id=view></select></label> Gradient-weighted: shares of its largest.</p>"
        f"<div class=scroll tabindex=0><table id=heat class=heat></table></div>"
        f"<h2>What each token gets, and how far blanking it moves {escape(answer['ablated'])}</h2>"
        f"{table(columns, rows)}",
        answer,
        _SCRIPT,
    )


def features(answer: dict[str, Any]) -> str:
    """The page of a :func:`claude_flow.insight.features.features`."""
    parts = []
    for title, key in (("Groups", "groups"), ("Features", "features")):
        most = max((row["share"] for row in answer[key]), default=1) or 1
        rows = "".join(
            f"<tr><th>{escape(row['name'])}</th><td>{escape(row['group'])}</td>"
            f"<td class=bar><i style='width:{100 * row['share'] / most:.1f}%'></i></td>"
            f"<td>{row['share']:.1%}</td><td>{row['effect']:+.4f}</td>"
            f"<td>{_p(row['p_corrected'])}</td></tr>"
            for row in answer[key]
        )
        head = (
            "<tr><th>input</th><th>group</th><th>share of all effects</th><th></th><th>mean effect</th><th>p</th></tr>"
        )
        parts.append(f"<h2>{title}</h2><div class=scroll tabindex=0><table>{head}{rows}</table></div>")
    for side, says in (("deletion", "blanked, most important first"), ("insertion", "shown, most important first")):
        curve = answer["curves"][side]
        told = f"area {curve['area']:.4f}, random order {curve['random_area']:.4f}, p {_p(curve['p_corrected'])}"
        lines = [("by value", curve["by_value"]), ("random order", curve["random"])]
        parts.append(f"<h2>The lead while inputs are {says}</h2><p>{told}</p>{drawings.lines(lines)}")
    about = answer["completeness"]
    error = "" if about["median_error"] is None else f" Completeness error: median {about['median_error']:.2%}, "
    error += "" if about["median_error"] is None else f"largest {about['largest_error']:.2%}."
    told = f"Method: {answer['method']}, baseline {answer['baseline']}. Explained is {answer['explained']}."
    title = f"What the choices of {answer['model']} rest on"
    return document(
        title, f"<p>{_sentence(answer['data'])} {escape(told)}{error} {_sentence(about['note'])}</p>{''.join(parts)}"
    )


def boundaries(answer: dict[str, Any]) -> str:
    """The page of a :func:`claude_flow.insight.boundaries.boundaries`."""
    flat = answer["projection"]
    own, *rest = flat["becomes"]
    # the request's own choice, then the others from the most frequent: the third mark is for all that are left
    names = list(dict.fromkeys([own, *(name for name, _ in Counter(rest).most_common())]))
    points, (one, other) = flat["points"], flat["explained"]
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    width, height = 640, 400

    def place(point: Sequence[float]) -> tuple[float, float]:
        x, y = (point[0] - left) / ((right - left) or 1), (point[1] - low) / ((high - low) or 1)
        return 12 + x * (width - 24), 12 + (1 - y) * (height - 24)

    shapes = ("circle", "square", "cross")
    drawn = []
    for point, name in [*zip(points[1:], flat["becomes"][1:], strict=True), (points[0], flat["becomes"][0])]:
        x, y = place(point)
        kind = min(names.index(name), 2)
        drawn.append(_mark(shapes[kind], x, y, 3.2))
    x, y = place(points[0])
    drawn.append(f"<circle class=line1 cx={x:.1f} cy={y:.1f} r=9 />")
    legend = ", ".join(f"{mark} {escape(name)}" for mark, name in zip(("\u25cf", "\u25a1"), names, strict=False))
    if others := names[2:]:
        few = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
        legend += f", \u00d7 {escape(few)}"
    axes = "; ".join(f"axis {i}: {escape(', '.join(names))}" for i, names in enumerate(flat["axes"], 1))
    picture = (
        f"<svg viewBox='0 0 {width} {height}' width={width} role=img aria-label='projection'>{''.join(drawn)}</svg>"
    )
    rows = "".join(
        f"<tr><td>{row['request'] + 1}</td><th>{escape(row['decision'])}</th><td>{escape(row['choice'])}</td>"
        f"<td>{_number(row['radius'])}</td><td>{_number(row['held'])}</td><td>"
        f"{'<br>'.join(escape(c['says'] + _VERIFIED[c['verified']]) for c in row['counterfactuals']) or _NOTHING}"
        f"</td></tr>"
        for row in answer["decisions"][:100]
    )
    columns = ("request", "decision", "now", "radius", "held", "nearest changes that turn it")
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in columns)}</tr>"
    share = answer["verified"]["share"]
    told = "no change was found" if share is None else f"{share:.0%} of the changes verified by answering anew"
    care = f"Take care: {escape(answer['caveat'])}. " if answer["caveat"] else ""
    return document(
        f"Where the decisions of {answer['model']} turn",
        f"<p>{_sentence(answer['data'])} Method: {escape(answer['method'])}; {told}. {care}Radius: the nearest "
        f"change found, fields measured by their allowed range. Held: share of the points around the request that keep "
        f"the decision.</p>"
        f"<h2>What {escape(flat['decision'])} becomes around the first request</h2><p>{legend}. Ringed: the request. "
        f"Two principal components, {one:.0%} and {other:.0%} of the spread. {axes}.</p>{picture}"
        f"<h2>Decisions</h2><div class=scroll tabindex=0><table>{head}{rows}</table></div>",
    )


def comparison(answer: dict[str, Any]) -> str:
    """The page of a :func:`claude_flow.insight.compare.compare`: a heat map of the units that differ most."""
    one, other = (f"{g['name']} ({g['requests']} requests, {g['tokens']:.1f} tokens)" for g in answer["groups"])
    most = max((layer["largest_effect"] for layer in answer["layers"]), default=1) or 1
    parts = []
    for layer in answer["layers"]:
        cells = "".join(
            f"<td{' class=minus' * (unit['effect'] < 0)} style='--p:{min(1, abs(unit['effect']) / most):.3f}' "
            f"title='unit {unit['unit']}: "
            f"{unit['means'][0]:.4g} and {unit['means'][1]:.4g}'>{unit['effect']:+.1f}</td>"
            for unit in layer["shown"]
        )
        p = "-" if layer["p_corrected"] is None else f"{layer['p_corrected']:.3g}"
        parts.append(f"<tr><th>{escape(layer['layer'])}</th><td>{p}</td>{cells}</tr>")
    return document(
        f"Activations of {answer['model']}, two groups of requests",
        f"<p>{_sentence(f'{one} against {other}')} A row is a layer, a cell one of its units that differ most: "
        f"the difference of the groups' means in deviations, above 0 where the first is larger; p is corrected "
        f"for units and layers. Take care: {escape(answer['note'])}.</p><div class=scroll tabindex=0><table class=heat>"
        f"<tr><th>layer</th><th>p</th><th colspan=24>units, most different first</th></tr>"
        f"{''.join(parts)}</table></div>",
    )


def evolution(answer: dict[str, Any]) -> str:
    """The page of an :func:`claude_flow.insight.evolution.evolution`: small multiples, and a slider over time."""
    multiples = "".join(
        f"<figure><figcaption>layer {head['layer']}, head {head['head']}</figcaption>"
        f"{drawings.lines([('entropy', head['entropy'])], 260, 110)}<table class='blocks heat'></table></figure>"
        for head in answer["heads"]
    )
    told = [
        f"layer {p['layer']}, head {p['head']}: {p['says']} ({p['excess']:+.0%})" for p in answer.get("patterns", ())
    ]
    told += [
        f"layer {c['layer']}, head {c['head']} changes at request {c['step']} by {c['moved']:.0%}"
        for c in answer.get("changes", ())
    ]
    told += [f"alike: {'; '.join(cluster)}" for cluster in answer.get("clusters", ()) if len(cluster) > 1]
    found = "".join(f"<li>{escape(line)}</li>" for line in told[:40])
    steps = len(answer["steps"])
    return document(
        f"How attention of {answer['model']} changes over time",
        f"<p>{_sentence(answer['data'])} Take care: {escape(answer['caveat'])}. Lines: entropy (1: spread over all). "
        f"Tables: how much more (+) or less of its attention a kind of token gives to another than their number "
        f"explains, at the request chosen.</p><p><label>Request <output id=which>1</output> of {steps} "
        f"<input id=step type=range min=1 max={steps} value=1></label></p><div class=many>{multiples}</div>"
        f"<h2>What stays, what changes</h2><ul>{found or '<li>nothing stands out</li>'}</ul>",
        {"kinds": answer["kinds"], "heads": [head["excess"] for head in answer["heads"]]},
        _EVOLUTION,
    )


def _sentence(text: str) -> str:
    return escape(text[:1].upper() + text[1:] + ".")


def _mark(shape: str, x: float, y: float, r: float) -> str:
    if shape == "circle":
        return f"<circle class=dot cx={x:.1f} cy={y:.1f} r={r} />"
    if shape == "square":
        return f"<rect class=box x={x - r:.1f} y={y - r:.1f} width={2 * r} height={2 * r} />"
    cross = f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}"
    return f"<path class=line1 style='stroke-dasharray: none' d='{cross}' />"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _p(value: float | None) -> str:
    return "too few requests" if value is None else f"{value:.3g}"
