// What happened: events as they come, sampled resets, and who changed what.

import { moment, time } from "../format.js";
import { html, nothing, repeat } from "../lit.js";
import { card, cause, choice, empty, eventText } from "../parts.js";
import { address, prefer, state } from "../state.js";

const LISTS = [["events", "Events"], ["resets", "Resets"], ["audit", "Audit log"]];
const TONES = {
  incident: "bad", eject: "bad", ejected: "bad", quarantine: "warn", link: "warn", spoof: "bad", "switch-error": "bad",
  readmit: "good", weight: "good", gap: "warn",
};

export function activity() {
  const shown = LISTS.some(([name]) => name === state.preferences.activity) ? state.preferences.activity : "events";
  return html`<h1 class="sr">Activity</h1>
    ${card("Activity", { events, resets, audit }[shown](), { aside: html`${choice("List", LISTS, shown, (name) => prefer("activity", name))}`, id: "activity" })}`;
}

function filter(placeholder) {
  return html`<div class="filter"><label class="sr" for="filter">Filter</label>
    <input id="filter" type="search" placeholder=${placeholder} .value=${state.preferences.rows} @input=${(event) => prefer("rows", event.target.value)}></div>`;
}

/** Rows in which every word of the filter occurs somewhere. */
function matching(rows, text) {
  const words = state.preferences.rows.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => words.every((word) => text(row).toLowerCase().includes(word)));
}

function events() {
  const found = matching(state.events, (event) => `${event.kind} ${event.document.text ?? ""}`);
  return html`${filter("Filter events: eject, web-1, 10.0.1.2 …")}
    ${found.length ? html`<ol class="log">${repeat(found, (event) => event.id, (event) => html`
      <li><time datetime=${event.document.time ?? nothing}>${event.document.time ? time(event.document.time) : ""}</time>
        <span class="kind ${TONES[event.kind] || "none"}">${event.kind}</span><span>${words(event)}</span></li>`)}</ol>`
      : empty(state.events.length ? "No event has these words." : "No event since this page was opened.", "Incidents, members, links, quarantines and switches report here as they change.")}`;
}

function words(event) {
  const { kind, document } = event;
  const incident = document.incident ?? (kind === "incident" ? document.id : null);
  return html`${eventText(event)}${incident ? html` <a href=${address("incidents", incident)}>${incident}</a>` : nothing}`;
}

function resets() {
  const all = state.data.resets || [];
  const found = matching(all, (reset) => Object.values(reset).join(" "));
  return html`${filter("Filter resets: refused, 10.0.1.3, web/web-1 …")}
    ${found.length ? html`<div class="scroll"><table class="rows" id="reset-rows">
      <thead><tr><th scope="col">Time</th><th scope="col">VIP</th><th scope="col">Client</th><th scope="col">Member</th><th scope="col">Sender</th><th scope="col">Stage</th><th scope="col">Kind</th><th scope="col">Entered at</th><th scope="col">Cause</th></tr></thead>
      <tbody>${repeat(found, (reset) => reset.serial, (reset) => html`<tr>
        <th scope="row" class="nowrap">${moment(reset.time)}</th><td data-label="VIP">${reset.vip ?? "–"}</td><td data-label="Client" class="mono">${reset.client}:${reset.client_port}</td>
        <td data-label="Member">${reset.member ?? "–"}</td><td data-label="Sender">${reset.sender}</td><td data-label="Stage">${reset.stage}</td><td data-label="Kind">${reset.kind}</td>
        <td data-label="Entered at" class="mono">${reset.entry_port ?? "–"}</td><td data-label="Cause">${reset.cause ? cause(reset.cause) : "–"}</td></tr>`)}</tbody></table></div>
      <p class="hint">The last ${all.length} that were sampled; exact counts are in the metrics.</p>`
      : empty(all.length ? "No reset has these words." : "No reset was seen yet.")}`;
}

function audit() {
  const all = state.data.audit || [];
  const found = matching(all, (entry) => `${entry.actor} ${entry.action} ${entry.target} ${JSON.stringify(entry.detail)}`);
  return html`${filter("Filter changes: token name, quarantine, policy …")}
    ${found.length ? html`<div class="scroll"><table class="rows" id="audit-rows">
      <thead><tr><th scope="col">Time</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Target</th><th scope="col">Detail</th></tr></thead>
      <tbody>${repeat(found, (entry) => entry.id, (entry) => html`<tr>
        <th scope="row" class="nowrap">${moment(entry.time)}</th><td data-label="Who">${entry.actor}</td><td data-label="What">${entry.action}</td><td data-label="Target">${entry.target}</td>
        <td data-label="Detail" class="detail-cell">${detail(entry.detail)}</td></tr>`)}</tbody></table></div>`
      : empty(all.length ? "No change has these words." : "Nobody has changed anything yet.")}`;
}

function detail(given) {
  const text = JSON.stringify(given ?? {});
  return text === "{}" ? "" : html`<code>${text.length > 160 ? `${text.slice(0, 160)}…` : text}</code>`;
}
