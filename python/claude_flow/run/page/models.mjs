// Who answers a model's questions: a worker with the WebAssembly engine, or, where that cannot, the command's server. Each
// says which.

import { plain } from "./dom.mjs";

const SIMILAR = /^similar-tasks-last-/;

// Network: why a question is for the server, since it goes by past runs or decisions, which are in the workspace. Else null.
const byLog = ({ "historical-context": context }, hasLog) =>
  context !== "none" && (context !== undefined || hasLog) ? `it goes by ${context ?? "this workspace's log"}` : null;
const RESTS = {
  action: ({ prices }) => (prices === undefined ? null : "prices go by the log of who succeeded"),
  coordination: byLog,
  optimization: byLog,
  prediction: ({ "historical-context": context }, hasLog) =>
    context !== "none" && (hasLog || (context !== undefined && !SIMILAR.test(context)))
      ? `it goes by the past runs of ${context ?? "this workspace's log"}`
      : null,
};

export async function fetched(path, options) {
  const response = await fetch(path, options);
  const value = await response.json();
  if (!response.ok) throw new Error(value.error);
  return value;
}

/** A model that answers; `show(part)` is called for each part of an answer, the last with `done`. */
export class Answerer {
  #about;
  #hasLog;
  #worker;
  #ready;
  #missing = ""; // why there is no worker
  #id = 0;
  #show = () => {};
  #explain = false;
  #asking = false;
  #next = null;

  constructor(about, index, hasLog) {
    this.#about = about;
    this.#hasLog = hasLog;
    this.#worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
    this.#ready = new Promise((resolve) => {
      this.#worker.onerror = () => resolve({ error: "this browser runs no module in a worker" });
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.postMessage({ url: new URL(`models/${index}/${about.name}.safetensors`, document.baseURI).href });
    }).then(({ isa, error }) => {
      if (error) this.#missing = error;
      this.isa = isa;
      this.#worker.onmessage = ({ data }) => this.#heard(data);
    });
  }

  async ask(given, explain, show) {
    const id = (this.#id += 1);
    await this.#ready;
    if (id !== this.#id) return;
    this.#show = show;
    const why = this.#missing || RESTS[this.#about.network]?.(given, this.#hasLog);
    if (why) {
      this.#askServer({ id, given, explain, why });
      return;
    }
    this.#explain = explain;
    this.#worker.postMessage({ id, arguments: plain(given), explain });
  }

  #heard({ id, error, ...part }) {
    if (id !== this.#id) return;
    const by = `WebAssembly (${this.isa}) in this tab`;
    this.#show(error ? { error, done: true } : { ...part, by, done: "why" in part || !this.#explain });
  }

  // One question at a time: of those that come meanwhile the newest is asked, when the answer is here.
  async #askServer(question) {
    this.#next = question;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#next) {
      const { id, given, explain, why } = this.#next;
      this.#next = null;
      let part;
      try {
        const body = JSON.stringify({ model: this.#about.name, arguments: given, explain });
        const found = await fetched("ask", { method: "POST", body, headers: { "Content-Type": "application/json" } });
        part = { ...found, by: `the command's server, since ${why}`, done: true };
      } catch (error) {
        part = { error: error instanceof TypeError ? "The playground has ended: start it again." : error.message, done: true };
      }
      if (id === this.#id) this.#show(part);
    }
    this.#asking = false;
  }
}

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

/** The line for a shell that asks the model the same: requests.command. */
export function command(network, given, model, explain) {
  const text = (value) => {
    if (typeof value === "string") return value;
    const shares = Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "number");
    return shares ? value.join(",") : JSON.stringify(value);
  };
  const words = ["claude-flow", "neural", "infer", network];
  for (const [name, value] of Object.entries(given)) words.push(`--${name}`, text(value));
  words.push("--model", model, ...(explain ? ["--explain-decision", "true"] : []));
  return words.map(quoted).join(" ");
}
