// Models with threads in headless Chromium for tests/wasm/test_threads.py: node threads_agent.mjs CHROMIUM ISOLATED PLAIN,
// the base URLs of a server with the headers that isolate a page and of one without, and {x, shape, model} as JSON on
// standard input. Prints what loading and running gave on the main thread and in a worker of each.
import { readFileSync } from "node:fs";
import { chromium } from "../../emscripten/node_modules/playwright-core/index.mjs";

const [executablePath, isolated, plain] = process.argv.slice(2);
const { x, shape, model } = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

const run = async ({ base, x, shape, model }) => {
  const { load } = await import(`${base}/emscripten/claude_flow.mjs`);
  const input = Float32Array.from(x);
  const seen = { unset: (await load(new URL(model, base))).threads };
  try {
    const m = await load(new URL(model, base), { threads: 2 });
    seen.threads = m.threads;
    seen.y = Array.from(m.run(input, shape));
    for (let i = 0; i < 50; ++i) m.run(input, shape);
    seen.same = m.run(input, shape).every((value, i) => value === seen.y[i]);
    m.dispose();
  } catch (error) {
    seen.error = `${error.name}: ${error.message}`;
  }
  return seen;
};

const result = {};
for (const [name, base] of Object.entries({ isolated, plain })) {
  const page = await browser.newPage();
  await page.goto(`${base}/emscripten/package.json`);
  const data = { base, x, shape, model };
  result[name] = { main: await page.evaluate(run, data) };
  result[name].worker = await page.evaluate(([source, data]) => {
    const code = `onmessage = async ({ data }) => postMessage(await (${source})(data))`;
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(data);
    });
  }, [String(run), data]);
}
await browser.close();
process.stdout.write(JSON.stringify(result));
