// Drives a running playground in headless Chromium, for tests/wasm/test_playground.py and bench/playground.py:
// node playground_agent.mjs CHROMIUM ADDRESS CHANGES [FOLDER]. Prints what the page did as JSON; pictures go into FOLDER.
import { chromium } from "../../emscripten/node_modules/playwright-core/index.mjs";

const [executablePath, address, changes, folder] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1360, height: 900 } });
await context.grantPermissions(["clipboard-read", "clipboard-write"]);
const page = await context.newPage();
const [errors, asked] = [[], []];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("request", (request) => asked.push(request.url().slice(address.length)));

const panel = "[role=tabpanel]:not([hidden])";
const settled = () => page.waitForFunction((panel) => {
  const cards = [...document.querySelectorAll(`${panel} .models .card`)];
  return cards.length > 0 && cards.every((card) => card.ariaBusy === "false");
}, panel);
const tab = async (name) => {
  await page.click(`#tabs button:text-is("${name}")`);
  await settled();
};
const cards = () => page.$$eval(`${panel} .models .card`, (all) => all.map((card) => ({
  name: card.getAttribute("aria-label"),
  rows: [...card.querySelectorAll(".body tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent)),
  text: card.querySelector(".body").textContent,
  turns: [...card.querySelectorAll(".body + div .turns li")].map((item) => item.textContent),
  attention: [...card.querySelectorAll(".attention tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent)),
  problem: card.querySelector(".problem").textContent,
  by: card.querySelector(":scope > p:not(.problem)").textContent,
  line: card.querySelector("pre").textContent,
})));

const picture = async (name) => folder && (await page.screenshot({ path: `${folder}/playground-${name}.png`, fullPage: true }));

await page.goto(address);
await page.waitForSelector("#tabs button");
const processes = await browser.newBrowserCDPSession();
const cpu = async () => {
  const { processInfo } = await processes.send("SystemInfo.getProcessInfo");
  return processInfo.filter(({ type }) => type === "renderer").reduce((sum, { cpuTime }) => sum + cpuTime, 0);
};
const result = { tabs: await page.$$eval("#tabs button", (all) => all.map((one) => one.textContent)), answers: {}, times: {}, cpu: {} };
const networks = result.tabs.slice(1);
for (const name of networks) {
  await tab(name);
  result.answers[name] = await cards();
  await picture(name);
}

// From here on nothing is asked of a server.
const before = asked.length;
await context.setOffline(true);
for (const name of networks) {
  await tab(name);
  const begin = await cpu();
  result.times[name] = await page.evaluate(async ([panel, changes]) => {
    const cards = [...document.querySelectorAll(`${panel} .models .card`)];
    const until = (done) => new Promise((resolve) => {
      const watch = new MutationObserver(() => {
        if (!done()) return;
        watch.disconnect();
        resolve();
      });
      for (const card of cards) watch.observe(card, { attributes: true });
    });
    const times = [];
    for (let i = 0; i < changes; ++i) {
      const sliders = [...document.querySelectorAll(`${panel} input[type=range]`)];
      const slider = sliders[i % sliders.length];
      const [least, most] = [Number(slider.min), Number(slider.max)];
      slider.value = least + (most - least) * (0.2 + 0.6 * ((i * 0.618) % 1));
      const start = performance.now();
      const answered = until(() => cards.every((card) => !card.hasAttribute("data-asked")));
      const whole = until(() => cards.every((card) => card.ariaBusy === "false"));
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      await answered;
      cards.forEach((card) => card.getBoundingClientRect());
      const first = performance.now() - start;
      await whole;
      cards.forEach((card) => card.getBoundingClientRect());
      const said = cards.map((card) => Number(/Answered in ([\d.]+) ms/.exec(card.textContent)[1])); // by the engine's thread
      times.push([first, performance.now() - start, Math.max(...said)]);
      await new Promise((resume) => setTimeout(resume, 20));
    }
    return times;
  }, [panel, Number(changes)]);
  result.cpu[name] = (1000 * ((await cpu()) - begin)) / Number(changes); // ms of all threads of the page, for a change
}

// Drag the first agent's load to the top, then move a task by keys.
const swarm = networks.find((name) => name === "coordination") ?? networks[0];
await tab(swarm);
await page.click("#reset");
await settled();
const handle = page.locator(`${panel} .map .handle`).first();
const box = await handle.boundingBox();
await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
await page.mouse.down();
await page.mouse.move(box.x + box.width / 2, box.y - 300, { steps: 4 });
await page.mouse.up();
await settled();
result.dragged = await handle.getAttribute("aria-valuetext");
const task = page.locator(`${panel} .map .handle`).last();
await task.focus();
result.keyed = [await task.getAttribute("aria-valuetext")];
for (const key of ["ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
await settled();
result.keyed.push(await task.getAttribute("aria-valuetext"));
await page.click(`${panel} details:has(textarea) summary`);
result.request = JSON.parse(await page.inputValue(`${panel} textarea`));
result.moved = await cards();
await page.click(`${panel} .card button:text-is("Copy as CLI line") >> nth=0`);
result.copied = await page.evaluate(() => navigator.clipboard.readText());
result.links = await page.locator(`${panel} .map .link`).count();
result.offline = asked.slice(before);
await context.setOffline(false);

// By keyboard: from tab to tab, and every control has a name.
await page.focus("#tabs [aria-selected=true]");
await page.keyboard.press("ArrowRight");
result.next = await page.evaluate(() => document.activeElement.textContent);
await page.keyboard.press("Home");
result.home = await page.evaluate(() => document.activeElement.textContent);
const frame = await (await page.waitForSelector("iframe")).contentFrame();
await frame.waitForSelector("#assignments tbody tr");
result.demo = await frame.$$eval("#assignments tbody tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
await picture("demo");
result.unlabelled = await page.$$eval("input, textarea, button, select, [role=slider]", (all) => all.filter((one) =>
  !one.labels?.length && !one.getAttribute("aria-label") && !one.textContent.trim()).map((one) => one.outerHTML));
await page.waitForTimeout(900); // the status follows when a slider has come to rest
result.status = await page.$$eval("[role=status].unseen", (all) => all.map((one) => one.textContent));
await page.emulateMedia({ colorScheme: "dark" });
await tab(swarm);
await picture("dark");
await browser.close();
process.stdout.write(JSON.stringify({ ...result, errors }));
