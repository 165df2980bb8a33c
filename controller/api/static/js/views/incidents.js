// Incidents: the list, and one of them with its evidence, what was done, and what an operator can do.

import { html, nothing, repeat } from "../lit.js";
import { moment, plural, since, subjectName } from "../format.js";
import { card, cause, choice, empty } from "../parts.js";
import { address, prefer, state } from "../state.js";
import { detail } from "./incident.js";

const FILTERS = [["all", "all"], ["open", "open"], ["closed", "closed"]];

export function incidents() {
  const all = state.data.incidents;
  const wanted = state.preferences.state;
  const listed = all.filter((incident) => wanted === "all" || (wanted === "open") === (incident.closed === null));
  const chosen = all.find((incident) => incident.id === state.view.id) || null;
  return html`<h1 class="sr">Incidents</h1>
    <div class="split ${state.view.id ? "has-chosen" : ""}">
      ${card("Incidents", listed.length
        ? html`<ul class="list">${repeat(listed, (incident) => incident.id, (incident) => html`<li>${line(incident, chosen)}</li>`)}</ul>`
        : empty(all.length ? "None of these." : "No incident yet.", all.length ? nothing : "One opens when resets go beyond what is normal for a member, client, link or rule."),
      { aside: choice("Which", FILTERS, wanted, (value) => prefer("state", value)), id: "incidents", kind: "master" })}
      ${chosen ? repeat([chosen], (incident) => incident.id, detail) : state.view.id ? gone(state.view.id) : nobody(listed)}
    </div>`;
}

function line(incident, chosen) {
  return html`<a class="incident ${incident.closed === null ? "open" : ""}" href=${address("incidents", incident.id)} aria-current=${incident === chosen ? "true" : nothing}>
    <span class="line">${cause(incident.cause)}<span class="quiet end">${incident.closed === null ? html`open ${since(incident.opened)}` : moment(incident.opened)}</span></span>
    <b>${subjectName(incident.subject)}</b>
    <span class="quiet">${incident.id} · ${plural(incident.resets, "reset")} · ${incident.label ? "labelled" : `${Math.round(100 * incident.confidence)} % sure`}</span></a>`;
}

const nobody = (listed) => html`<div class="card detail wide">${empty(listed.length ? "Choose an incident." : "Nothing to show.", listed.length ? "j and k walk through the list." : nothing)}</div>`;

const gone = (id) => html`<div class="card detail">${empty(`There is no incident ${id} (any more).`, html`<a href=${address("incidents")}>All incidents</a>`)}</div>`;
