// Studies: deletes them in the background, and restores them while their files are still there.
import { act, confirmed, post } from "./actions.js";
import { button, byId, element, empty, show, table } from "./dom.js";
import { duration, number, size, time } from "./format.js";

const SHOWN = 50;

function progress(done, total) {
  const made = element("progress");
  made.max = Math.max(total, 1);
  made.value = done;
  made.setAttribute("aria-label", `${done} of ${total}`);
  made.title = `${number(done, 0)} of ${number(total, 0)}`;
  return made;
}

function more(list) {
  return list.length > SHOWN ? [element("p", `and ${number(list.length - SHOWN, 0)} more`, "dim")] : [];
}

export function deletions(list, refresh) {
  if (list.length === 0) return show("studies", empty("No study is being deleted in the background."));
  const rows = list.slice(0, SHOWN).map((one) => [
    `${one.level || "not looked at yet"} ${one.id}`,
    one.state,
    progress(one.instances_done, one.instances_total),
    `${number(one.instances_done, 0)} of ${number(one.instances_total, 0)}`,
    one.ended_at ? time(one.ended_at) : one.eta_s === null ? "–" : `${duration(one.eta_s)} left`,
    one.error ?? one.message,
    one.ended_at ? "" : button("Cancel…", `cancel ${one.id}`, () => cancel(one, refresh)),
  ]);
  return show("studies", table(["what", "state", "", "instances", "end", "", ""], rows, [0, 1, 5]), ...more(list));
}

async function cancel(one, refresh) {
  const text = `${number(one.instances_done, 0)} of ${number(one.instances_total, 0)} instances are deleted already and stay deleted. The rest stays in the archive.`;
  if (!await confirmed("Stop this deletion?", text, "Stop")) return;
  await act(() => post("../deferred-delete/studies/cancel", [one.id]), (stopped) => `Stopped. ${stopped[0]?.message ?? ""}`, refresh);
}

export function wireForm(refresh) {
  byId("delete-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = event.target.elements.orthanc_id;
    const text = `${field.value}\n\nAll instances that it has when its turn comes are deleted, a few at a time so that ingest goes on. While their files wait, they can be brought back below; after that they cannot.`;
    if (!await confirmed("Delete in the background?", text, "Delete")) return;
    await act(() => post("../deferred-delete/studies", [field.value]), (answer) => { field.value = ""; return `Accepted: ${answer.message}.`; }, refresh);
  });
}

export function restorable(answer, refresh) {
  const notes = answer.complete ? [] : [element("p", "More files wait that were not looked at yet; the list grows.", "dim")];
  if (answer.studies.length === 0) return show("restorable", ...(notes.length ? notes : [empty("Nothing that was deleted is still on disk.")]));
  const rows = answer.studies.slice(0, SHOWN).map((study) => [
    [study.patient_name || "no name", study.patient_id].filter(Boolean).join(", "),
    [study.study_date, study.modality, study.study_description].filter(Boolean).join(" "),
    `${number(study.instances, 0)}${study.instances_known > study.instances ? ` of ${number(study.instances_known, 0)}` : ""}`,
    size(study.bytes),
    study.restorable_until * 1000 > Date.now() ? time(study.restorable_until) : "going now",
    button("Restore…", `restore ${study.study_instance_uid}`, () => restore(study, refresh)),
  ]);
  return show("restorable", table(["patient", "study", "instances", "size", "safe until", ""], rows, [0, 1]), ...more(answer.studies), ...notes);
}

async function restore(study, refresh) {
  const text = `${study.patient_name || "No name"}, ${study.study_date || "no date"}, ${study.study_description || "no description"}: ${number(study.instances, 0)} instances, ${size(study.bytes)}.\n\n`
    + "They are stored again as if they arrived now: reception dates are new, and rules, scripts and auto-routing run again. Nothing of it is deleted until every instance is proven to be back.";
  if (!await confirmed("Bring this study back?", text, "Restore")) return;
  await act(() => post("../deferred-delete/restore", { StudyInstanceUID: study.study_instance_uid }), (one) => `Restoring. ${one.message ?? ""}`, refresh);
}

export function restores(list, refresh) {
  const rows = list.slice(0, SHOWN).map((one) => [
    one.study_instance_uid,
    one.state,
    one.ended_at ? time(one.ended_at) : "under way",
    one.error ?? one.message,
    restoreButton(one, refresh),
  ]);
  show("restores", ...(rows.length ? [table(["restore of", "state", "end", "", ""], rows, [0, 1, 3]), ...more(list)] : []));
}

function restoreButton(one, refresh) {
  const study = one.study_instance_uid;
  if (!one.ended_at) return button("Cancel…", `cancel restore ${study}`, () => cancelRestore(one, refresh));
  return one.files_held ? button("Give up…", `release ${study}`, () => release(one, refresh)) : "";
}

async function cancelRestore(one, refresh) {
  const text = "What is back in the archive stays. All files that the restore holds, also those that are not back yet, wait for their deletion again: those whose grace period is over go at once.";
  if (!await confirmed("Stop this restore?", text, "Stop")) return;
  await act(() => post("../deferred-delete/restore/cancel", { StudyInstanceUID: one.study_instance_uid }), (stopped) => `Stopped. ${stopped.message}.`, refresh);
}

async function release(one, refresh) {
  const text = `${number(one.files_held, 0)} files are kept because their instances could not be proven to be back in the archive. Giving up deletes them for good.`;
  if (!await confirmed("Give up what is held?", text, "Delete the files")) return;
  await act(() => post("../deferred-delete/restore/release", { StudyInstanceUID: one.study_instance_uid }), (answer) => answer.message, refresh);
}

