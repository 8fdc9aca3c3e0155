// Swarms as JSON to tokens, and a coordination network's output to assignments: what
// python/claude_flow/networks/coordination/features.py and python/claude_flow/networks/coordination/answer.py do. tests/wasm holds both to
// the same numbers.

import { checkFields, isObject, refuse, shown } from "./check.mjs";
import { normalize } from "./scale.mjs";
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
const ALTERNATIVES = 3;

const RECORD = { tasks: "count", "success-rate": "share", "swarm-success-rate": "share", "by-type": "by-type" };
const FIELDS = {
  "current-agents": {
    id: "id", type: "text", load: "share", capabilities: "texts", speed: "speed", "cost-per-hour": "count",
    "past-tasks": "count", "free-in-minutes": "count", "track-record": "record",
  },
  "pending-tasks": {
    id: "id", type: "text", description: "text", priority: "priority", complexity: "share", requires: "texts",
    features: "numbers",
  },
  "system-state": { "memory-usage": "share", "cpu-usage": "share", "network-latency": "count" },
};

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
  } else if (kind === "speed") {
    if (!number || value < 0.01 || value > 100) refuse(`${where} must be a number from 0.01 to 100, not ${shown(value)}`);
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

// Slots that an explanation blanks together, by kind of token: features.GROUPS.
const range = (first, count) => Array.from({ length: count }, (_, i) => first + i);
const named = (...names) => names.map((name) => NUMBERS[name]);
const GROUPS = {
  agent: {
    "type and capabilities": range(TEXT, TEXT_WIDTH),
    load: named("load", "load known"),
    "track record": named("past tasks (log)", "success rate", "advantage", "history known"),
    "track record by task type": range(BUCKETS, FEATURES - BUCKETS),
    "past tasks' texts": range(PAST, TEXT_WIDTH),
  },
  task: {
    "type and description": [...range(TEXT, 2 * TEXT_WIDTH), ...range(BUCKETS, FEATURES - BUCKETS)],
    priority: named("priority", "priority known"),
    complexity: named("complexity", "complexity known"),
    "numeric features": range(FEATURES, TEXT - FEATURES),
  },
  state: {
    "memory usage": named("memory usage", "memory known"),
    "cpu usage": named("cpu usage", "cpu known"),
    "network latency": named("latency (log)", "latency known"),
  },
};
const LATENCY_MS = 1000; // the largest network latency that a change may ask for
const REASONS = 5;

/**
 * Tokens [1 + agents + tasks, 512] of a checked request, by the schema stored in the model (`model.features`). `made` keeps
 * the tokens of agents and tasks for the next request that has the same objects.
 */
export function encode(schema, { agents, tasks, state }, made = new Map()) {
  if (schema.encoder !== "coordination" || schema.version !== 1 || schema.width !== WIDTH) {
    refuse(
      `the feature schema is '${schema.encoder}' version ${schema.version}; ` +
        "this version reads 'coordination' version 1: train the model again",
    );
  }
  const token = (entry, make) => {
    if (!made.has(entry)) made.set(entry, make(entry));
    return made.get(entry);
  };
  const tokens = [
    stateToken(state, agents, tasks.length),
    ...agents.map((agent) => token(agent, agentToken)),
    ...tasks.map((task) => token(task, (entry) => taskToken(schema, entry))),
  ];
  const x = new Float32Array(tokens.length * WIDTH);
  tokens.forEach((values, i) => x.set(values, i * WIDTH));
  return x;
}

const rounded = (p) => Math.round(p * 1e4) / 1e4;

/**
 * Assign each pending task to an agent or a command. Returns {assignments, choices, probabilities, notes}: `assignments` as
 * the Python package's answer, `choices` the names of the columns of `probabilities` (row-major, one row per task). With
 * `explain` each assignment has an `explanation`: the inputs without which the choice would be less likely.
 */
export function answer(model, request, { confidenceThreshold = 0, explain = false } = {}) {
  if (!(confidenceThreshold >= 0 && confidenceThreshold <= 1)) {
    refuse(`confidenceThreshold must lie between 0 and 1, not ${confidenceThreshold}`);
  }
  if (model.network !== "coordination") refuse(`this is a ${model.network} model; assigning needs a coordination model`);
  const swarm = parseRequest(request, model.maxTokens);
  const { agents, tasks } = swarm;
  const x = encode(model.features, swarm);
  const { probabilities, columns, commands } = model.decide(x, agents.length, tasks.length);
  const choices = [...agents.map((agent) => agent.id), ...commands];
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
      confidence: rounded(p[best]),
      candidates: order.slice(0, 1 + ALTERNATIVES).map((j) => ({ choice: choices[j], confidence: rounded(p[j]) })),
    };
  });
  if (explain) {
    const found = reasons(model, swarm, x, probabilities, columns);
    assignments.forEach((entry, i) => (entry.explanation = found[i]));
  }
  return { assignments, choices, probabilities, notes: notes(model.features, swarm, x) };
}

// Per task what blanking each group of inputs takes from the chosen one's probability, largest first.
function reasons(model, { agents, tasks }, x, probabilities, columns) {
  const owners = [["state", "system"], ...agents.map(({ id }) => ["agent", id]), ...tasks.map(({ id }) => ["task", id])];
  const parts = owners.flatMap(([kind, who], token) =>
    Object.entries(GROUPS[kind])
      .map(([name, slots]) => ({ kind, who, name, at: slots.map((slot) => token * WIDTH + slot) }))
      .filter(({ at }) => at.some((i) => x[i] !== 0)));
  const blanked = new Float32Array(parts.length * x.length);
  parts.forEach(({ at }, i) => {
    blanked.set(x, i * x.length);
    for (const slot of at) blanked[i * x.length + slot] = 0;
  });
  const without = parts.length > 0 ? model.decide(blanked, agents.length, tasks.length, parts.length).probabilities : [];
  return tasks.map((task, t) => {
    const p = probabilities.subarray(t * columns, (t + 1) * columns);
    const best = p.indexOf(Math.max(...p));
    const effects = parts
      .map(({ kind, who, name }, i) => ({
        kind, who, input: `${kind} ${who}: ${name}`,
        effect: rounded(p[best] - without[(i * tasks.length + t) * columns + best]),
      }))
      .filter(({ kind, who }) => kind !== "task" || who === task.id)
      .map(({ input, effect }) => ({ input, effect }))
      .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
    return effects.filter(({ effect }) => effect).slice(0, REASONS);
  });
}

// What the network could not see: agents that are all the same to it, and task features that it does not know.
function notes(schema, { agents, tasks }, x) {
  const alike = []; // of each kind of agent that differs from the ones before: its token, and who has it
  agents.forEach(({ id }, i) => {
    const token = x.subarray((1 + i) * WIDTH, (2 + i) * WIDTH);
    const known = alike.find((one) => one.token.every((value, slot) => value === token[slot]));
    if (known) known.ids.push(id);
    else alike.push({ token, ids: [id] });
  });
  const found = alike.map(({ ids }) => ids).filter((ids) => ids.length > 1).map((ids) => {
    const few = ids.slice(0, 5).join(", ") + (ids.length > 5 ? ` and ${ids.length - 5} more` : "");
    return `the agents ${few} cannot be told apart: give type, capabilities, load or track-record`;
  });
  const given = new Set(tasks.flatMap((task) => Object.keys(task.features ?? {})));
  const unknown = [...given].filter((name) => !Object.hasOwn(schema.features, name)).slice(0, 8);
  const known = Object.keys(schema.features).slice(0, 8).join(", ") || "none";
  if (unknown.length > 0) {
    found.push(`the model does not know the task features ${unknown.join(", ")}; it was trained with ${known}`);
  }
  return found;
}

/** What a request may say otherwise, for counterfactuals: python/claude_flow/networks/coordination/explain.py. */
export function knobs(request) {
  const share = (label, path, value) => ({ label, path, value, low: 0, high: 1 });
  const state = request["system-state"] ?? {};
  const latency = state["network-latency"];
  return [
    ...request["current-agents"].flatMap((agent, i) => [
      share(`load of ${agent.id}`, ["current-agents", i, "load"], agent.load),
      ...(agent["track-record"] ? [share(`success rate of ${agent.id}`, ["current-agents", i, "track-record",
        "success-rate"], agent["track-record"]["success-rate"])] : []),
    ]),
    ...request["pending-tasks"].flatMap((task, i) => [
      { ...share(`priority of ${task.id}`, ["pending-tasks", i, "priority"], task.priority),
        words: typeof task.priority === "number" ? undefined : Object.keys(PRIORITIES) },
      share(`complexity of ${task.id}`, ["pending-tasks", i, "complexity"], task.complexity),
    ]),
    ...["memory-usage", "cpu-usage"].map((name) => share(name, ["system-state", name], state[name])),
    { label: "network-latency", path: ["system-state", "network-latency"], value: latency, low: 0,
      high: Math.max(LATENCY_MS, latency ?? 0), log: true },
  ].filter(({ value }) => value !== undefined);
}

/** What `counterfactuals` asks: names of the decisions and their options, and the scores of changed requests. */
export function decisions(model, request) {
  const agents = request["current-agents"];
  const tasks = request["pending-tasks"];
  const made = new Map();
  return {
    names: tasks.map(({ id }) => id),
    options: [...agents.map(({ id }) => id), ...model.config.commands],
    scores(requests) {
      const size = (1 + agents.length + tasks.length) * WIDTH;
      const x = new Float32Array(requests.length * size);
      requests.forEach((changed, i) => {
        const swarm = { agents: changed["current-agents"], tasks: changed["pending-tasks"], state: changed["system-state"] ?? {} };
        x.set(encode(model.features, swarm, made), i * size);
      });
      const { scores, columns } = model.decide(x, agents.length, tasks.length, requests.length);
      return requests.map((_, i) => tasks.map((_, t) => {
        const first = (i * tasks.length + t) * columns;
        return scores.subarray(first, first + columns);
      }));
    },
  };
}
