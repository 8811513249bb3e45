// Shows what the stream of /events tells: at first all, and then what has changed.
import { and, byId, clock, names, seconds, set } from "./text.js";
import * as cards from "./circuits.js";
import * as timelines from "./timelines.js";
import * as charts from "./charts.js";
import * as alerts from "./alerts.js";
import "./operate.js";

const { circuits } = cards;
const maxRows = 100;

let run = "";      // of the demo; another one has other endpoints
let offset = 0;    // of the demo's clock from the browser's, in milliseconds
let told = false;  // whether this stream has begun
let events = null;

const demoNow = () => Date.now() + offset;

// stale tells that what is shown may no longer be so.
function stale(yes) {
  byId("lost").hidden = !yes;
  document.body.classList.toggle("stale", yes);
}

function showHeadline() {
  const of = (state) => circuits.filter((c) => c.standing.state === state).map((c) => c.service);
  const open = of("open"), probing = of("half_open");
  const line = [];
  if (open.length) line.push(and(open, "circuits") + (open.length > 1 ? " are open" : " is open"));
  if (probing.length) line.push(and(probing, "circuits") + (probing.length > 1 ? " are half-open" : " is half-open"));
  const rest = circuits.length - open.length - probing.length;
  if (!line.length) line.push(rest === 1 ? "The circuit is closed" : "All " + rest + " circuits closed");
  else if (rest) line.push(rest + " closed");
  const headline = byId("headline");
  headline.dataset.state = open.length ? "open" : probing.length ? "half_open" : "closed";
  set(headline, line.join(", "));
  const title = (open.length ? "open: " + and(open, "circuits") + " – " : "") + "otelbreaker demo";
  if (document.title !== title) document.title = title;
}

function showScript(u) {
  [...byId("acts").children].forEach((act, i) => {
    const on = i + 1 === u.act, name = u.act === 0 ? "" : i + 1 < u.act ? "done" : on ? "on" : "";
    if (act.className !== name) act.className = name;
    if (on) act.setAttribute("aria-current", "step");
    else act.removeAttribute("aria-current");
  });
  const titles = [...byId("acts").children].map((act) => act.textContent);
  set(byId("act"), u.act === 0 ? "" : u.act + " of " + titles.length + ": " + titles[u.act - 1]);
  const again = byId("again");
  if (!again) return;
  again.hidden = u.act !== 0 || !u.ended;
  set(byId("ended"), u.ended || "");
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
  if (!told) { // what an earlier stream told comes again
    byId("records").replaceChildren();
    timelines.clear();
    charts.clear();
    stale(false);
  }
  let moved = !told;
  told = true;
  for (const change of u.circuits || []) {
    cards.take(change);
    if (change.spans || change.standing) {
      timelines.show(change.i, circuits[change.i], change.spans, u.now);
      moved = true;
    }
  }
  (u.records || []).forEach(addRecord);
  if (moved) showHeadline();
  showScript(u);
  if (u.figures) charts.showFigures(u.figures);
  if (u.recoveries) charts.showRecoveries(u.recoveries);
  if (u.alerts) {
    alerts.showAlerts(u.alerts);
    alerts.tick(u.now);
  }
  if (u.rates) {
    charts.addRates(u.rates, u.now);
    charts.drawRates(u.now);
  }
}

function listen(service) {
  if (events) events.close();
  told = false;
  const stream = new EventSource(service ? "events?service=" + encodeURIComponent(service) : "events");
  events = stream;
  stream.addEventListener("message", (message) => show(JSON.parse(message.data)));
  stream.addEventListener("error", () => {
    told = false;
    stale(true);
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(() => { if (events === stream) listen(service); }, 5000); // refused; the browser tries again only where it was cut off
  });
}

listen(byId("rates-of").value);
byId("rates-of").addEventListener("change", (event) => listen(event.target.value));
setInterval(() => { if (told) cards.tick(demoNow()); }, 200);
setInterval(() => {
  if (!told) return;
  cards.drawRest();
  timelines.tick(demoNow());
  charts.drawRates(demoNow());
  alerts.tick(demoNow());
}, 1000);

for (const button of document.querySelectorAll("button[name=range]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("button[name=range]")) other.setAttribute("aria-pressed", String(other === button));
    timelines.showRange(Number(button.value));
    charts.drawRates(demoNow());
  });
}

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
