// The alert rules of deploy/prometheus, as they stand.
import { byId, clock, copy, set, setAttribute, whole } from "./text.js";

const order = { firing: 0, pending: 1, inactive: 2 };
const rows = new Map(); // by name
let rules = [];

export function showAlerts(told) {
  rules = told || [];
  const body = byId("alerts");
  for (const rule of rules) {
    let row = rows.get(rule.name);
    if (!row) {
      row = copy("rule");
      rows.set(rule.name, row);
      set(row.fields.name, rule.name);
      set(row.fields.severity, rule.severity);
      set(row.fields.expr, rule.expr);
      set(row.fields.looks, "looks back " + whole(rule.looks_back));
      set(row.fields.waits, rule.for ? "has to hold for " + whole(rule.for) : "fires at once where it holds");
      set(row.fields.of, rule.name + " ");
    }
    setAttribute(row.element, "data-alert", rule.state);
    set(row.fields.state, rule.state);
    const list = row.fields.list, alerts = rule.alerts || [];
    while (list.children.length > alerts.length) list.lastElementChild.remove();
    while (list.children.length < alerts.length) list.append(document.createElement("li"));
    alerts.forEach((alert, i) => set(list.children[i], alert.summary));
    set(row.fields.error, rule.error ? "The last evaluation failed: " + rule.error : "");
  }
  const sorted = rules.map((rule, i) => ({ rule, i })).sort((a, b) => order[a.rule.state] - order[b.rule.state] || a.i - b.i);
  sorted.forEach(({ rule }, i) => {
    const { element } = rows.get(rule.name);
    if (body.children[i] !== element) body.insertBefore(element, body.children[i] || null);
  });
  const count = (state) => rules.filter((rule) => rule.state === state).length;
  set(byId("alerts-summary"), ["firing", "pending", "inactive"].map((state) => count(state) + " " + state).join(", "));
}

// tick tells how long the alerts have been what they are, and how long until they fire.
export function tick(now) {
  for (const rule of rules) {
    const first = rule.alerts && rule.alerts[0];
    let text = "";
    if (first && rule.state === "firing") {
      const fired = rule.alerts.filter((alert) => alert.fired_at).map((alert) => alert.fired_at);
      text = "since " + clock(Math.min(...fired)) + ", for " + whole(now - Math.min(...fired));
    } else if (first) {
      text = "since " + clock(first.since) + ", fires in " + whole(rule.for - (now - first.since));
    }
    set(rows.get(rule.name).fields.since, text);
  }
}
