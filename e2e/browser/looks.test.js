// How the page stands in narrow windows, for assistive technology, and with many endpoints.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { card, closeBrowser, open, startDemo } from "./demo.js";

after(closeBrowser);

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

test("it is accessible, by axe", async (t) => {
  const demo = await startDemo(t);
  for (const options of [{ colorScheme: "light" }, { colorScheme: "dark" }, { colorScheme: "light", viewport: { width: 390, height: 844 } }]) {
    const page = await open(t, demo, { ...options, bypassCSP: true }); // for axe, which is no part of the page
    await card(page, "payments").getByRole("button", { name: "Errors" }).click();
    await page.locator("#headline[data-state=open]").waitFor();
    await page.locator("#alerts tr").first().waitFor();
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    assert.deepEqual(violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html + " " + n.failureSummary).join("\n")), [], JSON.stringify(options));
  }
});

test("nothing hangs over the edge of a phone, whatever a service is called", async (t) => {
  const demo = await startDemo(t, "--service", "payments", "--service", "a-very-long-name-without-a-place-to-break-it-" + "x".repeat(120));
  for (const width of [390, 320, 820, 1280]) {
    const page = await open(t, demo, { viewport: { width, height: 844 } });
    await card(page, "payments").getByRole("button", { name: "Errors" }).click();
    await page.locator("#records tr").first().waitFor();
    await page.locator("#alerts tr").first().waitFor();
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(over, 0, "at " + width + " pixels");
  }
});

test("a hundred endpoints stay smooth", async (t) => {
  const services = Array.from({ length: 100 }, (_, i) => ["--service", "service-" + String(i).padStart(3, "0")]);
  const demo = await startDemo(t, "--rate", "2", ...services.flat());
  const page = await open(t, demo);
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ type: "longtask" });
  });
  const devtools = await page.context().newCDPSession(page);
  let updates = 0, bytes = 0, largest = 0;
  devtools.on("Network.eventSourceMessageReceived", ({ data }) => {
    updates++;
    bytes += data.length;
    largest = Math.max(largest, data.length);
  });
  await devtools.send("Network.enable");
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  const busy = async () => Object.fromEntries((await devtools.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value])).TaskDuration;
  const before = await busy();
  const began = Date.now();
  await page.waitForFunction(() => document.querySelectorAll("#records tr").length > 2); // with the scripted outage in it
  await new Promise((resolve) => setTimeout(resolve, 10000));
  const used = await busy() - before, elapsed = (Date.now() - began) / 1000;
  const longest = await page.evaluate(() => window.longest);
  t.diagnostic(`${updates} updates in ${elapsed.toFixed(1)} s, ${Math.round(bytes / updates)} bytes each, the largest ${largest}; ` +
    `main thread ${(1000 * used / updates).toFixed(1)} ms an update, ${(100 * used / elapsed).toFixed(1)} % busy, longest task ${longest.toFixed(0)} ms`);
  assert.ok(updates > 20, updates + " updates");
  assert.ok(bytes / updates < 16000, bytes / updates + " bytes an update");
  assert.ok(used / elapsed < 0.25, "the main thread is busy " + used / elapsed + " of the time");
  assert.equal(await page.locator(".circuit").count(), 100);
  assert.equal(await page.locator("#timelines li").count(), 100);
});
