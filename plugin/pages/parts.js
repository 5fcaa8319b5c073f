// Shows each section from the answers of the bundle's routes.
import { bar, shareBars, waterfall } from "./charts.js";
import { byId, element, empty, show, table, tile } from "./dom.js";
import { duration, milliseconds, number, percent, size, time, words } from "./format.js";

const TITLES = { http: "HTTP", cstore: "C-STORE", job: "Jobs", other: "Other origins", unknown: "Arrival not seen" };
const SLOWEST = 12;

const title = (protocol) => TITLES[protocol] ?? protocol;

export function now(rates, deletions, associations, transcoding, memory) {
  const tiles = [];
  if (rates) tiles.push(tile(`${number(rates.instances, 1)} /s`, "instances stored"), tile(`${size(rates.bytes)}/s`, "received"));
  if (deletions) {
    const waiting = deletions.pending + deletions.claimed + deletions.failed;
    const trouble = deletions.failed + deletions.lost > 0;
    tiles.push(tile(number(waiting, 0), trouble ? "files wait, some failed" : "files wait for deletion", trouble ? "bad" : undefined));
  }
  if (deletions && deletions.free_disk_bytes !== null) tiles.push(tile(size(deletions.free_disk_bytes), "free on the storage disk", deletions.disk_pressure ? "bad" : undefined));
  if (associations) tiles.push(tile(number(associations.open_associations + associations.open_outgoing, 0), "associations open"));
  if (transcoding) {
    const saved = transcoding.reduce((sum, row) => sum + row.bytes_in - row.bytes_out, 0);
    tiles.push(tile(size(saved), "saved by transcoding"));
  }
  if (memory) tiles.push(tile(size(memory.resident_bytes), "memory of Orthanc"));
  show("now", ...tiles);
}

export function ingest(snapshot) {
  const lines = snapshot.protocols.flatMap((protocol) => {
    const stages = protocol.stages.filter((stage) => stage.stage !== "total");
    if (protocol.instances === 0) return [];
    const total = protocol.stages.find((stage) => stage.stage === "total");
    return [{
      label: title(protocol.protocol),
      title: `${number(protocol.instances, 0)} instances`,
      parts: Object.fromEntries(stages.map((stage) => [stage.stage, stage.share])),
      end: milliseconds(total?.p50_ms),
    }];
  });
  show("shares", ...(lines.length ? [...shareBars(lines), element("p", "At the right: the median of an instance's whole time.", "dim")] : [empty("No instance was stored yet.")]));
  show("stages", ...snapshot.protocols.filter((protocol) => protocol.stages.length).map(stageTable));
}

function stageTable(protocol) {
  const made = element("details");
  made.open = document.querySelector(`details[data-key="${CSS.escape(protocol.protocol)}"]`)?.open ?? false;
  made.dataset.key = protocol.protocol;
  const refused = protocol.unfinished ? `, ${number(protocol.unfinished, 0)} refused or unfinished` : "";
  const summary = element("summary", `${title(protocol.protocol)}: ${number(protocol.instances, 0)} instances, ${size(protocol.bytes)}, ${number(protocol.duplicates, 0)} duplicates${refused}`);
  summary.dataset.key = `${protocol.protocol} summary`;
  made.append(summary, table(
    ["stage", "count", "p50", "p90", "p99", "max", "share"],
    protocol.stages.flatMap((stage) => [stageRow(stage.stage, stage), ...stage.steps.map((step) => stageRow(`– ${step.stage}`, step))]),
  ));
  return made;
}

function stageRow(name, stage) {
  return [name, number(stage.count, 0), ...[stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms].map(milliseconds), percent(stage.share)];
}

// The calling AE title of C-STORE, the address of HTTP.
export function clients(snapshot) {
  const rows = snapshot.protocols.flatMap((protocol) => protocol.clients.map((client) => [protocol, client]))
    .sort(([, one], [, other]) => other.instances - one.instances)
    .map(([protocol, client]) => {
      const total = client.stages.find((stage) => stage.stage === "total");
      const parts = Object.fromEntries(client.stages.filter((stage) => stage.stage !== "total").map((stage) => [stage.stage, stage.share]));
      return [client.client || "–", title(protocol.protocol), number(client.instances, 0), milliseconds(total?.p50_ms), milliseconds(total?.p99_ms),
        bar(parts, 1, (value) => percent(value, 0))];
    });
  if (rows.length === 0) return show("clients", empty("No instance was stored yet."));
  return show("clients", table(["sender", "over", "instances", "p50", "p99", "where its time goes"], rows, [0, 1, 5]));
}

export function memory(status) {
  const rows = [["now", size(status.resident_bytes)], ["peak", size(status.peak_resident_bytes)]];
  if (status.heap_free_bytes !== null) {
    rows.push(["free inside malloc's arenas", `${size(status.heap_free_bytes)} in ${number(status.arenas, 0)} arenas${status.malloc_arena_max ? ` (at most ${number(status.malloc_arena_max, 0)})` : ""}`]);
  }
  if (status.trims) rows.push(["given back to the system", `${size(status.trimmed_bytes)} in ${number(status.trims, 0)} trims`]);
  show("memory", table(["", ""], rows));
}

export function guard(status) {
  const refused = Object.entries(status.refused).filter(([, count]) => count > 0);
  const looked = `${number(status.looked_at, 0)} files were looked at.`;
  if (refused.length === 0) return show("guard", element("p", `None. ${looked}`, "dim"));
  return show("guard", table(["reason", "files"], refused.map(([reason, count]) => [reason, number(count, 0)])), element("p", looked, "dim"));
}

export function slowest(instances) {
  if (instances.length === 0) return show("waterfall", empty("No instance was stored yet."));
  const lines = instances.slice(0, SLOWEST).map((instance) => ({
    label: `${time(instance.finished_at)} ${title(instance.protocol)}${instance.client ? ` ${instance.client}` : ""}`,
    title: `${instance.orthanc_id}, ${size(instance.size_bytes)}${instance.outcome ? `, ${words(instance.outcome)}` : ""}`,
    parts: Object.fromEntries(Object.entries(instance.stages).filter(([stage]) => stage !== "wait" && stage !== "response")),
    total: instance.work_ms,
  }));
  return show("waterfall", ...waterfall(lines));
}

export function transcoding(rows) {
  if (rows.length === 0) return show("transcoding", empty("No instance was looked at yet."));
  return show("transcoding", table(
    ["rule", "outcome", "instances", "received", "stored", "saved", "per instance"],
    rows.map((row) => [row.rule, words(row.reason), number(row.count, 0), size(row.bytes_in), size(row.bytes_out),
      row.bytes_in ? percent(1 - row.bytes_out / row.bytes_in) : "–", milliseconds(row.total_ns / row.count / 1e6)]),
    [0, 1],
  ));
}

export function associations(status) {
  if (!status.running) return show("associations", element("p", status.problem || "The watcher is not running.", "warn"));
  const rows = [
    ["open now, incoming", number(status.open_associations, 0)],
    ["open now, outgoing", number(status.open_outgoing, 0)],
    ["seen since start", number(status.associations_seen + status.outgoing_seen, 0)],
    ["stalls of up to 40 ms cured", number(status.acks_forced, 0)],
    ["CPU time of the watcher", duration(status.cpu_seconds)],
  ];
  if (status.problem) rows.push(["problem", status.problem]);
  return show("associations", table(["", ""], rows));
}

export function deletion(status) {
  const waiting = status.pending + status.claimed + status.failed;
  const rate = status.files_per_second;
  const words = byId("deletion-words");
  words.className = `words ${status.failed || status.lost ? "bad" : status.paused ? "warn" : ""}`;
  words.textContent = deletionWords(status, waiting);
  show("deletion", table(["", ""], [
    ["wait", number(status.pending, 0)],
    ["in hand", number(status.claimed, 0)],
    ["failed, will be tried again", number(status.failed, 0)],
    ...(status.in_journal ? [["of these not in the ledger yet", number(status.in_journal, 0)]] : []),
    ...(status.lost ? [["lost, for an audit to find", number(status.lost, 0)]] : []),
    ["oldest", status.oldest_age_s === null ? "–" : duration(status.oldest_age_s)],
    ["rate", rate ? `${number(rate, 0)} files/s` : "–"],
    ["deleted since start", `${number(status.deleted_since_start, 0)} files, ${size(status.freed_bytes_since_start)}`],
    ["free on the storage disk", size(status.free_disk_bytes)],
    ...(status.missing_since_start ? [["gone already", number(status.missing_since_start, 0)]] : []),
  ]));
}

const WAITS = {
  grace: "their grace period is not over", retry: "those that failed are tried again later", schedule: "the schedule is closed",
  trouble: "the disk or the ledger is in trouble", restore: "a restore looks for its files",
};

function deletionWords(status, waiting) {
  if (!status.running) return "The worker is not running: deletions are recorded and wait.";
  if (status.lost) return `The journal had no room for ${number(status.lost, 0)} deletions: an audit finds their files. ${status.last_error ?? ""}`;
  if (status.paused) return `Paused by an operator: ${number(waiting, 0)} files wait, none is deleted.`;
  const pressure = status.disk_pressure ? " The disk is nearly full: schedule and limits are ignored." : "";
  if (status.failed) return `${number(status.failed, 0)} files could not be deleted and will be tried again. Last error: ${status.last_error ?? "–"}${pressure}`;
  if (waiting === 0) return `Nothing waits.${pressure}`;
  if (status.waiting_for) {
    const until = status.waiting_until ? `, until ${time(Date.parse(status.waiting_until) / 1000)}` : "";
    return `${number(waiting, 0)} files wait: ${WAITS[status.waiting_for] ?? status.waiting_for}${until}.${pressure}`;
  }
  const left = status.left_s === null ? "" : `, about ${duration(status.left_s)} left`;
  const yielding = status.yielding_to_ingest ? " Slowly, because instances are being stored." : "";
  return `Deleting: ${number(waiting, 0)} files wait${left}.${yielding}${pressure}`;
}

export function failures(rows) {
  if (rows.length === 0) return show("failures");
  return show("failures", element("h3", "Deletions that failed"), table(
    ["attachment", "error", "attempts", "next"],
    rows.slice(0, 20).map((row) => [row.attachment, row.error ?? "–", number(row.attempts, 0), time(row.next_attempt_at)]),
    [0, 1],
  ));
}
