"use strict";
// Reads the bundle's own routes and shows them. Paths are relative, so that the page works behind a reverse proxy's prefix.

const PERIOD_MS = 2000;
const TITLES = { http: "HTTP", cstore: "C-STORE", job: "Jobs", other: "Other origins", unknown: "Arrival not seen" };

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(headings, rows) {
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const heading of headings) {
    const cell = element("th", heading);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) line.insertCell().textContent = value;
  }
  return made;
}

function show(id, ...nodes) {
  document.getElementById(id).replaceChildren(...nodes);
}

function readable(value) {
  if (value === null || value === "") return "none";
  if (typeof value === "number") return value.toLocaleString(undefined, { maximumFractionDigits: 2 });
  return String(value);
}

function pairs(object) {
  const simple = Object.entries(object).filter(([, value]) => value === null || typeof value !== "object");
  return table(["", ""], simple.map(([key, value]) => [key.replaceAll("_", " "), readable(value)]));
}

function stages(snapshot) {
  if (snapshot.protocols.length === 0) return [element("p", "No instance was stored yet.", "empty")];
  return snapshot.protocols.flatMap((protocol) => [
    element("h3", `${TITLES[protocol.protocol] ?? protocol.protocol}: ${readable(protocol.instances)} instances`),
    table(
      ["stage", "count", "p50 ms", "p90 ms", "p99 ms", "max ms", "share"],
      protocol.stages.map((stage) => [
        stage.stage,
        readable(stage.count),
        readable(stage.p50_ms),
        readable(stage.p90_ms),
        readable(stage.p99_ms),
        readable(stage.max_ms),
        `${(stage.share * 100).toFixed(1)} %`,
      ]),
    ),
  ]);
}

function transcoding(counters) {
  const rows = Array.isArray(counters) ? counters : counters.counters ?? counters.rows ?? [];
  if (rows.length === 0) return [element("p", "No instance was looked at yet.", "empty")];
  return [table(Object.keys(rows[0]).map((key) => key.replaceAll("_", " ")), rows.map((row) => Object.values(row).map(readable)))];
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path.slice(3)}: HTTP ${answer.status}`);
  return answer.json();
}

const PARTS = {
  deletion: ["../deferred-delete/status", (status) => [pairs(status)]],
  stages: ["../timing/stages", stages],
  transcoding: ["../transcoder/status", transcoding],
  associations: ["../associations/status", (status) => [pairs(status)]],
};

async function refresh() {
  const state = document.getElementById("state");
  try {
    for (const [id, [path, draw]] of Object.entries(PARTS)) {
      const value = await ask(path);
      show(id, ...(value === null ? [element("p", "This section is off in orthanc.json.", "empty")] : draw(value)));
    }
    state.textContent = `As of ${new Date().toLocaleTimeString()}`;
    state.className = "";
  } catch (error) {
    state.textContent = `Orthanc does not answer as expected (${error.message}); the figures below are old.`;
    state.className = "failed";
  }
  setTimeout(refresh, PERIOD_MS);
}

refresh();
