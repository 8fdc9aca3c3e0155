// Drives headless Chromium for tests/wasm/test_browser.py: node browser_agent.mjs CHROMIUM BASE_URL SCREENSHOT, and the
// model's input as JSON on standard input. Prints what the page and the engine in it did, as JSON.
import { readFileSync } from "node:fs";
import { chromium } from "../../emscripten/node_modules/playwright-core/index.mjs";

const [executablePath, base, screenshot] = process.argv.slice(2);
const { x, shape, model } = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
const page = await context.newPage();
const errors = [];
const failed = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("requestfailed", (request) => failed.push(request.url()));

async function assignments() {
  return page.$$eval("#assignments tbody tr", (rows) => rows.map((r) => [...r.children].map((c) => c.textContent)));
}

await page.goto(`${base}/emscripten/demo/index.html`);
await page.waitForFunction(() => document.querySelectorAll("#assignments tbody tr").length > 0);
const result = { example: await assignments() };
await page.screenshot({ path: screenshot, fullPage: true });
const attention = () =>
  page.$$eval("#attention tr", (rows) => rows.map((r) => [...r.children].map((c) => c.textContent)));
result.attention = { options: await page.$$eval("#layer, #head", (all) => all.map((s) => [...s.options].map((o) => o.text))),
                     mean: await attention() };
await page.selectOption("#head", { index: 2 });
result.attention.second = await attention();
await page.selectOption("#head", { index: 0 });
result.engine = await page.textContent("#engine");
result.latency = await page.textContent("#latency");

// Everything works without the network from here on.
await context.setOffline(true);
const swarm = JSON.parse(await page.inputValue("#swarm"));
swarm["pending-tasks"] = swarm["pending-tasks"].slice(0, 1);
await page.fill("#swarm", JSON.stringify(swarm));
result.edited = await assignments();
await page.fill("#swarm", '{"current-agents": []}');
result.problem = await page.textContent("#problem");
await page.setInputFiles("#file", { name: "swarm.json", mimeType: "application/json",
                                    buffer: Buffer.from(JSON.stringify(swarm)) });
await page.waitForFunction(() => document.getElementById("problem").textContent === "");
await page.setInputFiles("#file", { name: "m.safetensors", mimeType: "application/octet-stream", buffer: Buffer.from("x") });
await page.waitForFunction(() => document.getElementById("problem").textContent !== "");
result.badModel = await page.textContent("#problem");
result.opened = await assignments();
await page.focus("#threshold");
for (let i = 0; i < 20; ++i) await page.keyboard.press("ArrowRight");
result.withheld = await assignments();

// By keyboard alone every control is reached, and each has a name.
await page.focus("#swarm");
result.tabs = [];
for (let i = 0; i < 8; ++i) {
  await page.keyboard.press("Tab");
  result.tabs.push(await page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute("aria-labelledby")));
}
result.unlabelled = await page.$$eval("input, textarea, button, select", (controls) =>
  controls.filter((c) => !c.labels?.length && !c.textContent.trim()).map((c) => c.id));
await context.setOffline(false);

// The same numbers on the main thread and in a worker.
const run = async ({ base, x, shape, model }) => {
  const { load } = await import(`${base}/emscripten/claude_flow.mjs`);
  const m = await load(new URL(model, base));
  return Array.from(m.run(Float32Array.from(x), shape));
};
result.main = await page.evaluate(run, { base, x, shape, model });
result.worker = await page.evaluate(([source, data]) => {
  const code = `onmessage = async ({ data }) => postMessage(await (${source})(data))`;
  const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(data);
  });
}, [String(run), { base, x, shape, model }]);
await browser.close();
process.stdout.write(JSON.stringify({ ...result, errors, failed }));
