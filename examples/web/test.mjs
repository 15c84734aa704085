// Drives the page in headless Chromium, as a file and as served, and compares its heat with the command line's.
//
//     node test.mjs NODE_MODULES CHROMIUM MODEL.onnx PHOTO EXPECTED.json [SCREENSHOT.png]
//
// NODE_MODULES has playwright-core and onnxruntime-web. EXPECTED.json is {"heat": [...], "other": {"class": N, "heat": [...]}}: for the
// likeliest class, and for another. No server runs: what the page asks for is answered by the browser's driver.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [modules, executablePath, model, photo, expected, screenshot] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const page_file = join(dirname(fileURLToPath(import.meta.url)), "index.html");
const wanted = JSON.parse(readFileSync(expected, "utf8"));

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--force-color-profile=srgb"] });
let wrong = 0;

function compare(what, found, wanted) {
  const largest = Math.max(...wanted);
  const apart = found.length === wanted.length ? Math.max(...found.map((heat, at) => Math.abs(heat - wanted[at]))) / largest : Infinity;
  // Written so that NaN fails.
  if (!(apart <= 1e-3)) wrong++;
  console.log(`${what}: ${apart.toExponential(1)}`);
}

async function runs(page, count) {
  await page.waitForFunction((count) => window.camscope.runs >= count || document.querySelector(".wrong"), count, { timeout: 120_000 });
  const complaint = await page.locator(".wrong").count();
  if (complaint) throw Error(await page.locator("#said").textContent());
  return page.evaluate(() => window.camscope.heat);
}

const types = { js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm", html: "text/html", onnx: "application/octet-stream" };
const answer = (route, path) => {
  const headers = { "access-control-allow-origin": "*" };
  return route.fulfill({ path, contentType: types[path.split(".").pop()], headers });
};
const dist = (name) => join(modules, "onnxruntime-web/dist", name);

for (const way of ["as a file", "served"]) {
  const page = await browser.newPage({ viewport: { width: 820, height: 860 } });
  page.on("pageerror", (error) => { wrong++; console.log(`${way}: ${error.message}`); });
  if (way === "as a file") {
    await page.route("https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/*", (route) => answer(route, dist(new URL(route.request().url()).pathname.split("/").pop())));
    await page.goto(pathToFileURL(page_file).href);
    await page.setInputFiles("#model", model);
    await page.waitForFunction(() => window.camscope.model || document.querySelector(".wrong"), null, { timeout: 120_000 });
  } else {
    await page.route("http://camscope.test/**", (route) => {
      const path = new URL(route.request().url()).pathname.slice(1);
      return answer(route, path === "" ? page_file : path === "model.onnx" ? model : dist(path.replace(/^ort\//, "")));
    });
    await page.goto("http://camscope.test/");
    await page.waitForFunction(() => window.camscope.model || document.querySelector(".wrong"), null, { timeout: 120_000 });
  }
  await page.setInputFiles("#photo", photo);
  compare(`${way}, likeliest class`, await runs(page, 1), wanted.heat);
  if (screenshot && way === "served") await page.screenshot({ path: screenshot });
  await page.selectOption("#classes", String(wanted.other.class));
  compare(`${way}, class ${wanted.other.class}`, await runs(page, 2), wanted.other.heat);
  console.log(`${way}: ${await page.locator("#said").textContent()}`);
  await page.close();
}
await browser.close();
process.exit(wrong ? 1 : 0);
