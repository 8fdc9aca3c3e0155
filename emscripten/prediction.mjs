// A task's description as JSON to the open task's token, and a prediction network's output to calibrated intervals: what
// python/claude_flow/networks/prediction/features.py, request.py and answer.py do for a request without past runs; what
// goes by a log is for Python. tests/wasm holds both to the same numbers.

import { checkFields, checkNumber, general, refuse, shown } from "./check.mjs";
import { normalize } from "./scale.mjs";
import { crc32, hashText } from "./text.mjs";

const WIDTH = 128;
const VERSION = 2;
const TARGETS = ["duration", "steps", "cpu", "memory", "cost", "tokens", "retries", "queue"];
const NUMBERS = [...TARGETS, "tool_calls", "requested", "processors", "prompt", "batch"];
const UNITS = ["s", "steps", "s", "MB", "USD", "tokens", "retries", "s"];
const QUANTILES = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975];
const BITS = { agent: 4, task_type: 5 };
const WORDS = 8;
const TEXT_WIDTH = 64;
const TRAINED = 50; // known training values below which a target counts as never seen
const LARGEST = 1e12; // a larger number is no measurement
const EXPERIENCE = { junior: 0, mid: 1, intermediate: 1, senior: 2 };
const SIMILAR = /^similar-tasks-last-[0-9]+-[a-z]+$/;

// The names of a token's slots, in order: features.slots.
const SLOTS = (() => {
  const scopes = ["source", "type", "type in group", "agent", "same request", "similar"];
  const few = ["count", "mean", "median", "failures"];
  const all = ["count", "mean", "q10", "median", "q90", "last two", "failures"];
  const singly = {
    agent: ["duration", "requested apart", "processors apart", "failed", "age"], "same request": ["duration", "failed", "age"],
  };
  const counted = (name, count) => Array.from({ length: count }, (_, i) => `${name} ${i}`);
  return [
    "open", "past duration", "past tool_calls",
    ...TARGETS.map((name) => `past ${name} known`), ...TARGETS.map((name) => `past ${name} - anchor`),
    "past succeeded", "past failed", "past stopped",
    "requested", "requested known", "requested - anchor", "processors", "processors known", "prompt", "prompt known", "batch",
    "hour sin", "hour cos", "weekday sin", "weekday cos",
    ...Object.entries(BITS).flatMap(([name, bits]) => counted(name, bits)), ...counted("description", WORDS),
    "age", "same task_type", "same agent", "same group", "same model", "text", "requested apart", "processors apart",
    "same request",
    ...scopes.flatMap((scope) => (singly[scope] ? few : all).map((what) => `${scope}: ${what}`)),
    ...Object.entries(singly).flatMap(([scope, told]) => [1, 2, 3].flatMap((i) => told.map((what) => `${scope}: ${i} ${what}`))),
    ...TARGETS.map((name) => `anchor ${name}`),
  ];
})();
const AT = Object.fromEntries(SLOTS.map((name, i) => [name, i]));
const INPUTS = {
  "description": ["description ", "text"],
  "kind of task": ["task_type ", "same task_type", "type: "],
  "agent": ["agent ", "same agent", "agent: "],
  "requested time and processors": ["requested", "processors", "same request"],
  "time of day and week": ["hour ", "weekday "],
  "runs most like it": ["similar: "],
  "the source's latest runs": ["source: "],
};

const text = (where, value) => (typeof value === "string" ? value : refuse(`${where} must be text, not ${shown(value)}`));
const FIELDS = {
  "task-description": text, "historical-context": text, "current-team-capacity": capacity,
  "uncertainty-quantification": (where, value) =>
    typeof value === "boolean" ? value : refuse(`${where} must be true or false, not ${shown(value)}`),
  "confidence-intervals": levels,
  "task-type": text, agent: text, project: text, model: text, source: text,
  "requested-time": amount, processors: amount,
  "decision-time": moment,
};
const CAPACITY = {
  "available-agents": (where, value) => checkNumber(where, value, 1, 1e6),
  "average-productivity": (where, value) => checkNumber(where, value, 0.01, 100),
  "experience-level": (where, value) =>
    Object.hasOwn(EXPERIENCE, value) ? value : refuse(`${where} must be one of ${Object.keys(EXPERIENCE).join(", ")}, not ${shown(value)}`),
};

function checked(where, entry, fields) {
  checkFields(where, entry, fields);
  const given = Object.entries(entry).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, fields[name](where === "the request" ? name : `${where}.${name}`, value)]));
}

function amount(where, value) {
  return checkNumber(where, value, 0, LARGEST);
}

function capacity(where, value) {
  return checked(where, value, CAPACITY);
}

function levels(where, value) {
  if (!Array.isArray(value) || value.length === 0) refuse(`${where} must be a list of shares, not ${shown(value)}`);
  return value.map((level, i) =>
    Number.isFinite(level) && level > 0 && level <= 0.95 + 1e-9 ? level
      : refuse(`${where}[${i}] must be a number above 0, to 0.95, not ${shown(level)}`));
}

function moment(where, value) {
  const zoned = typeof value === "string" && /[T ]\d{2}/.test(value) && !/(Z|[+-]\d{2}:?\d{2})$/.test(value) ? `${value}Z` : value;
  const time = typeof value === "string" ? Date.parse(zoned) : NaN;
  return Number.isFinite(time) ? time : refuse(`${where}: ${shown(value)} is not ISO 8601 such as 2026-03-01T09:30:00Z`);
}

/** Check a request; `decision` is the time in milliseconds at which it is asked, `now` where it says none. */
export function parseRequest(request, now = Date.now()) {
  const read = checked("the request", request, FIELDS);
  if (read["task-description"] === undefined) refuse("task-description is missing; it must be text");
  if (read.source !== undefined) refuse(`source ${shown(read.source)} is not in the history; it has no runs`);
  return {
    "uncertainty-quantification": true, "confidence-intervals": [0.8, 0.95], "current-team-capacity": {}, ...read,
    decision: read["decision-time"] ?? now,
  };
}

/** Whether the request goes by past runs that a workspace may have: those are Python's to read. */
export const hasPast = (request) => request?.["historical-context"] !== undefined && request["historical-context"] !== null;

// A stable 52-bit hash of a name: history._codes.
const code = (name) => (name ? crc32(name) * 2 ** 20 + (crc32(`#${name}`) % 2 ** 20) : 0);
const cut = (value) => (Number.isNaN(value) ? 0 : Math.min(Math.max(value, -10), 10));

function checkedModel(model) {
  const schema = model.features;
  if (model.network !== "prediction") refuse(`this is a ${model.network} model; forecasting needs a prediction model`);
  if (schema.network !== "prediction" || schema.version !== VERSION || model.inputWidth !== WIDTH) {
    refuse(`the feature schema is not one of prediction, version ${VERSION}: train or download the model again`);
  }
  return schema;
}

/** The open task's token [128] of a checked request, by the schema stored in the model (`model.features`). */
export function encode(schema, request) {
  const x = new Float32Array(WIDTH);
  const numbers = { requested: request["requested-time"], processors: request.processors };
  x[AT.open] = 1;
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined) continue;
    x[AT[name]] = normalize(schema.scalers[NUMBERS.indexOf(name)], Math.fround(Math.log1p(value)));
    x[AT[`${name} known`]] = 1;
  }
  const hours = request.decision / 3600e3;
  [["hour", 24], ["weekday", 168]].forEach(([name, period]) => {
    const turn = (2 * Math.PI * (((hours % period) + period) % period)) / period;
    x[AT[`${name} sin`]] = Math.sin(turn);
    x[AT[`${name} cos`]] = Math.cos(turn);
  });
  const names = { agent: code(request.agent), task_type: code((request["task-type"] ?? "").trim()) };
  for (const [name, bits] of Object.entries(BITS)) {
    if (!schema.names[name].includes(names[name])) continue;
    for (let bit = 0; bit < bits; ++bit) x[AT[`${name} 0`] + bit] = Math.floor(names[name] / 2 ** bit) % 2 === 1 ? 1 : -1;
  }
  if (schema.describe) {
    hashText(request["task-description"], TEXT_WIDTH).forEach((value, i) => (x[AT["description 0"] + (i % WORDS)] += value));
  }
  if (numbers.requested !== undefined) {
    x[AT["requested - anchor"]] = cut(Math.log1p(numbers.requested) - schema.prior[0]) / schema.spread[0];
  }
  const done = experience(schema, request["current-team-capacity"]);
  if (done !== null) x[AT["agent: count"]] = Math.log1p(done) / 3;
  TARGETS.forEach((name, i) => {
    if (schema["training-rows"][i] >= TRAINED) x[AT[`anchor ${name}`]] = normalize(schema.scalers[i], schema.prior[i]);
  });
  return x;
}

// How many runs an agent of the stated level had finished, in the training data; null where it says nothing.
function experience(schema, team) {
  const level = team["experience-level"];
  const known = schema["agent-experience"];
  return level !== undefined && known.some((count) => count !== 0) ? known[EXPERIENCE[level]] : null;
}

// The inverse of the normal distribution: Wichura's AS 241.
function normalScore(p) {
  const poly = (c, r) => c.reduceRight((sum, k) => sum * r + k, 0);
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * poly([3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
      45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727], r)) /
      poly([1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077, 21213.794301586595867,
        39307.89580009271061, 28729.085735721942674, 5226.495278852545925], r);
  }
  const r = Math.sqrt(-Math.log(Math.min(p, 1 - p))) - 1.6; // shares beyond e^-25 are not asked for
  const x = poly([1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
    1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4], r) /
    poly([1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455, 0.14810397642748007459,
      0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9], r);
  return q < 0 ? -x : x;
}

const SCORES = QUANTILES.map(normalScore);

// A quantile between the seven: linear in the normal score of p.
function quantile(values, p) {
  const score = normalScore(Math.min(Math.max(p, QUANTILES[0]), QUANTILES.at(-1)));
  const place = Math.min(Math.max(SCORES.filter((known) => known <= score + 1e-12).length - 1, 0), SCORES.length - 2);
  const share = (score - SCORES[place]) / (SCORES[place + 1] - SCORES[place]);
  return values[place] + share * (values[place + 1] - values[place]);
}

const four = (value) => (value > 1e-6 ? Number(value.toPrecision(4)) : 0);

// Log1p quantiles per target before calibration, and the chances.
function decode({ prior, spread }, raw) {
  const width = QUANTILES.length + 1;
  return TARGETS.map((_, t) => ({
    quantiles: QUANTILES.map((_, q) => Math.max(prior[t] + spread[t] * raw[t * width + q], 0)),
    chance: 1 / (1 + Math.exp(-Math.min(Math.max(raw[t * width + width - 1], -30), 30))),
  }));
}

// Conformal shifts of a source: its own, else everyone's, else null.
function shiftsOf(calibration, source) {
  const everyone = calibration.shifts.all;
  const own = calibration.shifts[String(source)] ?? everyone;
  return own.map((row, t) => row.map((value, q) => value ?? everyone[t][q]));
}

/**
 * Forecast one task from its description alone: the Python package's answer to a request without past runs. With
 * `explain` it says how much each group of inputs moved the median duration; `note` is what its history says.
 */
export function answer(model, request, { explain = false, now, note } = {}) {
  const schema = checkedModel(model);
  const read = parseRequest(request, now);
  const team = read["current-team-capacity"];
  const x = encode(schema, read);
  const forecasts = decode(schema, model.run(x, [1, 1, WIDTH]));
  const source = code("-");
  const shifts = shiftsOf(model.calibration, source);
  const limit = limitOf(schema, read, source);
  const productivity = team["average-productivity"] ?? 1;
  const predictions = {};
  TARGETS.forEach((target, t) => {
    const rows = schema["training-rows"][t];
    if (rows < TRAINED) {
      const reason = rows ? `not trained: the training data told it for ${rows} runs` : "not trained: not in the data";
      predictions[target] = { status: "unavailable", reason };
      return;
    }
    let least = 0;
    const most = t === 0 ? limit : Infinity;
    const values = forecasts[t].quantiles.map((value, q) => (least = Math.max(least, value + (shifts[t][q] ?? 0))))
      .map((value) => Math.min(value, most));
    const at = (p) => four(Math.expm1(quantile(values, p)) / (t === 0 ? productivity : 1));
    const entry = { status: "predicted", unit: UNITS[t], median: at(0.5) };
    if (read["uncertainty-quantification"]) {
      entry.intervals = Object.fromEntries(read["confidence-intervals"].map((level) =>
        [String(Number(level.toPrecision(4))), [at((1 - level) / 2), at((1 + level) / 2)]]));
      entry.calibrated = shifts[t].every((value) => value !== null);
      entry.own_outcomes = 0;
    }
    if (t === 0 && isBeyond(schema, read)) {
      entry.note = "every run that was learned from had a requested time, this task has none: no forecast beyond " +
        `${four(Math.expm1(schema.longest))} s, the longest of them; give --requested-time`;
    }
    predictions[target] = entry;
  });
  const rows = Math.max(...schema["training-rows"]);
  return {
    rests_on: `the model's prior alone, ${rows} runs of other people's work: none of yours is known ` +
      "(--historical-context, claude-flow neural data collect)",
    task: read["task-description"],
    decision_time: `${new Date(read.decision).toISOString().slice(0, 19)}Z`,
    history: {
      note: note ?? "no historical-context given: the model's prior alone answers", runs: 0, finished: 0, shown: 0,
    },
    capacity: report(schema, team, predictions.duration),
    predictions,
    failure: failure(schema, forecasts[0].chance),
    ...(explain ? { explanation: reasons(model, schema, x, forecasts[0].quantiles[3]) } : {}),
  };
}

const isBeyond = (schema, read) => Number.isFinite(schema.longest) && read["requested-time"] === undefined;

// The log1p duration that no quantile should exceed.
function limitOf(schema, read, source) {
  if (isBeyond(schema, read)) return schema.longest;
  const slack = schema.overrun?.[String(source)];
  const requested = read["requested-time"];
  return slack === undefined || requested === undefined ? Infinity : Math.max(Math.log1p(requested) + slack, 0);
}

function report(schema, team, duration) {
  const found = {};
  const [productivity, level, agents] = ["average-productivity", "experience-level", "available-agents"].map((name) => team[name]);
  const done = experience(schema, team);
  if (productivity !== undefined) {
    found["average-productivity"] = `durations are multiplied by 1 / ${general(productivity)} (a rule, not learned)`;
  }
  if (level !== undefined) {
    found["experience-level"] = done !== null
      ? `${level}: read as an agent with ${general(done)} finished runs, a learned input`
      : "no effect: the agent's own history is known, or the training data tells no agents apart";
  }
  if (agents !== undefined) {
    found["available-agents"] = "no effect on one task, which one agent does; see tasks-per-hour";
    if (duration.status === "predicted" && duration.median > 0) found["tasks-per-hour"] = four((agents * 3600) / duration.median);
  }
  return found;
}

function failure({ outcomes: [good, bad] }, chance) {
  if (Math.min(good, bad) < 10) {
    const reason = `not trained: the training data has ${bad} failed and ${good} successful runs, fewer than 10 of a kind`;
    return { status: "unavailable", reason };
  }
  const rounded = (share) => Math.round(share * 1e4) / 1e4;
  return { status: "predicted", probability: rounded(chance), training_rate: rounded(bad / (good + bad)) };
}

// Groups of inputs by how far the median duration moves without them.
function reasons(model, schema, x, middle) {
  const parts = Object.entries(INPUTS)
    .map(([input, starts]) => [input, SLOTS.flatMap((name, i) => (starts.some((start) => name.startsWith(start)) ? [i] : []))])
    .filter(([, slots]) => slots.some((slot) => x[slot] !== 0));
  if (parts.length === 0) return [];
  const blanked = new Float32Array(parts.length * WIDTH);
  parts.forEach(([, slots], i) => {
    blanked.set(x, i * WIDTH);
    for (const slot of slots) blanked[i * WIDTH + slot] = 0;
  });
  const raw = model.run(blanked, [parts.length, 1, WIDTH]);
  const width = raw.length / parts.length;
  return parts.map(([input], i) => {
    const other = decode(schema, raw.subarray(i * width, (i + 1) * width))[0].quantiles[3];
    return { input, effect: Math.round(Math.expm1(middle - other) * 1e4) / 1e4 };
  }).sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
}

/** The note on a request's history where the workspace has none. */
export function noteOf(request) {
  const context = request?.["historical-context"];
  if (!hasPast(request)) return undefined;
  return SIMILAR.test(context)
    ? "the workspace has no dataset swarm-training-data (make it with  claude-flow neural data collect): the model's prior alone answers"
    : undefined;
}
