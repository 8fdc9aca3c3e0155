// The engine for JavaScript: Node 20 or later, browsers, web workers. No dependencies.
//
//   import { load } from "claude-flow-neural";
//   const model = await load("coordination-v3.safetensors");
//   const y = model.run(x, [1, 8, 512]);            // Float32Array [1, 8, 256]
//   model.dispose();

import { parseModel } from "./safetensors.mjs";
import { sharedMemory, startThreads, whyNoThreads } from "./threads.mjs";

/** Instruction sets that a module is built for, worst first. */
export const ISAS = ["simd128", "relaxed"];

const OK = 0;
const ERROR_BYTES = 240; // sizeof cf_error, cf_tensor, cf_info, cf_op_time in the 32-bit ABI
const TENSOR_WORDS = 6;
const INFO_WORDS = 11;
const OP_TIME_BYTES = 16;
const MAX_INPUTS = 16;
// Input floats that cross into the module at once, if an item is not larger; longer batches cross in parts.
const STAGED = 1 << 20;
const MAX_THREADS = 256;
const EXPORTS = [
  ...["_initialize", "malloc", "free", "cf_layout", "cf_model_create", "cf_model_info", "cf_model_inputs"],
  "cf_model_call",
];
const START_THREADS = Symbol("start threads");

// A function that multiplies and adds by f32x4.relaxed_madd: valid only where the host has relaxed SIMD.
const RELAXED_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 17, 65, 0, 253, 17,
  65, 0, 253, 17, 253, 133, 2, 11,
);

/** What went wrong, in one line. */
export class ClaudeFlowError extends Error {
  name = "ClaudeFlowError";
}

/** Instruction sets that this host runs, best last. */
export function available() {
  return WebAssembly.validate(RELAXED_PROBE) ? [...ISAS] : ISAS.slice(0, 1);
}

async function bytesOf(source) {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw new ClaudeFlowError("a model is a URL, a path, an ArrayBuffer or a Uint8Array");
  }
  const inNode = typeof process !== "undefined" && process.versions?.node;
  const isUrl = source instanceof URL || /^[a-z][a-z0-9+.-]+:/i.test(source);
  if (inNode && (!isUrl || String(source).startsWith("file:"))) {
    const { readFile } = await import("node:fs/promises");
    try {
      return new Uint8Array(await readFile(isUrl ? new URL(source) : source));
    } catch (error) {
      throw new ClaudeFlowError(`${source}: cannot be read (${error.code ?? error.message})`);
    }
  }
  let response;
  try {
    response = await fetch(source);
  } catch (error) {
    throw new ClaudeFlowError(`${source}: cannot be fetched (${error.message})`);
  }
  if (!response.ok) throw new ClaudeFlowError(`${source}: cannot be fetched (HTTP ${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

const compiled = new Map();

const firstLine = (error) => String(error.message).split("\n")[0];

function compile(url) {
  const key = String(url);
  if (!compiled.has(key)) {
    const module = bytesOf(url).then(async (bytes) => {
      try {
        return await WebAssembly.compile(bytes);
      } catch (error) {
        throw new ClaudeFlowError(`${url}: not a module that this host can compile (${firstLine(error)})`);
      }
    });
    compiled.set(key, module);
    module.catch(() => compiled.delete(key));
  }
  return compiled.get(key);
}

/**
 * Load a model. `source`: URL, path (Node) or bytes of a model file. Options: `isa` ("auto", "simd128", "relaxed");
 * `threads` (1): threads of a run, the caller's among them, which need relaxed SIMD and SharedArrayBuffer; `wasm`: where
 * the .wasm files are (default: beside this file).
 */
export async function load(source, { isa = "auto", threads = 1, wasm = new URL("./", import.meta.url) } = {}) {
  const has = available();
  if (isa !== "auto" && !has.includes(isa)) {
    throw new ClaudeFlowError(`this host has no instruction set '${isa}'; it has: ${has.join(" ")}`);
  }
  const word = isa === "auto" ? has.at(-1) : isa;
  if (!(Number.isSafeInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new ClaudeFlowError(`threads is ${threads}, not in 1..${MAX_THREADS}`);
  }
  const shared = threads > 1;
  if (shared) {
    const missing = word === "relaxed" ? whyNoThreads() : "relaxed SIMD (Node 22, Chrome 114, Firefox 145)";
    if (missing) throw new ClaudeFlowError(`threads: ${threads} needs ${missing}; leave it out to run on one thread`);
  }
  const name = shared ? `${word}+threads.wasm` : `${word}.wasm`;
  const [bytes, module] = await Promise.all([bytesOf(source), compile(new URL(name, wasm))]);
  let file;
  try {
    file = parseModel(bytes);
  } catch (error) {
    throw new ClaudeFlowError(`not one of our model files: ${error.message}`);
  }
  const imports = shared ? { env: { memory: sharedMemory() } } : {};
  const exports = await start(module, imports, name);
  const model = new Model(file, { memory: imports.env?.memory, ...exports }, threads);
  if (shared) await model[START_THREADS](module);
  return model;
}

// The exports of a fresh instance, if it is one of ours.
async function start(module, imports, name) {
  let exports;
  try {
    ({ exports } = await WebAssembly.instantiate(module, imports));
  } catch (error) {
    throw new ClaudeFlowError(`${name}: another module than this package's (${firstLine(error)})`);
  }
  const missing = EXPORTS.find((word) => typeof exports[word] !== "function");
  if (missing) throw new ClaudeFlowError(`${name}: another module than this package's, it exports no ${missing}`);
  return exports;
}

class Model {
  #wasm;
  #stopThreads = () => {};
  #model;
  #error;
  #stage;
  #outputAxis;
  #head;
  #clock = 0;

  constructor(file, wasm, threads) {
    this.#wasm = wasm;
    wasm._initialize();
    this.#error = this.#allocate(ERROR_BYTES);
    this.network = file.network;
    this.precision = file.precision;
    this.config = file.config;
    this.features = file.features;
    this.calibration = file.calibration;
    this.provenance = file.provenance;
    this.#head = pointerHead(file);
    this.#model = this.#create(file, threads);

    const info = this.#allocate(4 * INFO_WORDS);
    wasm.cf_model_info(this.#model, info);
    const words = new Uint32Array(wasm.memory.buffer, info, INFO_WORDS);
    this.perTokenInput = words[0] !== 0;
    this.#outputAxis = words[1];
    this.perTokenOutput = this.#outputAxis !== 0;
    [this.inputWidth, this.outputWidth, this.maxTokens, this.threads] = words.slice(2, 6);
    this.isa = this.#text(words[10]);
    this.opCount = words[6];
    this.arenaBytes = words[7];

    const about = this.#allocate(12 * MAX_INPUTS);
    const count = wasm.cf_model_inputs(this.#model, about, MAX_INPUTS);
    const numbers = new Int32Array(wasm.memory.buffer, about, 3 * count);
    this.inputs = Array.from({ length: count }, (_, i) => {
      const [axis, width, maxTokens] = numbers.slice(3 * i, 3 * i + 3);
      return { axis, width, maxTokens };
    });
    this.#stage = this.#allocateStage();
  }

  // Room for whole items of the longest kind, so that the memory never grows while running.
  #allocateStage() {
    const parts = this.inputs.map(({ axis, width, maxTokens }) => {
      const wide = Math.max(width, this.outputWidth); // the result of as many rows crosses too
      const rows = Math.max(maxTokens, Math.floor(STAGED / this.inputs.length / wide / maxTokens) * maxTokens);
      return { axis, rows, x: this.#allocate(4 * rows * width), lengths: this.#allocate(4 * rows) };
    });
    const least = Math.min(...parts.map(({ rows }) => rows));
    const out = this.#outputAxis ? parts.find(({ axis }) => axis === this.#outputAxis).rows : least;
    return {
      parts,
      least,
      y: this.#allocate(4 * out * this.outputWidth),
      times: this.#allocate(OP_TIME_BYTES * this.opCount),
      inputs: this.#allocate(12 * parts.length), // a cf_input each
      call: this.#allocate(24), // cf_call
    };
  }

  /** Bytes of the module's memory: weights, working memory, staged batches. It never grows after loading. */
  get memoryBytes() {
    return this.#alive().memory.buffer.byteLength;
  }

  /**
   * Run the network. `x` holds `shape`: [items, tokens, inputWidth], or [items, inputWidth] for a network without
   * tokens. `lengths`: real tokens of each item. A model of several `inputs` takes a list of each. Returns a new
   * Float32Array, row-major.
   */
  run(x, shape, lengths) {
    return this.#run(x, shape, lengths, 0);
  }

  /** Run once with a clock around every op: [{op, code, seconds}] in the program's order. */
  profile(x, shape, lengths) {
    const wasm = this.#alive();
    this.#clock ||= wasm.__indirect_function_table.grow(1, clockFunction());
    const seconds = new Float64Array(this.opCount);
    const codes = new Int32Array(this.opCount);
    this.#run(x, shape, lengths, this.#clock, () => {
      const times = new DataView(wasm.memory.buffer, this.#stage.times, OP_TIME_BYTES * this.opCount);
      for (let op = 0; op < this.opCount; ++op) {
        codes[op] = times.getInt32(op * OP_TIME_BYTES, true);
        seconds[op] += times.getFloat64(op * OP_TIME_BYTES + 8, true);
      }
    });
    return Array.from(codes, (code, op) => ({ op, code, seconds: seconds[op] }));
  }

  /**
   * Assign one swarm's tasks with a coordination network: `x` holds 1 + agents + tasks tokens (state, agents, tasks), or
   * so many of each of `items` swarms. Returns {scores, probabilities, columns, commands}: row-major [items, tasks,
   * columns], columns = the agents, then the commands; the softmax is taken at the model's calibrated temperature.
   */
  decide(x, agents, tasks, items = 1) {
    this.#alive();
    if (!this.#head) {
      throw new ClaudeFlowError(`decide() needs a coordination model, this is ${this.network}`);
    }
    const tokens = 1 + agents + tasks;
    if (!(agents >= 1 && tasks >= 1)) throw new ClaudeFlowError("agents and tasks must be at least 1");
    const y = this.run(x, [items, tokens, this.inputWidth]);
    const width = this.outputWidth;
    const { embeddings, commands, temperature } = this.#head;
    const columns = agents + commands.length;
    const scores = new Float32Array(items * tasks * columns);
    const probabilities = new Float32Array(items * tasks * columns);
    const heat = new Float64Array(columns);
    for (let line = 0; line < items * tasks; ++line) {
      const first = Math.floor(line / tasks) * tokens;
      const row = (first + 1 + agents + (line % tasks)) * width;
      for (let column = 0; column < columns; ++column) {
        const [other, at] = column < agents ? [y, (first + 1 + column) * width] : [embeddings, (column - agents) * width];
        let sum = 0;
        for (let i = 0; i < width; ++i) sum += y[row + i] * other[at + i];
        scores[line * columns + column] = sum / Math.sqrt(width);
        heat[column] = scores[line * columns + column] / temperature;
      }
      const largest = heat.reduce((a, b) => Math.max(a, b));
      const weights = heat.map((h) => Math.exp(h - largest));
      const total = weights.reduce((a, b) => a + b);
      weights.forEach((weight, column) => (probabilities[line * columns + column] = weight / total));
    }
    return { scores, probabilities, columns, commands };
  }

  /** End the threads and give the memory back; the model cannot be used afterwards. */
  dispose() {
    this.#stopThreads();
    this.#wasm = null;
    this.#head = null;
  }

  async [START_THREADS](module) {
    const allocate = (size) => this.#allocate(size);
    try {
      const memory = this.#wasm.memory;
      this.#stopThreads = await startThreads(this.threads, { module, memory, model: this.#model, allocate });
    } catch (error) {
      throw error instanceof ClaudeFlowError ? error : new ClaudeFlowError(error.message);
    }
  }

  #alive() {
    if (!this.#wasm) throw new ClaudeFlowError("this model was disposed of");
    return this.#wasm;
  }

  #allocate(size) {
    const address = size < 2 ** 31 ? this.#wasm.malloc(Math.max(size, 1)) >>> 0 : 0;
    if (address === 0) throw new ClaudeFlowError(`the WebAssembly memory has no ${size} bytes left`);
    return address;
  }

  #place(array) {
    const address = this.#allocate(array.byteLength);
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    new Uint8Array(this.#wasm.memory.buffer, address, array.byteLength).set(bytes);
    return address;
  }

  #text(address) {
    const bytes = new Uint8Array(this.#wasm.memory.buffer, address, ERROR_BYTES);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }

  #check(status) {
    if (status !== OK) throw new ClaudeFlowError(this.#text(this.#error));
  }

  #create(file, threads) {
    const wasm = this.#wasm;
    const table = new Uint32Array(TENSOR_WORDS * file.programTensors.length);
    const placed = [this.#place(file.program)];
    file.programTensors.forEach((name, i) => {
      const { data, dtype, shape, packed } = file.tensors.get(name);
      const address = this.#place(data);
      if (!packed) placed.push(address); // the model reads prepacked weights where they are, as long as it lives
      table.set([address, dtype, shape.length, ...shape], TENSOR_WORDS * i);
      if (packed) table[TENSOR_WORDS * i + 5] = data.byteLength;
    });
    const auto = this.#place(new TextEncoder().encode("auto\0"));
    if (file.layout && Object.keys(file.layout.matrices).length > 0) {
      const order = this.#allocate(8);
      this.#check(wasm.cf_layout(auto, order, this.#error));
      const [columns, units] = new Int32Array(wasm.memory.buffer, order, 2);
      const { tile_columns: fileColumns, lstm_units: fileUnits } = file.layout;
      if (columns !== fileColumns || units !== fileUnits) {
        throw new ClaudeFlowError(
          `its weights are prepacked for panels of ${fileColumns} and blocks of ${fileUnits}, this module reads ` +
            `${columns} and ${units}: pack the model with --target-architecture simd128 or relaxed`,
        );
      }
      wasm.free(order);
    }
    const tensors = this.#place(table);
    const handle = this.#allocate(4);
    this.#check(
      wasm.cf_model_create(
        placed[0], file.program.length, tensors, file.programTensors.length, auto, threads, handle, this.#error,
      ),
    );
    const model = new Uint32Array(wasm.memory.buffer, handle, 1)[0];
    for (const address of [...placed, auto, tensors, handle]) wasm.free(address);
    return model;
  }

  // What a caller gives for every input: as it is for one input, else lists.
  #each(x, shape, lengths) {
    const count = this.inputs.length;
    if (count === 1) return [{ x, shape, lengths }];
    const listed = [x, shape].every((list) => Array.isArray(list) && list.length === count);
    if (!listed || (lengths !== undefined && !(Array.isArray(lengths) && lengths.length === count))) {
      throw new ClaudeFlowError(`x, shape and lengths must be lists of ${count}, one for each input`);
    }
    return x.map((part, i) => ({ x: part, shape: shape[i], lengths: lengths?.[i] ?? undefined }));
  }

  // One input of a call, checked; with its tokens, and its floats of an item.
  #part({ x, shape, lengths }, i) {
    const { axis, width, maxTokens } = this.inputs[i];
    const which = this.inputs.length === 1 ? "" : `[${i}]`;
    const rank = axis ? 3 : 2;
    const whole = shape?.every?.((n) => Number.isSafeInteger(n) && n >= 0);
    if (!whole || shape.length !== rank || shape[rank - 1] !== width) {
      const wanted = `[${axis ? "items, tokens" : "items"}, ${width}]`;
      throw new ClaudeFlowError(`the shape of x${which} must be ${wanted}, not [${shape?.join?.(", ")}]`);
    }
    const size = shape.reduce((a, b) => a * b, 1);
    if (!(x instanceof Float32Array) || x.length !== size) {
      throw new ClaudeFlowError(`x${which} must be a Float32Array of ${size} numbers`);
    }
    const [items] = shape;
    const tokens = axis ? shape[1] : 1;
    if (tokens < 1 || tokens > maxTokens) {
      throw new ClaudeFlowError(`${which && `x${which}: `}${tokens} tokens per item; the model takes 1..${maxTokens}`);
    }
    if (lengths !== undefined && !(lengths instanceof Int32Array && lengths.length === items)) {
      throw new ClaudeFlowError(`lengths${which} must be an Int32Array with one entry per item`);
    }
    return { x, lengths, items, axis, tokens, inItem: tokens * width };
  }

  #run(x, shape, lengths, clock, after = () => {}) {
    const wasm = this.#alive();
    const parts = this.#each(x, shape, lengths).map((given, i) => this.#part(given, i));
    const [{ items }] = parts;
    const other = parts.findIndex((part) => part.items !== items);
    if (other >= 0) throw new ClaudeFlowError(`x[${other}] has ${parts[other].items} items, x[0] ${items}`);
    const outTokens = parts.find(({ axis }) => axis && axis === this.#outputAxis)?.tokens ?? 1;
    const outItem = outTokens * this.outputWidth;
    const y = new Float32Array(items * outItem);
    const memory = wasm.memory.buffer;
    const stage = this.#stage;
    const atOnce = parts.reduce((n, { tokens }, i) => Math.min(n, Math.floor(stage.parts[i].rows / tokens)), stage.least);
    const views = new Int32Array(memory, stage.inputs, 3 * parts.length);
    for (let item = 0; item < items; item += atOnce) {
      const count = Math.min(atOnce, items - item);
      parts.forEach(({ x, lengths, tokens, inItem }, i) => {
        const room = stage.parts[i];
        new Float32Array(memory, room.x, count * inItem).set(x.subarray(item * inItem, (item + count) * inItem));
        if (lengths) new Int32Array(memory, room.lengths, count).set(lengths.subarray(item, item + count));
        views.set([room.x, tokens, lengths ? room.lengths : 0], 3 * i);
      });
      new Int32Array(memory, stage.call, 6).set([stage.inputs, parts.length, count, stage.y, clock, stage.times]);
      this.#check(wasm.cf_model_call(this.#model, stage.call, this.#error));
      y.set(new Float32Array(memory, stage.y, count * outItem), item * outItem);
      after();
    }
    return y;
  }
}

const isTexts = (list) => Array.isArray(list) && list.every((text) => typeof text === "string");

// The command embeddings, their names and the softmax temperature of a coordination file, checked; null for others.
function pointerHead({ network, config, calibration, tensors }) {
  if (network !== "coordination") return null;
  const commands = config.commands;
  const stored = tensors.get("commands");
  const fits = isTexts(commands) && stored?.dtype === 0 && stored.shape.length === 2 &&
    stored.shape[0] === commands.length && stored.shape[1] === config.output_width;
  if (!fits) throw new ClaudeFlowError("the command embeddings do not fit the configuration; the file is damaged");
  const temperature = "temperature" in calibration ? calibration.temperature : 1;
  if (!(typeof temperature === "number" && temperature > 1e-6 && temperature < 1e6)) {
    throw new ClaudeFlowError(`calibration.temperature is ${temperature}, not a positive number; calibrate again`);
  }
  return { embeddings: stored.data, commands, temperature };
}

// performance.now() in seconds as a function that a module's table takes: a JavaScript function becomes one by passing
// through a module that imports it as "a" "a" and exports it as "a".
function clockFunction() {
  const bytes = Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 124, 2, 7, 1, 1, 97, 1, 97, 0, 0, 7, 5, 1, 1, 97, 0, 0,
  );
  const imports = { a: { a: () => performance.now() / 1000 } };
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports.a;
}
