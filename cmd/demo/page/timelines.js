// The states of all breakers over the last minutes, on one axis of time.
import { byId, copy, names, set, setAttribute, svg, visibility, whole } from "./text.js";

const kept = 600; // seconds that the server knows of
const heights = { closed: 4, half_open: 8, open: 14 }; // so that a state shows without its colour, too
const full = 14;

export let range = 300; // seconds that are shown
let base = 0; // milliseconds of x = 0
let latest = 0;

const rows = [];
const onScreen = visibility((element) => place(rows[Number(element.dataset.index)], latest));
const list = byId("timelines");

// show draws the row of a circuit, with the states that it came into.
export function show(i, circuit, spans, now) {
  if (!base) base = now;
  let row = rows[i];
  if (!row) {
    row = { ...copy("timeline"), spans: [], rects: [] };
    row.element.dataset.index = i;
    set(row.fields.name, circuit.service);
    row.fields.name.title = circuit.endpoint;
    row.track = row.element.querySelector("svg");
    row.moved = row.track.appendChild(svg("g", {}));
    rows[i] = row;
    list.append(row.element);
    onScreen.watch(row.element);
  }
  setAttribute(row.element, "data-state", circuit.standing.state);
  set(row.fields.state, names[circuit.standing.state]);
  for (const span of spans || []) {
    const x = (span.at - base) / 1000, last = row.rects.at(-1);
    if (last) last.setAttribute("width", Math.max(0.3, x - row.spans.at(-1).x));
    const height = heights[span.state];
    const rect = svg("rect", { x, y: full - height, width: 1e6, height, class: span.state });
    row.moved.append(rect);
    row.rects.push(rect);
    row.spans.push({ ...span, x });
  }
  if (spans) {
    describe(row, now);
    place(row, now);
  }
}

export function clear() {
  list.replaceChildren();
  rows.length = 0;
}

// place moves a row to where it belongs at a moment, and drops what has left the axis.
function place(row, now) {
  if (!row || !now) return;
  const x = (now - base) / 1000;
  setAttribute(row.track, "viewBox", "0 0 " + range + " " + full);
  row.moved.setAttribute("transform", "translate(" + (range - x).toFixed(2) + " 0)");
  while (row.spans.length > 1 && row.spans[1].x < x - kept) {
    row.spans.shift();
    row.rects.shift().remove();
  }
  if (!(now - row.described < 10000)) describe(row, now);
}

export function tick(now) {
  latest = now;
  for (const row of rows) {
    if (row && (onScreen.has(row.element) || now - row.described > 10000)) place(row, now);
  }
  axis(byId("timeline-axis"), now);
}

// describe says the same in words.
function describe(row, now) {
  row.described = now;
  const from = now - range * 1000, spent = {};
  let openings = 0;
  row.spans.forEach((span, i) => {
    const end = i + 1 < row.spans.length ? row.spans[i + 1].at : now;
    if (end <= from) return;
    spent[span.state] = (spent[span.state] || 0) + end - Math.max(from, span.at);
    if (span.state === "open" && span.at >= from) openings++;
  });
  const parts = Object.keys(names).filter((state) => spent[state]).map((state) => names[state] + " for " + whole(spent[state]));
  row.track.setAttribute("aria-label", "The last " + range / 60 + " minutes: " + parts.join(", ") +
    ", opened " + openings + (openings === 1 ? " time" : " times"));
}

// axis puts a line and the time at every full minute, or every half where the axis is short.
export function axis(element, now) {
  const step = range > 120 ? 60000 : 30000;
  const format = { hour12: false, hour: "2-digit", minute: "2-digit", second: step < 60000 ? "2-digit" : undefined };
  const marks = [];
  for (let t = Math.floor(now / step) * step; t > now - range * 1000; t -= step) marks.unshift(t);
  while (element.children.length < marks.length) element.append(document.createElement("span"));
  while (element.children.length > marks.length) element.lastElementChild.remove();
  marks.forEach((t, i) => {
    const mark = element.children[i];
    if (mark.dataset.at !== t + "/" + step) {
      mark.dataset.at = t + "/" + step;
      set(mark, new Date(t).toLocaleTimeString([], format));
    }
    const left = 1 - (now - t) / 1000 / range;
    mark.style.left = (100 * left).toFixed(2) + "%";
    mark.classList.toggle("edge", left > 0.92);
  });
}

export function showRange(minutes) {
  range = minutes * 60;
  for (const row of rows) if (row) describe(row, latest);
  tick(latest);
}
