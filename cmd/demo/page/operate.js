// Lets an operator take a breaker over. The token stays in its field, and goes nowhere but into the request.
import { byId, set } from "./text.js";
import { circuits } from "./circuits.js";

const form = byId("operate");

const done = {
  force_open: (name) => name + " is forced open",
  disable: (name) => name + " is disabled",
  reset: (name) => name + " is reset, the rules decide again",
};

if (form) form.addEventListener("submit", async (event) => {
  event.preventDefault();
  event.stopImmediatePropagation(); // it is no form that the browser may send
  const action = event.submitter.value;
  const circuit = circuits[Number(form.elements.circuit.value)];
  const order = { action, service: circuit.service, endpoint: circuit.endpoint, reason: form.elements.reason.value };
  if (action !== "reset" && form.elements.for.value) order.for = form.elements.for.value;
  tell("", true);
  try {
    const answer = await fetch("control/circuit-breakers", {
      method: "POST",
      headers: { "Authorization": "Bearer " + form.elements.token.value, "Content-Type": "application/json" },
      body: JSON.stringify(order),
    });
    const said = await answer.json();
    if (answer.ok) {
      tell(done[action](circuit.service) + (said.until ? " until " + new Date(said.until).toLocaleTimeString([], { hour12: false }) : ""), true);
    } else if (answer.status === 401) {
      tell("The token is not good. Nothing was changed.", false);
      form.elements.token.focus();
    } else {
      tell("Nothing was changed: " + said.error, false);
    }
  } catch {
    tell("The demo does not answer, or the token has characters that no token has.", false);
  }
});

function tell(text, good) {
  const place = byId("operated");
  place.classList.toggle("bad", !good);
  set(place, text);
}
