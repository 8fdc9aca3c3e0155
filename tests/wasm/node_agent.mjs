// Runs jobs of tests/wasm/test_javascript.py under Node: reads {jobs} as JSON from standard input, writes results as
// JSON. Float arrays travel as base64 of their bytes.
import { readFileSync, readdirSync } from "node:fs";

const root = new URL("../../emscripten/", import.meta.url);
const { ClaudeFlowError, available, load } = await import(new URL("claude_flow.mjs", root));
const action = await import(new URL("action.mjs", root));
const optimization = await import(new URL("optimization.mjs", root));
const prediction = await import(new URL("prediction.mjs", root));
const coordination = await import(new URL("coordination.mjs", root));
const { encode, parseRequest } = coordination;
const ANSWERS = { action, coordination, optimization, prediction };
const { counterfactuals } = await import(new URL("counterfactuals.mjs", root));
const { loadAttention } = await import(new URL("attention.mjs", root));
const { NETWORKS } = await import(new URL("safetensors.mjs", root));
const { OPS } = await import(new URL("program.mjs", root));
const { words } = await import(new URL("text.mjs", root));

const floats = (text) => new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);
const text = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
const models = new Map();

// Left undisposed: their threads must not keep this process alive.
async function modelOf(path, isa, threads = 1) {
  const key = `${path} ${isa} ${threads}`;
  if (!models.has(key)) models.set(key, await load(path, { isa, threads }));
  return models.get(key);
}

const threadsNow = () => readdirSync("/proc/self/task").length;

const JOBS = {
  available: () => available(),
  words: ({ texts }) => texts.map(words),
  encode: ({ schema, requests }) => requests.map((request) => text(encode(schema, parseRequest(request)))),
  async run({ path, isa, threads, x, shape, lengths }) {
    const model = await modelOf(path, isa, threads);
    const real = lengths ? Int32Array.from(lengths) : undefined;
    return { isa: model.isa, threads: model.threads, y: text(model.run(floats(x), shape, real)) };
  },
  async several({ path, isa, threads, x, shape, lengths, timed }) {
    const model = await modelOf(path, isa, threads);
    const given = [x.map(floats), shape, lengths?.map((real) => real && Int32Array.from(real))];
    if (timed) return model.profile(...given).map(({ code }) => code);
    return { inputs: model.inputs, y: text(model.run(...given)) };
  },
  async profile({ path, isa, x, shape }) {
    return (await modelOf(path, isa)).profile(floats(x), shape);
  },
  async answer({ path, request, options }) {
    const model = await modelOf(path, "auto");
    return ANSWERS[model.network].answer(model, request, options);
  },
  async counterfactuals({ path, request }) {
    const model = await modelOf(path, "auto");
    const { knobs, decisions } = ANSWERS[model.network];
    return counterfactuals(request, knobs(request, model), decisions(model, request));
  },
  async load({ path, options }) {
    const model = await load(path, options);
    model.dispose();
    return model.run(new Float32Array(512), [1, 1, 512]);
  },
  async attention({ path, x, tokens }) {
    const attention = await loadAttention(new Uint8Array(readFileSync(path)));
    const weights = attention.weights(floats(x), tokens).map(text);
    attention.dispose();
    return { layers: attention.layers, weights };
  },
  async bytes({ bytes }) {
    await load(Uint8Array.from(Buffer.from(bytes, "base64")));
  },
  // Whether each of the files that lie side by side in `path`, as long as `sizes` says, loads; or why not.
  async judge({ path, sizes }) {
    const content = readFileSync(path);
    const said = [];
    let at = 0;
    for (const size of sizes) {
      const bytes = Uint8Array.from(content.subarray(at, at + size));
      at += size;
      said.push(await load(bytes).then((model) => (model.dispose(), null), (error) => `${error.name}: ${error.message}`));
    }
    return said;
  },
  async foreign({ path, wasm }) {
    await load(path, { isa: "simd128", wasm: new URL(wasm) });
  },
  constants: () => ({ networks: NETWORKS, ops: OPS }),
  async dispose({ path, threads }) {
    const before = threadsNow();
    const model = await load(path, { threads });
    const loaded = threadsNow();
    model.dispose();
    for (let i = 0; i < 500 && threadsNow() > before; ++i) await new Promise((done) => setTimeout(done, 10));
    return { started: loaded - before, left: threadsNow() - before };
  },
  async unshared({ path, options }) {
    const { SharedArrayBuffer } = globalThis;
    delete globalThis.SharedArrayBuffer;
    try {
      return (await load(path, options)).threads;
    } finally {
      globalThis.SharedArrayBuffer = SharedArrayBuffer;
    }
  },
  async repeat({ path, isa, threads, x, shape, times }) {
    const model = await modelOf(path, isa, threads);
    const input = floats(x);
    const before = model.memoryBytes;
    for (let i = 0; i < times; ++i) model.run(input, shape);
    return model.memoryBytes - before;
  },
};

const results = [];
for (const { job, ...rest } of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    results.push({ value: await JOBS[job](rest) });
  } catch (error) {
    if (!(error instanceof ClaudeFlowError)) throw error;
    results.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(results));
