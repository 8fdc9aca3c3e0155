// Swarms as JSON to tokens, and a coordination network's output to assignments: what
// python/claude_flow/networks/coordination/features.py and python/claude_flow/networks/coordination/answer.py do. tests/wasm holds both to
// the same numbers.

import { ClaudeFlowError } from "./claude_flow.mjs";
import { crc32, hashText } from "./text.mjs";

const WIDTH = 512;
const STATE = 0;
const AGENT = 1;
const TASK = 2;
const NUMBERS = Object.fromEntries(
  [
    "load", "load known",
    "past tasks (log)", "success rate", "advantage", "history known",
    "priority", "priority known", "complexity", "complexity known",
    "memory usage", "memory known", "cpu usage", "cpu known", "latency (log)", "latency known",
    "agents (log)", "tasks (log)", "mean load", "largest load",
  ].map((name, i) => [name, 3 + i]),
);
const BUCKETS = 32;
const FEATURES = 96;
const TEXT = 160;
const PAST = 336;
const TEXT_WIDTH = 176;
const PRIORITIES = { low: 0, medium: 1 / 3, high: 2 / 3, critical: 1 };
const SHRINKAGE = 8; // pseudo-observations that pull an agent's mean advantage towards zero
const LIMIT = 4; // normalized values are clipped here
const ALTERNATIVES = 3;

const RECORD = { tasks: "count", "success-rate": "share", "swarm-success-rate": "share", "by-type": "by-type" };
const FIELDS = {
  "current-agents": { id: "id", type: "text", load: "share", capabilities: "texts", "track-record": "record" },
  "pending-tasks": {
    id: "id", type: "text", description: "text", priority: "priority", complexity: "share", requires: "texts",
    features: "numbers",
  },
  "system-state": { "memory-usage": "share", "cpu-usage": "share", "network-latency": "count" },
};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const refuse = (text) => {
  throw new ClaudeFlowError(text);
};

function shown(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 40 ? text : `${text.slice(0, 37)}...`;
}

function checkFields(where, entry, fields) {
  if (!isObject(entry)) refuse(`${where} must be an object with ${Object.keys(fields).join(", ")}, not ${shown(entry)}`);
  for (const key of Object.keys(entry)) {
    if (!Object.hasOwn(fields, key)) {
      refuse(`${where}.${key}: no such field; known fields: ${Object.keys(fields).join(", ")}`);
    }
  }
}

function check(where, entry, fields) {
  checkFields(where, entry, fields);
  for (const [key, value] of Object.entries(entry)) checkValue(`${where}.${key}`, value, fields[key]);
}

function checkValue(where, value, kind) {
  const number = Number.isFinite(value);
  if (kind === "share") {
    if (!number || value < 0 || value > 1) refuse(`${where} must be a number from 0 to 1, not ${shown(value)}`);
  } else if (kind === "count") {
    if (!number || value < 0) refuse(`${where} must be a number of at least 0, not ${shown(value)}`);
  } else if (kind === "priority") {
    if (!(typeof value === "string" && Object.hasOwn(PRIORITIES, value)) && !(number && value >= 0 && value <= 1)) {
      refuse(`${where} must be one of ${Object.keys(PRIORITIES).join(", ")}, or a number from 0 to 1, not ${shown(value)}`);
    }
  } else if (kind === "id" || kind === "text") {
    if (typeof value !== "string" || (kind === "id" && !value)) {
      refuse(`${where} must be ${kind === "id" ? "a non-empty" : "a"} string, not ${shown(value)}`);
    }
  } else if (kind === "texts") {
    if (!Array.isArray(value)) refuse(`${where} must be a list of strings, not ${shown(value)}`);
    value.forEach((item, i) => {
      if (typeof item !== "string") refuse(`${where}[${i}] must be a string, not ${shown(item)}`);
    });
  } else if (kind === "record") {
    check(where, value, RECORD);
    const needed = { "tasks": "a number of at least 0", "success-rate": "a number from 0 to 1" };
    for (const [field, says] of Object.entries(needed)) {
      if (!Object.hasOwn(value, field)) {
        refuse(`${where}: ${field} is missing; it must be ${says}`);
      }
    }
  } else if (kind === "number") {
    if (!number) refuse(`${where} must be a finite number, not ${shown(value)}`);
  } else {
    if (!isObject(value)) refuse(`${where} must be an object, not ${shown(value)}`);
    for (const [key, item] of Object.entries(value)) {
      checkValue(`${where}.${key}`, item, kind === "by-type" ? "record" : "number");
    }
  }
}

/** Check a request (spec: "Coordination Inference"): {agents, tasks, state}. Throws a ClaudeFlowError naming the place. */
export function parseRequest(request, maxTokens = 128) {
  if (!isObject(request)) {
    refuse(`input must be a JSON object with ${Object.keys(FIELDS).join(", ")}, not ${shown(request)}`);
  }
  checkFields("input", request, FIELDS);
  for (const [name, noun] of [["current-agents", "agent"], ["pending-tasks", "task"]]) {
    const entries = request[name];
    if (!Array.isArray(entries)) refuse(`input.${name} must be a list of ${noun}s, not ${shown(entries)}`);
    if (entries.length === 0) refuse(`input.${name} is empty: name at least one ${noun}`);
    const seen = new Map();
    entries.forEach((entry, i) => {
      const where = `input.${name}[${i}]`;
      check(where, entry, FIELDS[name]);
      if (!Object.hasOwn(entry, "id")) refuse(`${where}: id is missing; it must be a non-empty string`);
      if (seen.has(entry.id)) {
        refuse(`${where}.id: ${shown(entry.id)} is taken by ${name}[${seen.get(entry.id)}]: none twice`);
      }
      seen.set(entry.id, i);
    });
  }
  const state = Object.hasOwn(request, "system-state") ? request["system-state"] : {};
  check("input.system-state", state, FIELDS["system-state"]);
  const agents = request["current-agents"];
  const tasks = request["pending-tasks"];
  const tokens = 1 + agents.length + tasks.length;
  if (tokens > maxTokens) {
    refuse(
      `input: ${tokens - 1} agents and tasks and one state make ${tokens} tokens, ` +
        `but the network takes ${maxTokens}: split the tasks into several requests`,
    );
  }
  return { agents, tasks, state };
}

const bucket = (kind) => crc32(kind.trim().toLowerCase()) % 64;

function put(token, name, known, value) {
  if (value === undefined || value === null) return;
  token[NUMBERS[name]] = value;
  token[NUMBERS[known]] = 1;
}

function stateToken(state, agents, tasks) {
  const token = new Float32Array(WIDTH);
  token[STATE] = 1;
  put(token, "memory usage", "memory known", state["memory-usage"]);
  put(token, "cpu usage", "cpu known", state["cpu-usage"]);
  const latency = state["network-latency"];
  put(token, "latency (log)", "latency known", latency === undefined ? undefined : Math.log1p(latency) / 5);
  token[NUMBERS["agents (log)"]] = Math.log1p(agents.length) / 5;
  token[NUMBERS["tasks (log)"]] = Math.log1p(tasks) / 5;
  const loads = agents.map((agent) => agent.load).filter((load) => load !== undefined);
  if (loads.length > 0) {
    token[NUMBERS["mean load"]] = loads.reduce((a, b) => a + b) / loads.length;
    token[NUMBERS["largest load"]] = Math.max(...loads);
  }
  return token;
}

function agentToken(agent) {
  const token = new Float32Array(WIDTH);
  token[AGENT] = 1;
  put(token, "load", "load known", agent.load);
  token.set(hashText([agent.type ?? "", ...(agent.capabilities ?? [])].join(" "), TEXT_WIDTH), TEXT);
  const record = agent["track-record"];
  if (record && Object.keys(record).length > 0) {
    const count = record.tasks;
    const rate = record["success-rate"];
    const base = record["swarm-success-rate"] ?? 0.5;
    token[NUMBERS["past tasks (log)"]] = Math.log1p(count) / 5;
    token[NUMBERS["success rate"]] = rate;
    token[NUMBERS.advantage] = ((rate - base) * count) / (count + SHRINKAGE);
    token[NUMBERS["history known"]] = count > 0 ? 1 : 0;
    for (const [kind, part] of Object.entries(record["by-type"] ?? {})) {
      token[BUCKETS + bucket(kind)] += ((part["success-rate"] - base) * part.tasks) / (part.tasks + SHRINKAGE);
    }
  }
  return token;
}

/** Normalize one number by a stored [kind, parameters]. */
function normalize([kind, parameters], value) {
  let v = value;
  if (kind === "quantile") {
    const last = parameters.length - 1;
    if (parameters[0] === parameters[last]) {
      v = 0;
    } else {
      const below = parameters.filter((knot) => knot < v).length;
      const upTo = parameters.filter((knot) => knot <= v).length;
      let rank;
      if (upTo > below) rank = 0.5 * (below + upTo - 1); // a knot, maybe several: the middle of its ranks
      else if (below === 0) rank = 0;
      else if (below > last) rank = last;
      else rank = below - 1 + (v - parameters[below - 1]) / (parameters[below] - parameters[below - 1]);
      v = (rank / last) * 4 - 2;
    }
  } else if (kind !== "none") {
    if (kind === "log") v = Math.sign(v) * Math.log1p(Math.abs(v));
    const [center, scale] = parameters;
    v = scale > 0 ? (v - center) / scale : 0;
  }
  return Math.fround(Math.min(LIMIT, Math.max(-LIMIT, v)));
}

function taskToken(schema, task) {
  const token = new Float32Array(WIDTH);
  token[TASK] = 1;
  const priority = task.priority;
  put(token, "priority", "priority known", typeof priority === "string" ? PRIORITIES[priority] : priority);
  put(token, "complexity", "complexity known", task.complexity);
  const kind = task.type ?? "";
  if (kind) token[BUCKETS + bucket(kind)] = 1;
  const description = schema.describe ? (task.description ?? "") : "";
  const text = hashText([kind, description, ...(task.requires ?? [])].join(" "), TEXT_WIDTH);
  token.set(text, TEXT);
  token.set(text, PAST);
  for (const [name, value] of Object.entries(task.features ?? {})) {
    if (!Object.hasOwn(schema.features, name)) continue;
    const code = crc32(name);
    token[FEATURES + (code % 64)] += (code & 0x80000000 ? 1 : -1) * normalize(schema.features[name], value);
  }
  return token;
}

/** Tokens [1 + agents + tasks, 512] of a checked request, by the schema stored in the model (`model.features`). */
export function encode(schema, { agents, tasks, state }) {
  if (schema.encoder !== "coordination" || schema.version !== 1 || schema.width !== WIDTH) {
    refuse(
      `the feature schema is '${schema.encoder}' version ${schema.version}; ` +
        "this version reads 'coordination' version 1: train the model again",
    );
  }
  const tokens = [
    stateToken(state, agents, tasks.length),
    ...agents.map(agentToken),
    ...tasks.map((task) => taskToken(schema, task)),
  ];
  const x = new Float32Array(tokens.length * WIDTH);
  tokens.forEach((token, i) => x.set(token, i * WIDTH));
  return x;
}

/**
 * Assign each pending task to an agent or a command. Returns {assignments, choices, probabilities}: `assignments` as the
 * Python package's answer, `choices` the names of the columns of `probabilities` (row-major, one row per task).
 */
export function answer(model, request, { confidenceThreshold = 0 } = {}) {
  if (!(confidenceThreshold >= 0 && confidenceThreshold <= 1)) {
    refuse(`confidenceThreshold must lie between 0 and 1, not ${confidenceThreshold}`);
  }
  if (model.network !== "coordination") refuse(`this is a ${model.network} model; assigning needs a coordination model`);
  const swarm = parseRequest(request, model.maxTokens);
  const { agents, tasks } = swarm;
  const { probabilities, columns, commands } = model.decide(encode(model.features, swarm), agents.length, tasks.length);
  const choices = [...agents.map((agent) => agent.id), ...commands];
  const round = (p) => Math.round(p * 1e4) / 1e4;
  const assignments = tasks.map((task, i) => {
    const p = probabilities.subarray(i * columns, (i + 1) * columns);
    const order = choices.map((_, j) => j).sort((a, b) => p[b] - p[a]);
    const [best] = order;
    const withheld = p[best] < confidenceThreshold;
    const decision = best < agents.length ? "assign" : commands[best - agents.length];
    return {
      task: task.id,
      decision: withheld ? "withheld" : decision,
      agent: decision === "assign" && !withheld ? choices[best] : null,
      confidence: round(p[best]),
      candidates: order.slice(0, 1 + ALTERNATIVES).map((j) => ({ choice: choices[j], confidence: round(p[j]) })),
    };
  });
  return { assignments, choices, probabilities };
}
