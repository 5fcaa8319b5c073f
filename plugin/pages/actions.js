// The operator's actions. Each shows its result or its error, and asks first where it cannot be undone.
import { byId } from "./dom.js";

const SHOWN_MS = 12000;
let hide = 0;

export function say(text, bad = false) {
  const place = byId("result");
  place.textContent = text;
  place.className = bad ? "bad" : "";
  place.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { place.hidden = true; }, SHOWN_MS);
}

// Resolves to true where the operator confirms.
export function confirmed(title, text, go) {
  const dialog = byId("dialog");
  byId("dialog-title").textContent = title;
  byId("dialog-text").textContent = text;
  byId("dialog-go").textContent = go;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true });
  });
}

// Orthanc's answer as JSON; throws with Orthanc's message where it refuses.
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: body === undefined ? "" : JSON.stringify(body) });
  } catch (error) {
    throw new Error(`Orthanc does not answer (${error.message}): nothing is known about what was asked for`);
  }
  const text = await answer.text();
  let document = null;
  try { document = JSON.parse(text); } catch { /* an error page of a proxy */ }
  if (!answer.ok) throw new Error(`HTTP ${answer.status}: ${document?.Message ?? (text.slice(0, 200) || answer.statusText)}`);
  return document;
}

// Runs `work`, shows its result or its error, then refreshes the page.
export async function act(work, done, refresh) {
  try {
    say(done(await work()));
  } catch (error) {
    say(error.message, true);
  }
  refresh();
}
