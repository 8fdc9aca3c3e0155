// Swarms as JSON to the four inputs of the whole pipeline, and its values of the action commands to instructions,
// adjustments and reasons: what python/claude_flow/networks/action does, by one call of the engine. The model file is what
// `cf.Pipeline().save(path)` writes. tests/wasm holds both to the same numbers.

import { refuse } from "./check.mjs";
import * as coordination from "./coordination.mjs";
import * as optimization from "./optimization.mjs";
import { halfHours, offers, pair } from "./pairs.mjs";
import * as prediction from "./prediction.mjs";
import { words } from "./text.mjs";

const DEFER = 5; // the commands before it assign
const WINDOW = 8; // tasks that a decision sees
const MOST_AGENTS = 8;
const [NO_DEADLINE, BUSY, COST] = [60, 15, 2]; // minutes left, minutes until free, dollars an hour, where nothing is said
const MONDAY = "2026-01-05T10:00:00Z"; // when a forecast is asked for: what is learned must not hang on the clock

const rounded = (value) => Math.round(value * 1e4) / 1e4;
const name = (text) => (text ?? "").trim().toLowerCase();
const isFree = ({ load }) => (load ?? 0) < 0.95;
const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

// To the nearest whole number, halves to the even one, as Python rounds.
function even(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + (down % 2) : Math.round(value);
}

const kept = new WeakMap();

// Of a model's features: word -> the role that it names.
function rolesOf(features) {
  if (!kept.has(features)) {
    const known = Object.entries(features.roles).flatMap(([role, skills]) => [role, ...skills].map((skill) => [skill, role]));
    kept.set(features, new Map(known));
  }
  return kept.get(features);
}

function roleOf(roles, type) {
  const kind = name(type);
  return roles.get(kind) ?? roles.get(words(kind).find((word) => roles.has(word))) ?? kind;
}

// How well an agent fits a type of task: 1 its role, 0.6 one of its capabilities, 0.2 neither.
function fit(roles, agent, type) {
  const role = roleOf(roles, type);
  if (role === name(agent.type)) return 1;
  const able = new Set((agent.capabilities ?? []).flatMap(words));
  return [...words(type ?? ""), ...words(role)].some((word) => able.has(word)) ? 0.6 : 0.2;
}

function seen(roles, { agents, tasks }) {
  const levels = { low: 0, medium: 1 / 3, high: 2 / 3, critical: 1 };
  return tasks.map(({ type, priority, complexity, features = {} }) => {
    const fits = agents.map((agent) => fit(roles, agent, type));
    return {
      priority: 3 * (typeof priority === "string" ? levels[priority] : (priority ?? 1 / 3)),
      complexity: complexity ?? 0.5,
      waited: features["waiting-minutes"] ?? 0,
      left: features["minutes-left"] ?? NO_DEADLINE,
      kind: roleOf(roles, type),
      freeFit: Math.max(0, ...fits.filter((_, i) => isFree(agents[i]))),
      anyFit: Math.max(0, ...fits),
    };
  });
}

// The first of the most urgent tasks, by their places.
function urgentOf(tasks) {
  return tasks.reduce((first, { priority, left }, i) =>
    priority > tasks[first].priority || (priority === tasks[first].priority && left < tasks[first].left) ? i : first, 0);
}

// A swarm as pairs.mjs takes it.
function able(features, { agents: people, tasks: work }, known) {
  const roles = rolesOf(features);
  const types = [...new Set(work.map(({ type }) => type ?? ""))];
  const tasks = work.map(({ type, features: numbers = {} }, place) => {
    const { priority, complexity, left } = known[place];
    const expected = numbers["expected-minutes"] ?? 8 * (0.4 + complexity);
    const level = even(priority);
    return { place, column: types.indexOf(type ?? ""), work: Math.max(0.01, expected), priority: level,
      weight: features.weights[level], deadline: left };
  });
  const agents = people.map((person, place) => {
    const [load, free] = [person.load ?? 0, isFree(person)];
    return { place, speed: person.speed ?? (free ? 1 - 0.5 * load : 1), cost: person["cost-per-hour"] ?? COST,
      tasks: person["past-tasks"] ?? even(100 * load), readyAt: free ? 0 : (person["free-in-minutes"] ?? BUSY) };
  });
  const table = people.map((person) => types.map((type) => fit(roles, person, type)));
  return { agents, free: agents.filter((_, i) => isFree(people[i])), tasks, table };
}

// The numbers of a swarm that environments/observe.py names.
function observed({ agents, tasks: all }, known) {
  const tasks = known.slice(0, WINDOW);
  const idle = agents.filter(isFree).map(({ type }) => (type ?? "").toLowerCase());
  const records = agents.map((agent) => agent["track-record"]).filter((record) => record && Object.keys(record).length > 0);
  const past = records.reduce((sum, record) => sum + record.tasks, 0);
  const failed = records.reduce((sum, record) => sum + record.tasks * (1 - record["success-rate"]), 0);
  const n = tasks.length;
  const share = (is) => tasks.filter(is).length / n;
  const most = (of) => Math.max(0, ...tasks.map(of));
  const count = new Map();
  for (const { kind } of tasks) count.set(kind, (count.get(kind) ?? 0) + 1);
  const urgent = tasks[urgentOf(tasks)];
  return [
    agents.length / 8, idle.length / 8, (agents.length - idle.length) / 8, n / 8,
    Math.sqrt(Math.min(all.length, 64)) / 4, Math.min(all.length / agents.length, 8) / 4,
    mean(tasks.map(({ priority }) => priority)) / 3, most(({ priority }) => priority) / 3,
    mean(tasks.map(({ complexity }) => complexity)), most(({ complexity }) => complexity),
    halfHours(mean(tasks.map(({ waited }) => waited))), halfHours(most(({ waited }) => waited)),
    halfHours(Math.min(90, ...tasks.map(({ left }) => left))), share(({ left }) => left < 0),
    share(({ freeFit }) => freeFit > 0.9), share(({ freeFit }) => freeFit > 0.5),
    share(({ anyFit }) => anyFit > 0.9), share(({ anyFit }) => anyFit > 0.5),
    Math.max(...count.values()) / n, idle.filter((kind) => !count.has(kind)).length / 8,
    urgent.priority / 3, urgent.complexity, halfHours(urgent.waited), halfHours(urgent.left), urgent.freeFit, urgent.anyFit,
    failed / Math.max(1, past), 1, 0, 1,
  ];
}

// What the optimization network is told of the swarm.
function performance({ agents, tasks, state }) {
  const waits = tasks.map(({ features }) => features?.["waiting-minutes"]).filter((wait) => wait !== undefined);
  const told = {
    "queue-length": tasks.length,
    "agent-utilization": agents.reduce((sum, { load }) => sum + (load ?? 0), 0) / agents.length,
    "active-agents": agents.length,
  };
  if (waits.length > 0) told["queue-time"] = 60 * even(mean(waits));
  for (const usage of ["memory-usage", "cpu-usage"]) if (state[usage] !== undefined) told[usage] = state[usage];
  return { "current-performance": told };
}

// Which commands make sense, in their order.
function legal({ agents, tasks }) {
  const free = agents.filter(isFree).length;
  const busy = agents.length - free;
  const large = tasks.slice(0, WINDOW).some(({ complexity }) => (complexity ?? 0) > 0.6);
  const more = agents.length < MOST_AGENTS;
  return [...Array(DEFER).fill(free > 0), true, large, true, more, free > 0 && agents.length > 1, busy > 1, false, busy > 1];
}

// All that is known of a checked swarm before the engine is asked.
function understood({ features, inputs }, swarm) {
  const known = seen(rolesOf(features), swarm);
  const pairs = offers(able(features, { ...swarm, tasks: swarm.tasks.slice(0, WINDOW) }, known));
  const numbers = [...observed(swarm, known), ...pairs].slice(0, inputs[3].width);
  return { swarm, known, state: Float32Array.from(numbers, (value) => Math.min(Math.max(value, -4), 4)) };
}

/** The inputs of several checked swarms of as many agents and tasks: tokens, metrics, record, state, and their shapes. */
function encoded({ features: { schemas } }, understandings, made) {
  const rows = understandings.map(({ swarm, known, state }) => {
    const { type, description } = swarm.tasks[urgentOf(known)];
    const task = prediction.parseRequest({ "task-description": description || type || "a task", "decision-time": MONDAY });
    return [
      coordination.encode(schemas.coordination, swarm, made),
      optimization.encode(schemas.optimization, optimization.parseRequest(schemas.optimization, performance(swarm))),
      prediction.encode(schemas.prediction, task),
      state,
    ];
  });
  const [{ swarm }] = understandings;
  const n = rows.length;
  const widths = rows[0].map(({ length }) => length);
  const x = widths.map((width, i) => {
    const all = new Float32Array(n * width);
    rows.forEach((row, item) => all.set(row[i], item * width));
    return all;
  });
  const tokens = 1 + swarm.agents.length + swarm.tasks.length;
  return [x, [[n, tokens, widths[0] / tokens], [n, widths[1]], [n, 1, widths[2]], [n, widths[3]]]];
}

function checked(model) {
  if (model.network !== "action") refuse(`this is a ${model.network} model; deciding needs an action model`);
  if (!model.features.schemas || model.inputs.length !== 4) {
    refuse("this is the decision engine alone: save the whole pipeline by cf.Pipeline().save(path)");
  }
  return model;
}

// Per swarm the values of the commands, and those without each stream.
function valued(model, understandings, made) {
  if (understandings.length === 0) return [];
  const y = model.run(...encoded(model, understandings, made)).map((value) => value / model.calibration.scale);
  const commands = model.features.commands.length;
  const each = model.outputWidth / commands;
  return understandings.map((_, item) =>
    Array.from({ length: each }, (_, i) => y.subarray((item * each + i) * commands, (item * each + i + 1) * commands)));
}

// Who takes what by an assign command: the pair that it makes, and those it makes of the rest.
function instructions(command, { agents, tasks }, { free, tasks: waiting, table }) {
  const [people, work, found] = [[...free], [...waiting], []];
  while (command < DEFER && people.length > 0 && work.length > 0) {
    const [i, j] = pair(command, people, work, table);
    const [[agent], [task]] = [people.splice(i, 1), work.splice(j, 1)];
    found.push({ agent: agents[agent.place].id, task: tasks[task.place].id });
  }
  return found;
}

// What of the swarm stands out, in words.
function reasons(command, { agents, tasks }, known) {
  const idle = agents.filter(isFree).length;
  const found = [`${tasks.length} tasks wait, ${idle} of ${agents.length} agents can take one`];
  const nobody = tasks.filter((_, i) => known[i].anyFit < 0.5).map(({ id }) => id);
  if (nobody.length > 0) {
    const more = nobody.length > 3 ? ` and ${nobody.length - 3} more` : "";
    found.push(`no agent's role or capabilities fit ${nobody.slice(0, 3).join(", ")}${more}`);
  }
  const late = tasks.filter(({ features }) => (features?.["minutes-left"] ?? 1) < 0).length;
  if (late > 0) found.push(`${late} tasks are overdue`);
  if (idle === 0 && command < DEFER) found.push("every agent is busy");
  return found;
}

/**
 * What to do now: {command, does, instructions, adjustments, values, reasons}, as the Python package's answer. With
 * `explain` there is an `explanation`: what each network's output adds to the command's lead over the mean one.
 */
export function answer(model, request, { explain = false } = {}) {
  const { features, inputs } = checked(model);
  const { commands, does, streams } = features;
  const swarm = coordination.parseRequest(request, inputs[0].maxTokens);
  const understanding = understood(model, swarm);
  const [[q, ...without]] = valued(model, [understanding]);
  const may = legal(swarm);
  const ranked = commands.map((_, i) => i).filter((i) => may[i]).sort((a, b) => q[b] - q[a]);
  const [best] = ranked;
  const lead = (values) => values[best] - mean(values);
  return {
    command: commands[best],
    does: does[commands[best]],
    instructions: instructions(best, swarm, able(features, swarm, understanding.known)),
    adjustments: ranked.filter((i) => i > DEFER && (i === best || q[i] > q[DEFER]))
      .map((i) => ({ command: commands[i], does: does[commands[i]], gain: rounded(q[i] - q[DEFER]) })),
    values: ranked.map((i) => ({ command: commands[i], value: rounded(q[i]) })),
    reasons: reasons(best, swarm, understanding.known),
    price: null,
    ...(explain ? {
      explanation: streams.map((stream, i) => ({ stream, effect: rounded(lead(q) - lead(without[i])) }))
        .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)),
    } : {}),
  };
}

export const { knobs } = coordination;

/** What `counterfactuals` asks: the one decision is which command is given. */
export function decisions(model) {
  const { commands } = checked(model).features;
  const made = new Map();
  return {
    names: ["the command"],
    options: commands,
    scores(requests) {
      const swarms = requests.map((request) => ({
        agents: request["current-agents"], tasks: request["pending-tasks"], state: request["system-state"] ?? {},
      }));
      const values = valued(model, swarms.map((swarm) => understood(model, swarm)), made);
      return values.map(([q], i) => {
        const may = legal(swarms[i]);
        return [q.map((value, command) => (may[command] ? value : -Infinity))];
      });
    },
  };
}
