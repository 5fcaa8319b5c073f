// Asks the bundle's own routes every two seconds and shows the answers. Paths are relative, for the sake of reverse proxies.
import { act, confirmed, post } from "./actions.js";
import { History } from "./charts.js";
import { button, byId, element, show } from "./dom.js";
import { number } from "./format.js";
import * as parts from "./parts.js";

const PERIOD_MS = 2000;
const PATIENCE_MS = 10000;
const PATHS = {
  bundle: "../bundle/status",
  stages: "../timing/stages",
  slowest: "../timing/slowest",
  transcoding: "../transcoder/status",
  associations: "../associations/status",
  deletions: "../deferred-delete/status",
};
const rateChart = new History("rate-chart", ["HTTP", "C-STORE", "other"]);
const pendingChart = new History("pending-chart", ["files"]);
let before = null;
let timer = 0;

// Undefined: this route is not there, because its section is off.
async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 404) return undefined;
  if (!answer.ok) throw new Error(`${path.slice(3)}: HTTP ${answer.status}`);
  return answer.json();
}

function rates(snapshot, seconds) {
  const counted = { at: seconds, since: snapshot.since, http: 0, cstore: 0, other: 0, bytes: 0 };
  for (const protocol of snapshot.protocols) {
    counted[protocol.protocol in counted ? protocol.protocol : "other"] += protocol.instances;
    counted.bytes += protocol.bytes;
  }
  const last = before;
  before = counted;
  // After a reset or a restart of Orthanc the counters begin anew.
  if (last === null || last.since !== counted.since) return null;
  const passed = counted.at - last.at;
  const rate = (name) => Math.max(0, (counted[name] - last[name]) / passed);
  return { http: rate("http"), cstore: rate("cstore"), other: rate("other"), bytes: rate("bytes"), instances: rate("http") + rate("cstore") + rate("other") };
}

function drawIngest(answers, seconds) {
  if (!answers.stages) return null;
  const rate = rates(answers.stages, seconds);
  if (rate) rateChart.add(seconds, [rate.http, rate.cstore, rate.other]);
  parts.ingest(answers.stages);
  parts.slowest(answers.slowest ?? []);
  return rate;
}

function drawDeletion(status, seconds) {
  if (!status) return;
  pendingChart.add(seconds, [status.pending + status.claimed + status.failed + status.unrecorded]);
  parts.deletion(status);
  show("deletion-actions", status.paused
    ? button("Resume", "pause", () => act(() => post("../deferred-delete/resume"), (now) => `Resumed: ${number(now.pending + now.failed, 0)} files wait.`, refresh))
    : button("Pause", "pause", pause));
}

async function pause() {
  const text = "No file is deleted until somebody resumes, also after a restart of Orthanc. Deletions are still recorded, and the disk does not get its space back meanwhile.";
  if (await confirmed("Pause deletions?", text, "Pause")) await act(() => post("../deferred-delete/pause"), () => "Paused. Deletions are recorded and wait.", refresh);
}

function showSections(bundle) {
  const on = new Set(bundle.Sections);
  for (const section of document.querySelectorAll("[data-part]")) section.hidden = !on.has(section.dataset.part);
  byId("ingest-title").parentElement.hidden = !on.has("StageTiming");
  const off = ["DeferredDelete", "IngestTranscoder", "StageTiming", "DicomAssociations"].filter((name) => !on.has(name));
  show("off", element("span", `Bundle ${bundle.Version}.${off.length ? ` Off in orthanc.json: ${off.join(", ")}.` : ""}`));
}

function draw(answers) {
  const seconds = Date.now() / 1000;
  if (answers.bundle) showSections(answers.bundle);
  const rate = drawIngest(answers, seconds);
  drawDeletion(answers.deletions, seconds);
  if (answers.transcoding) parts.transcoding(answers.transcoding);
  if (answers.associations) parts.associations(answers.associations);
  parts.now(rate, answers.deletions, answers.associations, answers.transcoding);
}

async function refresh() {
  clearTimeout(timer);
  const state = byId("state");
  const names = Object.keys(PATHS);
  const results = await Promise.allSettled(names.map((name) => ask(PATHS[name])));
  const answers = Object.fromEntries(names.map((name, at) => [name, results[at].value]));
  const failed = results.filter((result) => result.status === "rejected");
  try {
    draw(answers);
  } catch (error) {
    failed.push({ reason: error });
  }
  state.className = failed.length ? "bad" : "";
  state.textContent = failed.length === 0 ? `As of ${new Date().toLocaleTimeString()}`
    : failed.length === names.length ? "Orthanc does not answer: what is shown is old. Trying again."
      : `Not all could be asked (${failed[0].reason.message}): some of what is shown is old.`;
  clearTimeout(timer);
  // A page in the background costs the server nothing.
  if (!document.hidden) timer = setTimeout(refresh, PERIOD_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
