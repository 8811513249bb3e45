// The card of each dependency and its breaker.
import { letters, names, outcomes, clock, seconds, set, setAttribute, visibility, withFields } from "./text.js";

const stripLength = 60;

export const circuits = []; // what was last told of each, by index

const stale = new Set(); // indexes of those that are not drawn as they are

const cards = [...document.querySelectorAll(".circuit")].map(withFields);
const onScreen = visibility((element) => draw(Number(element.dataset.index)));
for (const { element } of cards) onScreen.watch(element);

// take merges what has changed of one, and draws it where it can be seen.
export function take(change) {
  if (change.named) circuits[change.i] = { ...change.named, counts: [0, 0, 0, 0], streak: 0, calls: "" };
  const c = circuits[change.i];
  if (change.standing) c.standing = change.standing;
  if (change.counts) c.counts = change.counts;
  if (change.streak !== undefined) c.streak = change.streak;
  if (change.calls) c.calls = (c.calls + change.calls).slice(-stripLength);
  if (change.standing || onScreen.has(cards[change.i].element)) draw(change.i);
  else stale.add(change.i);
}

// drawRest draws those that cannot be seen, but can be read out, and have waited long enough.
export function drawRest() {
  for (const i of stale) draw(i);
}

function draw(i) {
  const c = circuits[i];
  if (!c) return;
  stale.delete(i);
  const { element, fields } = cards[i];
  const { state, since, outage_id: outage, override, note, fault } = c.standing;
  setAttribute(element, "data-state", state);
  set(fields.state, names[state]);
  set(fields.since, "since " + clock(since));
  set(fields.outage, outage ? "outage " + outage : "");
  set(fields.override, override ? words(override) + " by an operator" + (note ? ": " + note : "") : "");
  outcomes.forEach((outcome, n) => set(fields[outcome], c.counts[n].toLocaleString("en")));
  showStrip(fields.strip, c.calls);
  showStreak(fields.streak, c);
  if (element.dataset.fault !== fault) {
    element.dataset.fault = fault;
    for (const button of element.querySelectorAll("button[name=fault]")) {
      const on = button.value === fault;
      setAttribute(button, "aria-pressed", String(on));
      if (on) set(fields.meant, button.title);
    }
  }
}

const words = (override) => override.replace("_", " ");

// showStrip draws one bar a call, the newest at the right.
function showStrip(strip, calls) {
  if (strip.dataset.calls === calls) return;
  strip.dataset.calls = calls;
  while (strip.children.length < calls.length) strip.append(document.createElement("i"));
  const counts = {};
  [...calls].forEach((letter, i) => {
    if (strip.children[i].className !== letter) strip.children[i].className = letter;
    counts[letter] = (counts[letter] || 0) + 1;
  });
  const parts = Object.entries(counts).map(([letter, n]) => n + " " + letters[letter]);
  strip.setAttribute("aria-label", "The last " + calls.length + " calls: " + parts.join(", "));
}

// showStreak draws how near the breaker is to opening.
function showStreak(pips, c) {
  while (pips.children.length < c.threshold) pips.append(document.createElement("i"));
  [...pips.children].forEach((pip, i) => pip.classList.toggle("on", i < c.streak));
}

// tick shows what moves with time alone.
export function tick(now) {
  cards.forEach(({ element, fields }, i) => {
    const c = circuits[i];
    if (!c || !onScreen.has(element)) return;
    const { state, since, next_probe: next, override } = c.standing;
    set(fields.for, "for " + seconds(now - since));
    if (override === "disabled") {
      set(fields.next, "Disabled: calls go through whatever comes of them");
    } else if (state === "open" && next) {
      const left = Math.max(0, next - now);
      set(fields.next, "Calls are blocked. Next probe in " + seconds(left));
      fields.wait.value = c.open_for > 0 ? 1 - Math.min(1, left / c.open_for) : 1;
    } else if (state === "open") {
      set(fields.next, "Calls are blocked until somebody resets it");
      fields.wait.value = 0;
    } else if (state === "half_open") {
      set(fields.next, "The next call is a probe");
    } else {
      set(fields.next, "Calls go through. " + c.streak + " of " + c.threshold + " failures in a row");
    }
  });
}
