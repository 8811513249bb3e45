// Calls a second by outcome over time, the histogram of recoveries, and the figures.
import { byId, outcomes, seconds, set, setAttribute, svg } from "./text.js";
import { axis, range } from "./timelines.js";

const keptMs = 600000;
const stacked = ["success", "ignored", "failure", "blocked"]; // from the bottom up
let rates = [];

const areas = byId("rates-areas");
const paths = stacked.map((outcome) => areas.appendChild(svg("path", { class: outcome })));
const legend = Object.fromEntries(outcomes.map((outcome) => [outcome, byId("rate-" + outcome)]));

export function addRates(some, now) {
  rates.push(...some);
  while (rates.length && rates[0].at < now - keptMs) rates.shift();
}

export function clear() {
  rates = [];
}

// drawRates draws all of it, as the axis moves under it anyway.
export function drawRates(now) {
  axis(byId("rates-axis"), now);
  const from = now - range * 1000 - 3000;
  const seen = rates.filter((r) => r.at >= from);
  if (!seen.length) {
    for (const path of paths) path.setAttribute("d", "");
    return;
  }
  const most = nice(Math.max(1, ...seen.map((r) => r.per_second.reduce((a, b) => a + b))));
  set(byId("rates-most"), String(most));
  set(byId("rates-half"), String(most / 2));
  const x = (at) => (1000 * (1 - (now - at) / 1000 / range)).toFixed(1);
  const y = (value) => (100 - 100 * value / most).toFixed(1);
  const base = seen.map(() => 0);
  stacked.forEach((outcome, n) => {
    const o = outcomes.indexOf(outcome);
    const low = seen.map((r, i) => x(r.at) + " " + y(base[i]));
    seen.forEach((r, i) => { base[i] += r.per_second[o]; });
    const high = seen.map((r, i) => x(r.at) + " " + y(base[i]));
    paths[n].setAttribute("d", "M" + high.join("L") + "L" + low.reverse().join("L") + "Z");
  });
  const newest = seen.at(-1).per_second;
  outcomes.forEach((outcome, o) => set(legend[outcome], newest[o].toFixed(1)));
  setAttribute(byId("rates-chart"), "aria-label", "Calls a second over the last " + range / 60 + " minutes, by outcome; at most " +
    Math.max(...seen.map((r) => r.per_second.reduce((a, b) => a + b))).toFixed(0) + ". The newest are in the table below.");
}

// nice is the next number above that an axis can end with.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((n) => n * power).find((n) => n >= value);
}

export function showRecoveries({ bounds, counts, sum }) {
  const all = counts.reduce((a, b) => a + b, 0), most = Math.max(...counts, 1);
  set(byId("recovered"), all ? all + (all === 1 ? " recovery, it took " : " recoveries, on average ") + seconds(1000 * sum / all)
    : "No recovery yet.");
  const body = byId("recoveries");
  body.closest("table").hidden = !all;
  while (body.children.length < counts.length) body.append(byId("bucket").content.firstElementChild.cloneNode(true));
  counts.forEach((n, i) => {
    const [bound, count, bar] = body.children[i].children;
    set(bound, i < bounds.length ? "≤ " + bounds[i] + " s" : "longer");
    set(count, n ? String(n) : "0");
    body.children[i].classList.toggle("none", !n);
    bar.firstElementChild.style.width = 100 * n / most + "%";
  });
}

export function showFigures({ requests, block_rate: blocked, cpu, memory }) {
  set(byId("figure-requests"), requests.toFixed(1));
  set(byId("figure-blocked"), (100 * blocked).toFixed(1) + " %");
  set(byId("figure-cpu"), cpu === undefined ? "unknown" : (100 * cpu).toFixed(1) + " %");
  set(byId("figure-memory"), memory === undefined ? "unknown" : (memory / 1e6).toFixed(0) + " MB");
}
