// What all parts of the page write with. Everything goes into the page as text; nothing is ever markup.

export const names = { closed: "closed", half_open: "half-open", open: "open" };
export const outcomes = ["success", "failure", "blocked", "ignored"]; // in the order of counts and rates
export const letters = { S: "success", F: "failure", B: "blocked", I: "ignored" };

export const byId = (id) => document.getElementById(id);

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// copy makes an element of a template, with its fields by name.
export function copy(template) {
  return withFields(byId(template).content.firstElementChild.cloneNode(true));
}

export function withFields(element) {
  const fields = {};
  for (const field of element.querySelectorAll("[data-field]")) fields[field.dataset.field] = field;
  return { element, fields };
}

export function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export function seconds(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return s.toFixed(1) + " s";
  return whole(ms);
}

// whole is for times in which tenths of a second are of no matter.
export function whole(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s";
  const rest = (n, unit) => (n ? " " + n + " " + unit : "");
  if (s < 3600) return Math.floor(s / 60) + " min" + rest(s % 60, "s");
  return Math.floor(s / 3600) + " h" + rest(Math.floor(s / 60) % 60, "min");
}

export function clock(ms, fraction) {
  const text = new Date(ms).toLocaleTimeString([], { hour12: false });
  return fraction ? text + "." + String(Math.floor(ms % 1000)).padStart(3, "0") : text;
}

// and lists a few names, and counts many.
export function and(list, many) {
  if (list.length > 3) return list.length + " " + many;
  return list.length < 2 ? list.join("") : list.slice(0, -1).join(", ") + " and " + list.at(-1);
}

// visibility tells which elements are on the screen, so that the others need not be drawn.
export function visibility(shown) {
  const seen = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) seen.delete(target);
      else if (!seen.has(target)) {
        seen.add(target);
        shown(target);
      }
    }
  }, { rootMargin: "100px" });
  return { watch: (element) => observer.observe(element), has: (element) => seen.has(element) };
}
