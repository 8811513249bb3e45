// The page of the demo, as somebody uses it who looks at an outage.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { card, closeBrowser, open, picture, startDemo, stopDemo, token, until } from "./demo.js";

after(closeBrowser);

const headline = (page) => page.locator("#headline");
const seen = (locator) => locator.first().waitFor();

test("an outage is switched on, shown with its trace, and recovered from", async (t) => {
  const demo = await startDemo(t);
  const page = await open(t, demo);
  await seen(page.getByText("The outage is over."));
  const payments = card(page, "payments");
  const before = demo.records().length;
  await payments.getByRole("button", { name: "Errors" }).click();

  await seen(headline(page).filter({ hasText: "payments is open" }));
  await seen(payments.getByText("Calls are blocked"));
  assert.equal(await payments.getByRole("button", { name: "Errors" }).getAttribute("aria-pressed"), "true");
  const row = page.locator("#records tr").filter({ hasText: "5 consecutive failures" }).first();
  const shown = await row.locator(".trace").textContent();
  const record = await until("the record of the opening", () => demo.records().slice(before).find((r) => r.event_type === "circuit_opened"));
  assert.match(shown, /^[0-9a-f]{32}$/);
  assert.equal(shown, record.trace_id);
  assert.equal(await row.locator(".outage").textContent(), record.outage_id);
  const track = page.locator("#timelines li").filter({ hasText: "payments" });
  assert.match(await track.getByRole("img").getAttribute("aria-label"), /open for .*, opened \d+ times/);
  assert.ok(await track.locator("rect.open").count() >= 2, "an open stretch of each outage");
  await page.getByRole("button", { name: "2 min" }).click();
  await seen(payments.getByText(/Next probe in 1\.\d s/));
  await page.setViewportSize({ width: 1280, height: 1200 });
  await picture(page, "demo-outage");

  await payments.getByRole("button", { name: "Healthy" }).click();
  await seen(headline(page).filter({ hasText: "All 3 circuits closed" }));
  const closed = page.locator("#records tr").first();
  await seen(closed.getByText(/Recovered after [\d.]+ s, \d+ calls blocked/));
  await seen(page.getByText(/^2 recoveries, on average/));
  const counts = await page.locator("#recoveries td:nth-child(2)").allTextContents();
  assert.equal(counts.map(Number).reduce((a, b) => a + b), 2);
  assert.equal((await page.locator("#recoveries th").allTextContents()).join(), "≤ 0.1 s,≤ 0.25 s,≤ 0.5 s,≤ 1.5 s,≤ 2.5 s,≤ 7.5 s,≤ 15.5 s," +
    "≤ 30.5 s,≤ 60.5 s,≤ 120.5 s,≤ 300.5 s,≤ 600.5 s,≤ 1800.5 s,longer");
  for (const figure of ["requests", "cpu", "memory"]) {
    assert.ok(parseFloat(await page.locator("#figure-" + figure).textContent()) > 0, figure);
  }

  // A page that is opened now sees the past.
  const late = await open(t, demo);
  assert.ok(await late.locator("#timelines li").filter({ hasText: "payments" }).locator("rect.open").count() >= 2);
  assert.ok(await late.locator("#rates-areas path.blocked").getAttribute("d"));
  await late.getByLabel("Service", { exact: true }).selectOption("inventory");
  await late.waitForFunction(() => document.getElementById("rates-most").textContent === "10" ||
    Number(document.getElementById("rate-success").textContent) <= 9);
  await seen(late.locator("#timelines li").filter({ hasText: "payments" }));

  page.expected = late.expected = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|Failed to load resource/;
  await stopDemo(demo);
  await seen(page.getByText("The demo does not answer"));
});

test("a breaker is forced open and reset with the token, and not without it", async (t) => {
  const demo = await startDemo(t);
  const page = await open(t, demo);
  const form = page.getByRole("region", { name: "Take a breaker over" });
  await form.getByLabel("Breaker").selectOption("inventory");
  await form.getByLabel("Reason").fill("a migration");
  await form.getByLabel("Token").fill("this-is-not-the-token-that-it-wants");
  page.expected = /401/;
  await form.getByRole("button", { name: "Force open" }).click();
  await seen(form.getByText("The token is not good. Nothing was changed."));
  assert.equal(await card(page, "inventory").getAttribute("data-state"), "closed");
  assert.equal(await page.evaluate(() => document.activeElement.name), "token");

  await form.getByLabel("Token").fill(token);
  await form.getByRole("button", { name: "Force open" }).click();
  await seen(form.getByText(/inventory is forced open until/));
  await seen(card(page, "inventory").getByText("forced open by an operator: a migration"));
  await seen(headline(page).filter({ hasText: "inventory is open" }).or(headline(page).filter({ hasText: "inventory are open" })));
  const audit = await until("the audit record", () => demo.records().find((r) => r.event_type === "circuit_control" && r.result === "applied"));
  assert.equal(audit.note, "a migration");
  await form.getByRole("button", { name: "Reset" }).click();
  await seen(form.getByText("inventory is reset"));
  await page.waitForFunction(() => document.querySelector(".circuit[data-index='1']").dataset.state === "closed");
  await form.getByRole("button", { name: "Disable" }).click();
  await seen(card(page, "inventory").getByText("disabled by an operator"));

  assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length + document.cookie.length), 0, "what is kept");
  assert.ok(!page.url().includes(token) && !demo.log.join().includes(token) && !demo.said.includes(token));
});

test("hostile names of services stay text", async (t) => {
  const names = ['"><img src=x onerror=alert(1)>', "</script><script>window.pwned=1</script>", "{{.}}</template><b>bold</b>", "\u202Eevil <!--"];
  const demo = await startDemo(t, ...names.flatMap((name) => ["--service", name]));
  const page = await open(t, demo);
  await seen(headline(page).filter({ hasText: names[0] + " is open" }));
  await seen(page.locator("#records tr").filter({ hasText: names[0] }));
  const found = await page.evaluate(() => ({
    scripts: document.scripts.length, images: document.images.length, bold: [...document.querySelectorAll("b")].filter((e) => e.textContent === "bold").length, pwned: window.pwned,
  }));
  assert.deepEqual(found, { scripts: 1, images: 1, bold: 0, pwned: undefined });
  for (const name of names) {
    assert.equal(await page.locator("h3", { hasText: name }).count(), 1, name);
    assert.equal(await page.locator("#timelines .name", { hasText: name }).count(), 1, name);
    assert.equal(await page.locator("#rates-of option", { hasText: name }).count(), 1, name);
  }
  await page.getByLabel("Service", { exact: true }).selectOption(names[1]);
  await page.waitForFunction(() => Number(document.getElementById("rate-success").textContent) > 0);
});

test("the keyboard is enough", async (t) => {
  const demo = await startDemo(t);
  const page = await open(t, demo);
  const focused = () => page.evaluate(() => {
    const e = document.activeElement, style = getComputedStyle(e);
    return { text: e.textContent.trim(), name: e.name, value: e.value, outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
      card: e.closest(".circuit")?.dataset.index };
  });
  await page.keyboard.press("Tab");
  assert.equal((await focused()).text, "Skip to the circuits");
  await page.keyboard.press("Enter");
  const passed = [];
  const tabTo = async (wanted) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      const now = await focused();
      passed.push(now);
      assert.ok(now.outline, "the focus does not show on " + JSON.stringify(now));
      if (wanted(now)) return;
    }
    assert.fail("not reached: " + wanted);
  };
  await tabTo((e) => e.name === "fault" && e.value === "refuse" && e.card === "1");
  assert.ok(!passed.some((e) => e.text.startsWith("/metrics")), "the skip link does not skip");
  await page.keyboard.press("Space");
  await seen(headline(page).filter({ hasText: "inventory is open" }));
  await tabTo((e) => e.name === "circuit");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await tabTo((e) => e.name === "reason");
  await page.keyboard.type("by keyboard");
  await tabTo((e) => e.name === "token");
  await page.keyboard.type(token);
  await page.keyboard.press("Enter"); // the first button: force open
  await seen(card(page, "recommendations").getByText("forced open by an operator: by keyboard"));
});

test("an alert is pending and then fires, as the shipped rules say", async (t) => {
  const demo = await startDemo(t, "--rate", "20");
  const page = await open(t, demo);
  await card(page, "payments").getByRole("button", { name: "Refuse" }).click();
  const rule = (name) => page.locator("#alerts > tr").filter({ has: page.getByText(name, { exact: true }) });
  await seen(rule("CircuitBreakerTrafficBlocked").filter({ hasText: "pending" }).filter({ hasText: "% of calls to payments" }).filter({ hasText: /fires in \d/ }));
  const firing = rule("CircuitBreakerOpen").filter({ hasText: "firing" });
  await firing.waitFor({ timeout: 100000 });
  assert.match(await firing.textContent(), /Circuit breaker to payments \(http:\/\/127\.0\.0\.1:\d+\) is open on 1 of 1 instances/);
  assert.match(await firing.textContent(), /since \d\d:\d\d:\d\d, for \d+ s/);
  assert.match(await page.locator("#alerts-summary").textContent(), /^[1-9]\d* firing, /);
  await firing.locator("summary").click();
  await seen(firing.getByText("count by (cluster, namespace, service, endpoint) (breaker:circuit_breaker_refusing:share3m)"));
  await firing.locator("summary").click();
  await picture(page.getByRole("region", { name: "Alert rules" }), "demo-alerts");
});
