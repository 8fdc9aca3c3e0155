// The playground: a tab for each network with one request and the models that answer it, and the demo as the first tab.

import { headsOf, offer, showAttention } from "../engine/demo/attention_table.mjs";
import { drawn, pairs, said, turning } from "./answers.mjs";
import { controls } from "./controls.mjs";
import { fill, isObject, make, plain } from "./dom.mjs";
import { Answerer, command, fetched } from "./models.mjs";
import { SwarmMap } from "./swarm.mjs";

const at = (id) => document.getElementById(id);

// A model's card: its answer, what would turn it, its attention, and the line that asks the same.
class Card {
  constructor(network, answerer, name) {
    this.network = network;
    this.name = name;
    this.answerer = answerer;
    this.body = make("div", { className: "body scroll", tabIndex: 0, role: "region", ariaLabel: `answer of ${name}` });
    this.turns = make("div");
    this.problem = make("p", { className: "problem", role: "alert" });
    this.time = make("p");
    this.line = make("pre", { tabIndex: 0 });
    this.heard = make("span", { className: "why", role: "status" });
    const copy = make("button", { type: "button", className: "small", textContent: "Copy as CLI line" });
    copy.setAttribute("aria-label", `Copy the request to ${name} as a line for the command line`);
    const shown = make("details", {}, make("summary", { textContent: "CLI line" }), this.line);
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(this.line.textContent);
        this.heard.textContent = "Copied.";
      } catch {
        shown.open = true;
        getSelection().selectAllChildren(this.line);
        this.heard.textContent = "Selected below: copy it with Ctrl-C.";
      }
    });
    this.element = make("section", { className: "card", ariaLabel: name }, make("h3", { textContent: name }),
      this.problem, this.body, this.turns, this.attention(), this.time, copy, this.heard, shown);
  }

  attention() {
    this.layer = make("select", { ariaLabel: `layer of ${this.name}` });
    this.head = make("select", { ariaLabel: `head of ${this.name}` });
    this.table = make("table", { className: "attention" }, make("thead"), make("tbody"));
    for (const select of [this.layer, this.head]) select.addEventListener("input", () => this.look());
    const box = make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `attention of ${this.name}` }, this.table);
    this.looked = make("div", { hidden: true }, make("h4", { textContent: "Attention: what each token looks at" }),
      make("div", { className: "tools" }, make("span", { textContent: "Layer" }), this.layer, make("span", { textContent: "Head" }), this.head),
      box, make("p", { className: "why", textContent: "Weights are not importance: explain attention compares them with blanking a token." }));
    return this.looked;
  }

  look() {
    const { tokens, layers } = this.found.attention;
    offer(this.layer, layers.map((_, i) => i + 1));
    const layer = layers[this.layer.selectedIndex];
    offer(this.head, headsOf(layer.heads));
    showAttention(this.table, tokens, layer, this.head.selectedIndex);
  }

  // What is shown is of an earlier request. It fades only where the answer is late: else a frame would be painted for it.
  stale() {
    this.element.toggleAttribute("data-asked", true);
    this.element.ariaBusy = "true";
    this.late ??= setTimeout(() => this.element.classList.add("stale"), 250);
  }

  // A part of an answer; what an earlier part of the same answer said stays.
  take(part, given, explain) {
    this.problem.textContent = part.error ?? "";
    if (part.error) this.found = null;
    else this.found = part;
    if (this.found) this.line.textContent = command(this.network, given, this.name, explain);
    this.heard.textContent = "";
    clearTimeout(this.late);
    this.late = undefined;
    this.element.classList.remove("stale");
    this.element.toggleAttribute("data-asked", false);
    this.element.ariaBusy = String(!part.done);
  }

  show(others) {
    if (!this.found) return;
    const { seconds, why, by, attention, turns } = this.found;
    fill(this.body, ...drawn(this.found, others));
    const reasons = why === undefined ? "" : `, and why in ${(1000 * why).toFixed(1)} ms`;
    this.time.textContent = `Answered in ${(1000 * seconds).toFixed(1)} ms${reasons}, by ${by}.`;
    fill(this.turns, ...turning(turns));
    this.looked.hidden = !attention;
    if (attention) this.look();
  }
}

// A network: one request, and the models that answer it.
class Section {
  constructor(network, models, example, tuning) {
    this.network = network;
    this.example = example;
    this.tuning = tuning;
    this.cards = models.map(({ name, answerer }) => new Card(network, answerer, name));
    this.controls = make("div", { hidden: !tuning });
    this.text = make("textarea", { spellcheck: false, ariaLabel: `${network} request as JSON` });
    this.text.addEventListener("input", () => this.read(this.text.value));
    this.wrong = make("p", { className: "problem", role: "alert" });
    this.status = make("p", { className: "unseen", role: "status" });
    this.map = null;
    if (tuning && isObject(example.input) && example.input["current-agents"]) {
      this.map = new SwarmMap((last) => {
        this.write();
        this.changed();
        if (last) this.draw(false);
      });
    }
    this.json = make("details", { open: !tuning }, make("summary", { textContent: "The request as JSON" }), this.text);
    this.json.addEventListener("toggle", () => this.write());
    const left = make("section", { className: "card", ariaLabel: `${network} request` },
      make("h3", { textContent: "The request" }), this.map?.element, this.controls, this.json, this.wrong);
    const right = make("div", { className: "models" }, ...this.cards.map(({ element }) => element));
    this.whole = make("div", {}, make("div", { className: "network" }, left, right), this.status);
    for (const kind of ["dragover", "drop"]) left.addEventListener(kind, (event) => this.dropped(event));
  }

  // A file with a request, dragged here.
  async dropped(event) {
    event.preventDefault();
    const [file] = event.type === "drop" ? event.dataTransfer.files : [];
    if (!file) return;
    const text = await file.text();
    this.read(this.map && !text.includes('"input"') ? `{"input": ${text}}` : text);
    this.write();
  }

  reset() {
    this.request = plain(this.example);
    this.draw();
    this.write();
    this.ask();
  }

  draw(all = true) {
    const set = () => {
      this.write();
      this.map?.place();
      this.changed();
    };
    if (this.tuning) this.controls.replaceChildren(...controls(this.request, [], set, () => this.draw()));
    const isSwarm = ["current-agents", "pending-tasks"].every((key) => Array.isArray(this.request.input?.[key]));
    if (all && this.map && isSwarm) this.map.draw(this.request.input);
  }

  write() {
    if (this.json.open && document.activeElement !== this.text) this.text.value = JSON.stringify(this.request, null, 2);
    this.wrong.textContent = "";
  }

  read(text) {
    try {
      const request = JSON.parse(text);
      if (!isObject(request)) throw new Error("the request is an object");
      this.request = request;
      this.wrong.textContent = "";
      this.draw();
      this.changed();
    } catch (error) {
      this.wrong.textContent = error.message;
    }
  }

  changed() {
    for (const card of this.cards) card.stale();
    if (at("live").checked) this.ask();
  }

  ask() {
    const [request, explain] = [plain(this.request), at("why").checked];
    for (const card of this.cards) {
      card.stale();
      card.answerer.ask(request, explain, (part) => {
        card.take(part, request, explain);
        this.show();
      });
    }
  }

  show() {
    const known = this.cards.filter(({ found }) => found);
    for (const card of known) card.show(known.filter((other) => other !== card).map(({ found }) => found.answer));
    if (known.length > 0) this.map?.show(pairs(known[0].found.answer));
    clearTimeout(this.timer); // a screen reader hears where a slider came to rest, not every step of it
    this.timer = setTimeout(() => {
      this.status.textContent = known.map(({ name, found }) => `${name}: ${said(found.answer)}`).join(". ");
    }, 800);
  }
}

// Tabs, by mouse or arrow keys; the panel of the demo is filled when it is first looked at.
class Tabs {
  #tabs = [];

  add(name, panel, whenShown = () => {}) {
    const tab = make("button", { type: "button", id: `tab-${this.#tabs.length}`, textContent: name, role: "tab" });
    panel.id = `panel-${this.#tabs.length}`;
    panel.hidden = true;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.setAttribute("aria-controls", panel.id);
    tab.addEventListener("click", () => this.choose(this.#tabs.findIndex((one) => one.tab === tab)));
    tab.addEventListener("keydown", ({ key }) => {
      const now = this.#tabs.findIndex((one) => one.tab === tab);
      const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: this.#tabs.length - 1 }[key];
      if (to === undefined) return;
      this.choose((to + this.#tabs.length) % this.#tabs.length);
      this.#tabs.find((one) => !one.panel.hidden).tab.focus();
    });
    this.#tabs.push({ tab, panel, whenShown });
    at("tabs").append(tab);
    document.querySelector("main").append(panel);
  }

  choose(index) {
    this.#tabs.forEach(({ tab, panel, whenShown }, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      panel.hidden = i !== index;
      if (i === index) whenShown();
    });
  }
}

function demo(models) {
  const index = models.findIndex(({ network }) => network === "coordination");
  if (index < 0) return null;
  const frame = make("iframe", { title: "Demo: a swarm as JSON, with files to open and every probability" });
  const source = `engine/demo/index.html?model=../../models/${index}/${models[index].name}.safetensors`;
  return [make("div", {}, frame), () => (frame.src ||= source)];
}

try {
  const setup = await fetched("setup");
  at("live").checked = setup["real-time-feedback"];
  const models = setup.models.map((about, i) => ({ ...about, answerer: new Answerer(about, i, setup["has-log"]) }));
  const tabs = new Tabs();
  const first = demo(models);
  if (first) tabs.add("Demo", ...first);
  const sections = Object.entries(setup.examples).map(([network, example]) => {
    const section = new Section(network, models.filter((model) => model.network === network), example, setup["interactive-tuning"]);
    tabs.add(network, section.whole);
    return section;
  });
  tabs.choose(first ? 1 : 0);
  const all = (what) => () => sections.forEach((section) => section[what]());
  at("ask").addEventListener("click", all("ask"));
  at("why").addEventListener("input", all("ask"));
  at("live").addEventListener("input", () => at("live").checked && all("ask")());
  at("reset").addEventListener("click", all("reset"));
  all("reset")();
} catch (error) {
  at("problem").textContent = error.message;
}
