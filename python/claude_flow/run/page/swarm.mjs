// A swarm as a picture that is dragged: agents are rails with their load, tasks are points of complexity and priority, and
// lines lead to who takes them. Every handle is a slider for the keyboard too.

import { fill } from "./dom.mjs";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, TOP, BOTTOM] = [400, 240, 26, 200];
const [RAILS, PLANE] = [[10, 180], [205, 385]]; // from left to right
const PRIORITIES = ["low", "medium", "high", "critical"];
const STEP = 0.05;

const clipped = (share) => Math.min(Math.max(share, 0), 1);
const rounded = (share) => Math.round(clipped(share) * 100) / 100;
const down = (share) => BOTTOM - share * (BOTTOM - TOP);
const across = (share) => PLANE[0] + share * (PLANE[1] - PLANE[0]);

// Only what differs: the browser lays out and paints anew what is set.
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const urgency = (task) => (typeof task.priority === "number" ? task.priority
  : Math.max(PRIORITIES.indexOf(task.priority ?? "medium"), 0) / (PRIORITIES.length - 1));

function setUrgency(task, share) {
  task.priority = typeof task.priority === "number" ? rounded(share) : PRIORITIES[Math.round(clipped(share) * 3)];
}

export class SwarmMap {
  #request;
  #changed;
  #pairs = [];
  #links = drawn("g", { "aria-hidden": "true" });
  #handles = new Map(); // agent or task: its group, and how it is placed

  /** `changed(last)` is called at each move; `last` says that the dragging has ended. */
  constructor(changed) {
    this.#changed = changed;
    this.element = drawn("svg", { class: "map", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group",
      "aria-label": "The swarm: arrow keys move what is focused" });
  }

  draw(request) {
    this.#request = request;
    this.#handles.clear();
    const agents = request["current-agents"];
    const gap = (RAILS[1] - RAILS[0]) / agents.length;
    const rails = agents.flatMap((agent, i) => {
      const x = RAILS[0] + gap * (i + 0.5);
      const rail = drawn("path", { class: "rail", d: `M${x} ${BOTTOM}V${TOP}` });
      const load = drawn("path", { class: "load" });
      const move = (_, share) => (agent.load = rounded(share));
      const handle = this.#handle(agent, `load of ${agent.id}`, move, () => {
        const y = down(agent.load ?? 0);
        set(load, { d: `M${x} ${BOTTOM}V${y}` });
        return [x, y, agent.load ?? 0, `load ${agent.load ?? "unknown"}`];
      });
      const name = drawn("text", { x, y: BOTTOM + 22, "text-anchor": "middle" }, agent.id.length * agents.length > 24 ? String(i + 1) : agent.id);
      return [rail, load, name, handle];
    });
    const points = request["pending-tasks"].map((task) => {
      const move = (x, y, isKey) => {
        if (!isKey || x !== null) task.complexity = rounded(x);
        if (!isKey || y !== null) setUrgency(task, y);
      };
      const where = () => [across(task.complexity ?? 0.5), down(urgency(task)), task.complexity ?? 0.5,
        `complexity ${task.complexity ?? "unknown"}, priority ${task.priority ?? "unknown"}`];
      const handle = this.#handle(task, `complexity and priority of ${task.id}`, move, where);
      handle.append(drawn("text", { y: -12, "text-anchor": "middle" }, task.id));
      return handle;
    });
    const plane = drawn("rect", { class: "plane", x: PLANE[0], y: TOP, width: PLANE[1] - PLANE[0], height: BOTTOM - TOP, rx: 6 });
    const axes = [
      drawn("text", { class: "axis", x: RAILS[0], y: 12 }, "load ↑"),
      drawn("text", { class: "axis", x: PLANE[0], y: 12 }, "priority ↑"),
      drawn("text", { class: "axis", x: PLANE[1], y: BOTTOM + 22, "text-anchor": "end" }, "complexity →"),
    ];
    this.element.replaceChildren(plane, ...axes, this.#links, ...rails, ...points);
    this.place();
  }

  #handle(entry, label, move, where) {
    const group = drawn("g", { class: "handle", tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 1 },
      drawn("circle", { r: 9 }));
    this.#handles.set(entry, { group, where });
    group.addEventListener("pointerdown", (event) => {
      group.setPointerCapture(event.pointerId);
      event.preventDefault();
      group.focus();
    });
    group.addEventListener("pointermove", (event) => {
      if (!group.hasPointerCapture(event.pointerId)) return;
      const box = this.element.getBoundingClientRect();
      const [x, y] = [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
      move((x - PLANE[0]) / (PLANE[1] - PLANE[0]), (BOTTOM - y) / (BOTTOM - TOP), false);
      this.place();
      this.#changed(false);
    });
    group.addEventListener("pointerup", () => this.#changed(true));
    group.addEventListener("keydown", (event) => {
      const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
      if (!dx && !dy) return;
      event.preventDefault();
      if ("load" in entry || this.#request["current-agents"].includes(entry)) move(null, (entry.load ?? 0) + (dx + dy) * STEP, true);
      else move(dx ? (entry.complexity ?? 0.5) + dx * STEP : null, dy ? urgency(entry) + dy * (typeof entry.priority === "number" ? STEP : 1 / 3) : null, true);
      this.place();
      this.#changed(true);
    });
    return group;
  }

  /** Put every handle where the request says, and the lines from tasks to who takes them. */
  place() {
    for (const { group, where } of this.#handles.values()) {
      const [x, y, now, text] = where();
      set(group, { transform: `translate(${x} ${y})`, "aria-valuenow": String(now), "aria-valuetext": text });
    }
    const at = (id, key) => {
      const entry = this.#request[key].find((one) => one.id === id);
      return entry && this.#handles.get(entry)?.where();
    };
    fill(this.#links, ...this.#pairs.flatMap(({ task, agent, sure }) => {
      const [from, to] = [at(task, "pending-tasks"), at(agent, "current-agents")];
      if (!from || !to) return [];
      const middle = (from[0] + to[0]) / 2;
      return [drawn("path", { class: "link", "stroke-width": 1 + 4 * sure, "stroke-opacity": 0.25 + 0.6 * sure,
        d: `M${from[0]} ${from[1]}C${middle} ${from[1]} ${middle} ${to[1]} ${to[0]} ${to[1]}` })];
    }));
  }

  show(pairs) {
    this.#pairs = pairs;
    this.place();
  }
}
