// Shows what the stream of /events tells. Everything goes into the page as text; nothing is ever markup.
"use strict";

const names = { closed: "closed", half_open: "half-open", open: "open" };
const outcomes = { S: "success", F: "failure", B: "blocked", I: "ignored" };
const maxRows = 100;

const byId = (id) => document.getElementById(id);
const circuits = new Map(); // by service: its element, and what was last told of it
let run = "";               // of the demo; another one has other endpoints
let offset = 0;             // of the demo's clock from the browser's, in milliseconds
let told = null;

for (const element of document.querySelectorAll(".circuit")) {
  const fields = {};
  for (const field of element.querySelectorAll("[data-field]")) fields[field.dataset.field] = field;
  circuits.set(element.dataset.service, { element, fields, now: null });
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function seconds(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return s.toFixed(1) + " s";
  const whole = Math.floor(s);
  if (s < 3600) return Math.floor(whole / 60) + " min " + (whole % 60) + " s";
  return Math.floor(whole / 3600) + " h " + (Math.floor(whole / 60) % 60) + " min";
}

function clock(ms, fraction) {
  const text = new Date(ms).toLocaleTimeString([], { hour12: false });
  return fraction ? text + "." + String(Math.floor(ms % 1000)).padStart(3, "0") : text;
}

function showCircuit(c) {
  const shown = circuits.get(c.service);
  if (!shown) return;
  const { element, fields } = shown;
  shown.now = c;
  element.dataset.state = c.state;
  set(fields.state, names[c.state]);
  set(fields.since, "since " + clock(c.since));
  set(fields.outage, c.outage_id ? "outage " + c.outage_id : "");
  for (const outcome of Object.values(outcomes)) set(fields[outcome], c[outcome].toLocaleString("en"));
  showStrip(fields.strip, c.calls);
  showStreak(fields.streak, c);
  for (const button of element.querySelectorAll("button[name=fault]")) {
    const on = button.value === c.fault;
    button.setAttribute("aria-pressed", String(on));
    if (on) set(fields.meant, button.title);
  }
}

// showStrip draws one bar a call, the newest at the right.
function showStrip(strip, calls) {
  if (strip.dataset.calls === calls) return;
  strip.dataset.calls = calls;
  while (strip.children.length < calls.length) strip.append(document.createElement("i"));
  const counts = {};
  [...calls].forEach((letter, i) => {
    strip.children[i].className = letter;
    counts[letter] = (counts[letter] || 0) + 1;
  });
  const parts = Object.entries(counts).map(([letter, n]) => n + " " + outcomes[letter]);
  strip.setAttribute("aria-label", "The last " + calls.length + " calls: " + parts.join(", "));
}

// showStreak draws how near the breaker is to opening.
function showStreak(pips, c) {
  while (pips.children.length < c.threshold) pips.append(document.createElement("i"));
  [...pips.children].forEach((pip, i) => pip.classList.toggle("on", i < c.streak));
}

// stale tells that what is shown may no longer be so.
function stale(yes) {
  byId("lost").hidden = !yes;
  document.body.classList.toggle("stale", yes);
}

// tick shows what moves with time alone.
function tick() {
  if (told === null) return;
  const now = Date.now() + offset;
  for (const { fields, now: c } of circuits.values()) {
    if (!c) continue;
    set(fields.for, "for " + seconds(now - c.since));
    if (c.state === "open" && c.next_probe) {
      const left = Math.max(0, c.next_probe - now);
      set(fields.next, "Calls are blocked. Next probe in " + seconds(left));
      fields.wait.value = c.open_for > 0 ? 1 - Math.min(1, left / c.open_for) : 1;
    } else if (c.state === "open") {
      set(fields.next, "Calls are blocked until somebody resets it");
    } else if (c.state === "half_open") {
      set(fields.next, "The next call is a probe");
    } else {
      set(fields.next, "Calls go through. " + c.streak + " of " + c.threshold + " failures in a row");
    }
  }
}

function showHeadline(all) {
  const of = (state) => all.filter((c) => c.state === state).map((c) => c.service);
  const open = of("open"), probing = of("half_open");
  const line = [];
  if (open.length) line.push(open.join(" and ") + (open.length > 1 ? " are open" : " is open"));
  if (probing.length) line.push(probing.join(" and ") + (probing.length > 1 ? " are half-open" : " is half-open"));
  const rest = all.length - open.length - probing.length;
  if (!line.length) line.push("All " + all.length + " circuits closed");
  else if (rest) line.push(rest + " closed");
  const headline = byId("headline");
  headline.dataset.state = open.length ? "open" : probing.length ? "half_open" : "closed";
  set(headline, line.join(", "));
  document.title = (open.length ? "open: " + open.join(", ") + " – " : "") + "otelbreaker demo";
}

function showScript(u) {
  [...byId("acts").children].forEach((act, i) => {
    act.className = u.act === 0 ? "" : i + 1 < u.act ? "done" : i + 1 === u.act ? "on" : "";
    if (i + 1 === u.act) act.setAttribute("aria-current", "step");
    else act.removeAttribute("aria-current");
  });
  const titles = [...byId("acts").children].map((act) => act.textContent);
  set(byId("act"), u.act === 0 ? "" : u.act + " of " + titles.length + ": " + titles[u.act - 1]);
  const again = byId("again");
  if (!again) return;
  again.hidden = u.act !== 0 || !u.ended;
  set(byId("ended"), u.ended);
}

function addRecord(r) {
  const row = byId("record").content.firstElementChild.cloneNode(true);
  const put = (selector, text) => { row.querySelector(selector).textContent = text; };
  row.dataset.state = r.to;
  row.dataset.from = r.from;
  put(".time", clock(r.time, true));
  put(".service", r.service);
  row.querySelector(".service").title = r.endpoint;
  for (const [selector, state] of [[".from", r.from], [".to", r.to]]) {
    put(selector, names[state] || state);
    row.querySelector(selector).dataset.state = state;
  }
  put(".why span", r.why);
  if (r.recovery !== undefined) {
    put(".why strong", "Recovered after " + seconds(r.recovery * 1000) + ", " + (r.blocked || 0) + " calls blocked");
  }
  put(".trace", r.trace_id || "none");
  put(".outage", r.outage_id || "none");
  const body = byId("records");
  body.prepend(row);
  while (body.children.length > maxRows) body.lastElementChild.remove();
  byId("none").hidden = true;
}

function show(u) {
  if (run && u.run !== run) {
    location.reload();
    return;
  }
  run = u.run;
  offset = u.now - Date.now();
  if (told === null) byId("records").replaceChildren(); // a new stream begins with all records
  told = u;
  u.circuits.forEach(showCircuit);
  u.records.forEach(addRecord);
  showHeadline(u.circuits);
  showScript(u);
  stale(false);
  tick();
}

const events = new EventSource("events");
events.addEventListener("message", (message) => show(JSON.parse(message.data)));
events.addEventListener("error", () => {
  told = null;
  stale(true);
});
setInterval(tick, 100);

// A switch takes effect without leaving the page; without this it would come back to it.
document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const data = new URLSearchParams(new FormData(form, event.submitter));
  fetch(form.action, { method: "POST", body: data, redirect: "manual" })
    .then((answer) => answer.type === "opaqueredirect" ? "" : answer.text())
    .catch(() => "the demo does not answer")
    .then((problem) => {
      set(byId("problem"), problem);
      byId("problem").hidden = !problem;
    });
});
