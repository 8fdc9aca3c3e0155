// A swarm's performance, settings, limits and wishes as JSON to inputs, and an optimization network's output to
// recommendations: what python/claude_flow/networks/optimization/features.py and answer.py do. tests/wasm holds both to the
// same numbers.

import { TUNABLES } from "./catalogue.mjs";
import { bytes, checkFields, checkNumber, general, isObject, refuse, seconds, shown } from "./check.mjs";

const [PERFORMANCE, SETTINGS, , LIMITS] = ["current-performance", "current-settings", "workload", "constraints"];
const GROUPS = [PERFORMANCE, SETTINGS, "workload", LIMITS];
const TARGETS = "optimization-targets";
const USUAL = ["reduce-latency", "improve-throughput", "reduce-error-rate", "reduce-cost"];
const CUT_OFF = 1.5;
const MOVE = 0.15; // one recommendation moves a setting by this share of its range
const KNEE = 64; // a log0 scale starts at 0 and is logarithmic from about high/64 on
const DIRECTIONS = ["raise", "lower"];
const REASONS = 4;
const NOTHING = "no change";
const READ = {
  share: (where, value) => checkNumber(where, value, 0, 1), number: (where, value) => checkNumber(where, value, 0),
  seconds, bytes,
};

const clipped = (value, low, high) => Math.min(Math.max(value, low), high);
const rounded = (value) => Math.round(value * 1e4) / 1e4;

const kept = new WeakMap();

// Of a schema: the fields of each group by name, their numbers by path, and the settings in the catalogue's order.
function indexed(schema) {
  if (!kept.has(schema)) {
    const groups = Object.fromEntries(GROUPS.map((group) => [group, {}]));
    const places = new Map();
    schema.fields.forEach((field, i) => {
      groups[field.group][field.name] = field;
      places.set(`${field.group}.${field.name}`, i);
    });
    const settings = TUNABLES.map(({ name, whole }) => ({ name, whole, field: groups[SETTINGS][name] }));
    kept.set(schema, { groups, places, settings });
  }
  return kept.get(schema);
}

function scaled({ scale, low, high }, value) {
  let position;
  if (scale === "linear") position = (value - low) / (high - low);
  else if (scale === "log") position = Math.log(Math.max(value, low * 1e-3) / low) / Math.log(high / low);
  else position = Math.log1p((KNEE * value) / high) / Math.log1p(KNEE);
  return clipped(2 * position - 1, -CUT_OFF, CUT_OFF);
}

/** Check a request: {values: Map of a field's path to its number, targets: name to weight}. */
export function parseRequest(schema, request) {
  const known = Object.fromEntries([...GROUPS, TARGETS].map((name) => [name, true]));
  checkFields("the request", request, known);
  const values = new Map();
  for (const group of GROUPS.filter((name) => Object.hasOwn(request, name))) {
    const fields = indexed(schema).groups[group];
    checkFields(group, request[group], fields);
    for (const [name, value] of Object.entries(request[group])) {
      values.set(`${group}.${name}`, READ[fields[name].kind](`${group}.${name}`, value));
    }
  }
  if (Object.keys(request[PERFORMANCE] ?? {}).length === 0) {
    refuse(`${PERFORMANCE}: name at least one metric, such as latency or throughput`);
  }
  return { values, targets: weights(schema.targets, request[TARGETS] ?? USUAL) };
}

function weights(known, given) {
  if (!Array.isArray(given) && !isObject(given)) refuse(`${TARGETS} must be a list of names or an object of weights`);
  const entries = Array.isArray(given) ? given.map((name) => [name, 1]) : Object.entries(given);
  entries.forEach(([name, weight], i) => {
    if (!known.includes(name)) refuse(`${TARGETS}: ${shown(name)} is not one of ${known.join(", ")}`);
    if (entries.findIndex(([other]) => other === name) < i) refuse(`${TARGETS}: ${shown(name)} is named twice`);
    checkNumber(`${TARGETS}.${name}`, weight, 0);
  });
  const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
  if (!(total > 0)) refuse(`${TARGETS}: give at least one of ${known.join(", ")}`);
  return Object.fromEntries(entries.filter(([, weight]) => weight > 0).map(([name, weight]) => [name, weight / total]));
}

/** The network's 256 inputs of a checked request, by the schema stored in the model (`model.features`). */
export function encode(schema, { values, targets }) {
  const x = new Float32Array(2 * schema.fields.length + schema.targets.length);
  const { places } = indexed(schema);
  for (const [path, value] of values) {
    const i = places.get(path);
    x[2 * i] = scaled(schema.fields[i], value);
    x[2 * i + 1] = 1;
  }
  schema.targets.forEach((name, i) => (x[2 * schema.fields.length + i] = targets[name] ?? 0));
  return x;
}

// A setting after one move; a count moves by at least 1, and nothing leaves the range.
function moved({ scale, low, high }, whole, value, direction) {
  const sign = direction === "raise" ? 1 : -1;
  let at;
  if (scale === "log") at = Math.log(Math.max(value, 1e-12) / low) / Math.log(high / low);
  else if (scale === "log0") at = Math.log1p((KNEE * value) / high) / Math.log1p(KNEE);
  else at = (value - low) / (high - low);
  at = clipped(at + sign * MOVE, 0, 1);
  let next;
  if (at === 0 || at === 1) next = at ? high : low;
  else if (scale === "log") next = low * Math.exp(at * Math.log(high / low));
  else if (scale === "log0") next = (high / KNEE) * Math.expm1(at * Math.log1p(KNEE));
  else next = low + at * (high - low);
  next = clipped(whole ? Math.round(next) : next, low, high);
  return whole && next === value ? clipped(value + sign, low, high) : next;
}

// Of each of the 128 changes: the setting now and then (undefined = unknown), and whether it can still move.
const FREE = TUNABLES.flatMap(() => DIRECTIONS.map(() => ({ possible: true }))); // where no setting is known

function moves(schema, values) {
  if (![...values.keys()].some((path) => path.startsWith(SETTINGS))) return FREE;
  return indexed(schema).settings.flatMap(({ name, whole, field }) => {
    const now = values.get(`${SETTINGS}.${name}`);
    const most = values.get(`${LIMITS}.${name}`) ?? Infinity;
    return DIRECTIONS.map((direction) => {
      if (now === undefined) return { possible: true };
      const then = moved(field, whole, now, direction);
      const step = direction === "raise" ? then - now : now - then;
      return { now, then, possible: step > 0 && (direction === "lower" || then <= most) };
    });
  });
}

const sound = new WeakMap();

function checked(model) {
  if (!sound.has(model)) sound.set(model, examined(model));
  return sound.get(model);
}

function examined(model) {
  const ids = TUNABLES.flatMap(({ name }) => DIRECTIONS.map((direction) => `${direction}-${name}`));
  if (model.network !== "optimization") refuse(`this is a ${model.network} model; recommending needs an optimization model`);
  const { version, recommendations } = model.features;
  if (version !== 1 || recommendations.length !== ids.length || recommendations.some((id, i) => id !== ids[i])) {
    refuse("the model answers for another catalogue of recommendations: train it again");
  }
  return { schema: model.features, ids, scale: model.calibration.scale };
}

function confidence(model, score, known) {
  const { scores, probabilities } = model.calibration.confidence.filter((one) => one.known_inputs_from <= known).at(-1);
  const above = scores.findIndex((knot) => knot > score);
  if (above === 0) return probabilities[0];
  if (above < 0) return probabilities.at(-1);
  const share = (score - scores[above - 1]) / (scores[above] - scores[above - 1]);
  return probabilities[above - 1] + share * (probabilities[above] - probabilities[above - 1]);
}

/**
 * The `top` changes that help most, without a log's twin: {recommendations, withheld, targets, inputs_known, inputs_total, notes}, as the Python
 * package's answer. With `explain` each has an `explanation`: the inputs without which its score would change most.
 */
export function answer(model, request, { top = 5, confidenceThreshold = 0, explain = false } = {}) {
  const { schema, ids, scale } = checked(model);
  if (!(Number.isSafeInteger(top) && top >= 1 && top <= ids.length)) refuse(`top must lie between 1 and ${ids.length}, not ${top}`);
  if (!(confidenceThreshold >= 0 && confidenceThreshold <= 1)) {
    refuse(`confidence-threshold must lie between 0 and 1, not ${confidenceThreshold}`);
  }
  const read = parseRequest(schema, request);
  const x = encode(schema, read);
  const raw = model.run(x, [1, x.length]).map((score) => score / scale);
  const may = moves(schema, read.values);
  const order = ids.map((_, i) => i).filter((i) => raw[i] > 0 && may[i].possible).sort((a, b) => raw[b] - raw[a]);
  const lost = explain ? occlusion(model, schema, read, x, raw, scale) : null;
  const entries = order.slice(0, top).map((i) => {
    const tunable = TUNABLES[i >> 1];
    const { now, then } = may[i];
    return {
      id: ids[i], tunable: tunable.name, direction: DIRECTIONS[i % 2], score: rounded(raw[i]),
      confidence: confidence(model, raw[i], read.values.size), expected_effect: tunable.effects[i % 2],
      ...(now === undefined ? {} : { change: { from: now, to: Number(then.toPrecision(4)), unit: unitOf(schema, tunable) } }),
      ...(lost ? { explanation: lost(i) } : {}),
    };
  });
  const sure = ({ confidence: p }) => p >= confidenceThreshold;
  const [recommendations, withheld] = [entries.filter(sure), entries.filter((entry) => !sure(entry))].map((list) =>
    list.map((entry) => ({ ...entry, confidence: rounded(entry.confidence) })));
  const notes = outside(schema, read.values);
  if (entries.length === 0) notes.push("no change is expected to help: the swarm looks well tuned for these targets");
  else if (recommendations.length === 0) {
    notes.push(`no recommendation reaches the confidence threshold ${general(confidenceThreshold)}`);
  }
  const targets = Object.fromEntries(Object.entries(read.targets).map(([name, weight]) => [name, rounded(weight)]));
  return {
    rests_on: "what the request says", recommendations, withheld, twin: null, confidence_threshold: confidenceThreshold, targets, inputs_known: read.values.size,
    inputs_total: schema.fields.length, notes,
  };
}

const unitOf = (schema, { name }) => indexed(schema).groups[SETTINGS][name].unit;

function outside(schema, values) {
  return schema.fields.flatMap((field) => {
    const path = `${field.group}.${field.name}`;
    const value = values.get(path);
    if (value === undefined) return [];
    const at = scaled(field, value);
    if (!(at > 1.2 || (at < -1.2 && value !== 0 && field.kind !== "share"))) return [];
    return [`${path}: ${general(value)} is outside the range ${general(field.low)} to ${general(field.high)} that the network was trained on`];
  });
}

// For a change, the known inputs by how much its score would lose were they unknown, largest first.
function occlusion(model, schema, { values }, x, raw, scale) {
  const places = [...indexed(schema).places].filter(([path]) => values.has(path));
  const blanked = new Float32Array(places.length * x.length);
  places.forEach(([, field], row) => {
    blanked.set(x, row * x.length);
    blanked.fill(0, row * x.length + 2 * field, row * x.length + 2 * field + 2);
  });
  const without = model.run(blanked, [places.length, x.length]);
  const width = raw.length;
  return (change) =>
    places.map(([path], row) => ({ input: path, value: values.get(path), effect: raw[change] - without[row * width + change] / scale }))
      .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, REASONS)
      .map((reason) => ({ ...reason, effect: rounded(reason.effect) }));
}

/** What a request may say otherwise, for counterfactuals: python/claude_flow/networks/optimization/explain.py. */
export function knobs(request, model) {
  const { schema } = checked(model);
  const whole = new Set(TUNABLES.filter((tunable) => tunable.whole).map(({ name }) => name));
  const { values } = parseRequest(schema, request);
  return schema.fields.map((field) => [field, values.get(`${field.group}.${field.name}`)])
    .filter(([, value]) => value !== undefined)
    .map(([{ group, name, scale, low, high }, value]) => ({
      label: `${group}.${name}`, path: [group, name], value, low: Math.min(low, value), high: Math.max(high, value),
      log: scale !== "linear", whole: group === SETTINGS && whole.has(name),
    }));
}

/** What `counterfactuals` asks: the one decision is which change comes first, or none. */
export function decisions(model) {
  const { schema, ids, scale } = checked(model);
  return {
    names: ["first change"],
    options: [...ids, NOTHING],
    scores(requests) {
      const read = requests.map((request) => parseRequest(schema, request));
      const rows = read.map((one) => encode(schema, one));
      const x = new Float32Array(rows.length * rows[0].length);
      rows.forEach((row, i) => x.set(row, i * row.length));
      const y = model.run(x, [rows.length, rows[0].length]);
      return read.map(({ values }, i) => {
        const may = moves(schema, values);
        return [[...ids.map((_, j) => (may[j].possible ? y[i * ids.length + j] / scale : -Infinity)), 0]];
      });
    },
  };
}
