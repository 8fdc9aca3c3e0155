// Answers as tables: assignments, recommendations, forecasts, and those of other networks as the command line shows them.

import { make, percent, table } from "./dom.mjs";

function bar(share) {
  const filled = make("i");
  filled.style.cssText = `left: 0; width: ${100 * share}%`;
  return make("div", {}, percent(share), make("div", { className: "bar", ariaHidden: "true" }, filled));
}

function reasons(entry, show) {
  return (entry.explanation ?? []).slice(0, 3).map((reason) =>
    make("span", { className: "why", textContent: `${reason.input} ${show(reason.effect)}` }));
}

const points = (effect) => `${effect < 0 ? "−" : "+"}${Math.abs(100 * effect).toFixed(1)} points`;
const relative = (effect) => `${effect < 0 ? "−" : "+"}${percent(Math.abs(effect))}`;

const chosen = (entry) => entry.agent ?? `(${entry.decision})`;

function assignments(answer, others) {
  const rows = answer.assignments.map((entry) => {
    const different = others.some((other) =>
      other.assignments?.some((theirs) => theirs.task === entry.task && theirs.candidates[0].choice !== entry.candidates[0].choice));
    const [best, next] = entry.candidates;
    const name = entry.decision === "withheld" ? `withheld: ${best.choice}` : chosen(entry);
    return [
      entry.task,
      make("div", {}, name, different ? make("span", { className: "differs", textContent: " ≠ other model" }) : null,
        ...reasons(entry, points)),
      bar(entry.confidence),
      next ? `${next.choice} ${percent(next.confidence)}` : "",
    ];
  });
  return [table(["Task", "Decision", "Confidence", "Next best"], rows)];
}

function recommendations(answer) {
  const rows = answer.recommendations.map((entry) => [
    `${entry.direction} ${entry.tunable}`,
    make("div", {}, entry.expected_effect, ...reasons(entry, points)),
    `+${(100 * Math.expm1(entry.score)).toFixed(1)}%`,
    bar(entry.confidence),
  ]);
  return rows.length ? [table(["Change", "Effect", "Gain", "Confidence"], rows)] : [];
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

function decision(answer, others) {
  const different = others.some((other) => other.command && other.command !== answer.command);
  const told = (title, columns, rows) => (rows.length > 0 ? [make("h4", { textContent: title }), table(columns, rows)] : []);
  const [, second] = answer.values;
  return [
    make("p", { className: "command" }, make("b", { textContent: answer.command }), `: ${answer.does}`,
      different ? make("span", { className: "differs", textContent: " ≠ other model" }) : null),
    ...told("Instructions", ["Agent", "takes"], answer.instructions.map(({ agent, task }) => [agent, task])),
    ...told("System adjustments", ["Command", "What", "Gain over doing nothing"],
      answer.adjustments.map(({ command, does, gain }) => [command, does, signed(gain)])),
    make("h4", { textContent: "Why" }),
    make("ul", { className: "turns" }, ...answer.reasons.map((textContent) => make("li", { textContent })),
      second ? make("li", { textContent: `its value is ${signed(answer.values[0].value - second.value)} above that of ${second.command}` }) : null,
      answer.explanation ? make("li", { textContent: `to its lead over the mean command adds: ${answer.explanation
        .map(({ stream, effect }) => `${stream} ${signed(effect)}`).join(", ")}` }) : null),
  ];
}

function quantity(value, unit) {
  if (unit === "s") {
    for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]])
      if (value >= 2 * size) return `${Number((value / size).toPrecision(3))} ${name}`;
    return `${Number(value.toPrecision(3))} s`;
  }
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function span(intervals, median) {
  const ends = Object.values(intervals).flat();
  const scale = Math.min(...ends) > 0 ? Math.log : (value) => value;
  const [low, high] = [scale(Math.min(...ends)), scale(Math.max(...ends))];
  const place = (value) => (high > low ? (100 * (scale(value) - low)) / (high - low) : 0);
  const parts = Object.keys(intervals).sort().reverse().map((level) => {
    const made = make("i");
    const [from, to] = intervals[level].map(place);
    made.style.cssText = `left: ${from}%; width: ${Math.max(to - from, 1)}%`;
    return made;
  });
  const middle = make("b");
  middle.style.left = `${Math.min(place(median), 99)}%`;
  return make("div", { className: "span", ariaHidden: "true" }, ...parts, middle);
}

function forecast(answer) {
  const rows = Object.entries(answer.predictions).filter(([, entry]) => entry.status === "predicted").map(([name, entry]) => [
    name,
    quantity(entry.median, entry.unit),
    make("div", {}, entry.intervals ? span(entry.intervals, entry.median) : null,
      ...Object.entries(entry.intervals ?? {}).map(([level, [from, to]]) => make("span", {
        className: "why", textContent: `${percent(level)}: ${quantity(from, entry.unit)} to ${quantity(to, entry.unit)}`,
      })), entry.note ? make("span", { className: "why", textContent: entry.note }) : null),
  ]);
  if (answer.failure.status === "predicted") rows.push(["failure", percent(answer.failure.probability), ""]);
  const missing = Object.keys(answer.predictions).filter((name) => answer.predictions[name].status !== "predicted");
  return [
    table(["Target", "Median", "Intervals"], rows),
    missing.length ? make("p", { className: "why", textContent: `Not in this model's data: ${missing.join(", ")}.` }) : null,
    ...(answer.explanation ?? []).slice(0, 3).map((reason) =>
      make("span", { className: "why", textContent: `${reason.input}: ${relative(reason.effect)} on the duration` })),
    ...Object.values(answer.capacity).filter((text) => typeof text === "string").map((text) =>
      make("span", { className: "why", textContent: text })),
  ];
}

/** What would turn each decision: the smallest change of one field, as `counterfactuals` gives it. */
export function turning(turns) {
  if (!turns) return [];
  const shown = (value) => (typeof value === "number" ? quantity(value) : value);
  const rows = turns.filter(Boolean).map(({ decision, field, from, to, becomes }) => {
    const way = typeof to === "number" ? `${to > from ? "above" : "below"} ${shown(to)}` : to;
    return make("li", { textContent: `${field} ${way} (now ${shown(from)}) turns ${decision} to ${becomes}` });
  });
  const none = make("p", { className: "why", textContent: "No single field turns it within its range." });
  return [make("h4", { textContent: "What would turn it" }), rows.length > 0 ? make("ul", { className: "turns" }, ...rows) : none];
}

export function drawn({ answer, tables = [] }, others) {
  const notes = [...(answer.notes ?? []), answer.history?.note, answer.rests_on && `Rests on ${answer.rests_on}.`];
  const parts = answer.assignments?.[0]?.candidates ? assignments(answer, others)
    : answer.instructions && !answer.price ? decision(answer, others)
    : answer.recommendations ? recommendations(answer)
    : answer.predictions?.duration && answer.failure ? forecast(answer)
    : tables.flatMap(([title, columns, rows]) => [make("h3", { textContent: title }), table(columns, rows)]);
  return [...parts, ...notes.filter(Boolean).map((note) => make("p", { className: "why", textContent: note }))];
}

/** Who takes what, by the answer: [{task, agent, sure}], `sure` from 0 to 1. */
export function pairs(answer) {
  const assigned = (answer.assignments ?? []).map(({ task, confidence, candidates: [{ choice }] }) => ({ task, agent: choice, sure: confidence }));
  return [...assigned, ...(answer.instructions ?? []).map((one) => ({ ...one, sure: 1 }))];
}

export function said(answer) {
  if (answer.assignments) return answer.assignments.map((entry) => `${entry.task}: ${chosen(entry)}`).join(", ");
  if (answer.instructions) return [answer.command, ...answer.instructions.map(({ agent, task }) => `${task}: ${agent}`)].join(", ");
  if (answer.recommendations) return answer.recommendations.slice(0, 2).map((entry) => entry.id).join(", ");
  const time = answer.predictions?.duration;
  return time?.median === undefined ? "answered" : `median duration ${quantity(time.median, time.unit)}`;
}
