// One model at a time for bench/test_wasm.py: a line of JSON in, a line out. {load, engine, x, shape} makes a model ready,
// {run: n} runs it so often.
import { createInterface } from "node:readline";
import { load } from "../emscripten/claude_flow.mjs";

let run, dispose;

async function prepare({ load: path, engine, x, shape }) {
  await dispose?.();
  const input = Float32Array.from(x);
  if (engine === "onnxruntime-web") {
    const ort = await import("../emscripten/node_modules/onnxruntime-web/dist/ort.node.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(path, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    const tensor = new ort.Tensor("float32", input, shape);
    run = () => session.run({ x: tensor });
    dispose = () => session.release();
  } else {
    const model = await load(path, { isa: engine });
    run = () => model.run(input, shape);
    dispose = () => model.dispose();
  }
  await run();
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const request = JSON.parse(line);
    if (request.load) await prepare(request);
    for (let i = 0; i < (request.run ?? 0); ++i) await run();
    process.stdout.write("{}\n");
  } catch (error) {
    process.stdout.write(JSON.stringify({ error: String(error) }) + "\n");
  }
}
