// What an operator does here. Each action says what became of it, and the page shows the controller's answer, not a guess.

import { ask } from "./api.js";
import { refresh } from "./live.js";
import { change, state } from "./state.js";

const TOAST_MS = 6000;
let toasts = 0;

export function say(text, tone = "good") {
  const id = (toasts += 1);
  change((now) => { now.toasts = [...now.toasts, { id, text, tone }].slice(-4); });
  setTimeout(() => dismiss(id), tone === "bad" ? 2 * TOAST_MS : TOAST_MS);
}

export function dismiss(id) {
  change((now) => { now.toasts = now.toasts.filter((toast) => toast.id !== id); });
}

/** Runs an action once at a time by `key`; true when it was done. */
async function act(key, done, ...request) {
  if (state.busy.has(key)) return false;
  change((now) => now.busy.add(key));
  try {
    await ask(...request);
    say(done);
    return true;
  } catch (error) {
    say(error.status ? error.message : "The controller does not answer; nothing was changed as far as is known.", "bad");
    return false;
  } finally {
    change((now) => now.busy.delete(key));
    refresh();
  }
}

export const isFrozen = () => state.data.automation?.mode === "frozen";

/** Freezes automation, or lets it act again as it did before. */
export function toggleFreeze() {
  const mode = isFrozen() ? state.modeBefore || "enforce" : "frozen";
  const done = mode === "frozen" ? "Automation is frozen: weights, ejections and paths stay as they are." : `Automation is back: ${mode}.`;
  return act("freeze", done, "/v1/automation", "PUT", { mode });
}

export const label = (id, cause) =>
  act(`label ${id}`, `Incident ${id} is labelled ${cause}; the diagnosis learns from it.`, incident(id, "label"), "POST", { cause });

export function revert(id) {
  confirm({
    title: `Undo what was done about incident ${id}?`,
    text: "Ejections, cut weights, moved paths and quarantines of this incident are taken back now, and automation leaves it alone from then on.",
    yes: "Undo",
    then: () => act(`revert ${id}`, `Incident ${id}: undone.`, incident(id, "revert"), "POST", {}),
  });
}

const incident = (id, what) => `/v1/incidents/${encodeURIComponent(id)}/${what}`;

/** `entry` as QuarantineBody of the API. */
export const quarantine = (entry) =>
  act("quarantine", `${entry.client} is in quarantine for ${entry.ttl_s} s.`, "/v1/quarantine", "POST", entry);

export const release = (entry) =>
  act(`release ${entry.id}`, `${entry.client} is out of quarantine.`, `/v1/quarantine/${encodeURIComponent(entry.id)}`, "DELETE");

export const setAdminState = (pool, member, admin_state) =>
  act(`member ${pool}/${member}`, `${pool}/${member} is ${admin_state}.`,
    `/v1/pools/${encodeURIComponent(pool)}/members/${encodeURIComponent(member)}`, "PATCH", { admin_state });

/** Asks before `then`. */
export function confirm({ title, text, yes, then }) {
  change((now) => { now.dialog = { kind: "confirm", title, text, yes, then }; });
}
