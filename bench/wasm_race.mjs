// One point of bench/wasm.py under Node: reads {ours: {name: {path, ...options of load}}, theirs: {name: path}, x, shape,
// seconds} as JSON, checks that all agree, runs them in turn, and prints {name: [milliseconds]}.
import { readFileSync } from "node:fs";
import * as ort from "../emscripten/node_modules/onnxruntime-web/dist/ort.node.min.mjs";
import { load } from "../emscripten/claude_flow.mjs";

const { ours, theirs, x, shape, seconds, tolerance } = JSON.parse(readFileSync(0, "utf8"));
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const input = Float32Array.from(x);
const runners = {};
for (const [name, { path, ...options }] of Object.entries(ours)) {
  const model = await load(path, options);
  runners[name] = () => model.run(input, shape);
}
for (const [name, path] of Object.entries(theirs)) {
  const session = await ort.InferenceSession.create(path, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  const tensor = new ort.Tensor("float32", input, shape);
  runners[name] = async () => (await session.run({ x: tensor })).y.data;
}

// fp32 engines agree closely; 8-bit ones differ by their rounding.
let reference;
for (const [name, run] of Object.entries(runners)) {
  const y = await run();
  reference ??= Float32Array.from(y);
  const largest = reference.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const off = y.reduce((a, b, i) => Math.max(a, Math.abs(b - reference[i])), 0) / largest;
  if (y.length !== reference.length || !(off <= (name.includes("int8") ? tolerance.int8 : tolerance.fp32))) {
    throw new Error(`${name} disagrees by ${off}`);
  }
}

const times = Object.fromEntries(Object.keys(runners).map((name) => [name, []]));
const round = seconds / 10;
for (let i = 0; i < 10; ++i) {
  for (const [name, run] of Object.entries(runners)) {
    await run();
    const end = performance.now() + (1000 * round) / Object.keys(runners).length;
    do {
      const start = performance.now();
      await run();
      times[name].push(performance.now() - start);
    } while (performance.now() < end);
  }
}
process.stdout.write(JSON.stringify({ node: process.version, times }));
