// Starts the demo and a browser, and holds every page to what all of them promise.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const token = "a-token-that-is-for-these-tests-only";

const patience = 20000; // for what takes a second or a few on a machine that has nothing else to do

// startDemo starts one on a free port. It ends with the test.
export async function startDemo(t, ...args) {
  const child = spawn(process.env.DEMO, ["--listen", "127.0.0.1:0", ...args],
    { env: { ...process.env, OTELBREAKER_TOKEN: token, OTEL_EXPORTER_OTLP_ENDPOINT: "" }, stdio: ["ignore", "pipe", "pipe"] });
  const demo = { child, said: "", log: [], url: "" };
  child.stderr.setEncoding("utf8");
  createInterface({ input: child.stderr }).on("line", (line) => demo.log.push(line));
  const page = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      demo.said += line + "\n";
      const found = line.match(/^ *page +(http:\S+\/)$/);
      if (found) resolve(found[1]);
    });
    child.once("exit", (code) => reject(new Error("the demo has ended with " + code + ": " + demo.log.join("\n"))));
  });
  page.catch(() => {}); // it ends in order later on
  t.after(() => stopDemo(demo));
  demo.url = await page;
  demo.records = () => demo.log.flatMap((line) => {
    try { return [JSON.parse(line)]; } catch { return []; }
  });
  return demo;
}

export async function stopDemo(demo) {
  if (demo.child.exitCode !== null) return;
  demo.child.kill("SIGTERM");
  const [code] = await once(demo.child, "exit");
  assert.equal(code, 0, "the demo's exit code");
}

let browser;

// closeBrowser is for the end of a file of tests.
export async function closeBrowser() {
  if (browser) await browser.close();
}

// open opens a page. At the end of the test there must have been no error on it, no dialog, and no request to anywhere
// but the demo.
export async function open(t, demo, options = {}) {
  browser ||= await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const wrong = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !page.expected?.test(message.text())) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => {
    wrong.push("a dialog: " + dialog.message());
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(demo.url).origin) wrong.push("a request to " + request.url());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(wrong, [], "errors, dialogs and foreign requests");
  });
  await page.goto(demo.url);
  await page.getByRole("status").filter({ hasText: /closed|open/ }).first().waitFor();
  return page;
}

// until waits for something to hold that is not on a page.
export async function until(what, holds) {
  for (const end = Date.now() + patience; Date.now() < end;) {
    const found = holds();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail("waited in vain for " + what);
}

// card is that of a service.
export const card = (page, service) => page.getByRole("article", { name: service, exact: true });

// picture keeps one for the documentation, if that is what is wanted.
export async function picture(page, name, options = {}) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: process.env.SCREENSHOTS + "/" + name + ".png", ...options });
}
