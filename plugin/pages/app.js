// Requests the bundle's routes every two seconds and shows the answers. Paths are relative because of reverse proxies.
import { act, confirmed, post } from "./actions.js";
import { History } from "./charts.js";
import { button, byId, element, show } from "./dom.js";
import { number } from "./format.js";
import * as parts from "./parts.js";
import * as studies from "./studies.js";

const PERIOD_MS = 2000;
const PATIENCE_MS = 10000;
// By the section that answers; those that are off are not requested.
const PATHS = {
  stages: ["StageTiming", "../timing/stages"],
  slowest: ["StageTiming", "../timing/slowest"],
  memory: ["StageTiming", "../timing/memory"],
  guard: ["IngestGuard", "../guard/status"],
  transcoding: ["IngestTranscoder", "../transcoder/status"],
  associations: ["DicomAssociations", "../associations/status"],
  deletions: ["DeferredDelete", "../deferred-delete/status"],
  failures: ["DeferredDelete", "../deferred-delete/failures"],
  studies: ["DeferredDelete", "../deferred-delete/studies"],
  restorable: ["DeferredDelete", "../deferred-delete/studies/deleted"],
  restores: ["DeferredDelete", "../deferred-delete/restore"],
};
const rateChart = new History("rate-chart", ["HTTP", "C-STORE", "other"]);
const pendingChart = new History("pending-chart", ["files"]);
let bundle = null;
let before = null;
let timer = 0;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) {
    const told = await answer.json().catch(() => null); // null: an error page of a proxy
    throw new Error(`${path.slice(3)}: HTTP ${answer.status}${told?.Message ? `, ${told.Message}` : ""}`);
  }
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
  parts.clients(answers.stages);
  parts.slowest(answers.slowest ?? []);
  return rate;
}

function drawDeletion(status, seconds) {
  if (!status) return;
  pendingChart.add(seconds, [status.pending + status.claimed + status.failed]);
  parts.deletion(status);
  show("deletion-actions", ...deletionButtons(status));
}

function deletionButtons(status) {
  const buttons = [status.paused
    ? button("Resume", "pause", () => act(() => post("../deferred-delete/resume"), (now) => `Resumed: ${number(now.pending + now.failed, 0)} files wait.`, refresh))
    : button("Pause", "pause", pause)];
  if (status.pending > 0 && !status.draining_now) buttons.push(button("Drain now…", "drain", () => drain(status)));
  if (status.failed > 0) {
    buttons.push(button("Retry failures", "retry", () => act(() => post("../deferred-delete/retry"), () => "What failed is tried again now.", refresh)));
  }
  return buttons;
}

async function drain(status) {
  const text = `${number(status.pending, 0)} files that wait are deleted now, without their grace period and outside the schedule. Studies among them can no longer be brought back.`;
  if (await confirmed("Delete what waits now?", text, "Drain now")) await act(() => post("../deferred-delete/drain"), () => "Draining: the grace period of what waits is over.", refresh);
}

async function pause() {
  const text = "No file is deleted until somebody resumes, also after a restart of Orthanc. Deletions are still recorded, and the disk does not get its space back meanwhile.";
  if (await confirmed("Pause deletions?", text, "Pause")) await act(() => post("../deferred-delete/pause"), () => "Paused. Deletions are recorded and wait.", refresh);
}

function showSections(bundle) {
  const on = new Set(bundle.Sections);
  for (const section of document.querySelectorAll("[data-part]")) section.hidden = !on.has(section.dataset.part);
  byId("ingest-title").parentElement.hidden = !on.has("StageTiming");
  const off = ["DeferredDelete", "IngestTranscoder", "IngestGuard", "StageTiming", "DicomAssociations"].filter((name) => !on.has(name));
  show("off", element("span", `Bundle ${bundle.Version}.${off.length ? ` Off in orthanc.json: ${off.join(", ")}.` : ""}`));
}

function draw(answers) {
  const seconds = Date.now() / 1000;
  const rate = drawIngest(answers, seconds);
  drawDeletion(answers.deletions, seconds);
  if (answers.failures) parts.failures(answers.failures);
  if (answers.studies) studies.deletions(answers.studies, refresh);
  if (answers.restores) studies.restores(answers.restores, refresh);
  if (answers.restorable) studies.restorable(answers.restorable, refresh);
  if (answers.transcoding) parts.transcoding(answers.transcoding);
  if (answers.associations) parts.associations(answers.associations);
  if (answers.memory) parts.memory(answers.memory);
  if (answers.guard) parts.guard(answers.guard);
  parts.now(rate, answers.deletions, answers.associations, answers.transcoding, answers.memory);
}

// Shows every section that is on; one that fails does not hide the others. Returns the errors.
async function askAll() {
  if (bundle === null) {
    bundle = await ask("../bundle/status");
    showSections(bundle);
  }
  const names = Object.keys(PATHS).filter((name) => bundle.Sections.includes(PATHS[name][0]));
  const results = await Promise.allSettled(names.map((name) => ask(PATHS[name][1])));
  draw(Object.fromEntries(names.map((name, at) => [name, results[at].value])));
  const reasons = results.filter((result) => result.status === "rejected").map((result) => result.reason.message);
  if (names.length > 0 && reasons.length === names.length) throw new Error(reasons[0]);
  return reasons;
}

async function refresh() {
  clearTimeout(timer);
  const state = byId("state");
  try {
    const reasons = await askAll();
    state.className = reasons.length ? "bad" : "";
    state.textContent = reasons.length ? `Not all could be asked (${reasons[0]}): some of what is shown is old.` : `As of ${new Date().toLocaleTimeString()}`;
  } catch {
    bundle = null; // its configuration may be another when it is back
    state.className = "bad";
    state.textContent = "Orthanc does not answer: what is shown is old. Trying again.";
  }
  clearTimeout(timer);
  // A page in the background sends no requests.
  if (!document.hidden) timer = setTimeout(refresh, PERIOD_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
studies.wireForm(refresh);
refresh();
