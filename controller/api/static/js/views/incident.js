// One incident: cause with its rivals, evidence for and against, actions; label, undo, freeze.

import { isFrozen, label, revert, toggleFreeze } from "../actions.js";
import { causeClass, causeName, CAUSES, meaning } from "../causes.js";
import { duration, moment, number, percent, shortDpids, since, time, subjectName } from "../format.js";
import { html, nothing, svg } from "../lit.js";
import { bar, cause, empty } from "../parts.js";
import { address, state } from "../state.js";

/** The heaviest evidence fills its bar, unless even that is light. */
const LIGHT = 1;

export function detail(incident) {
  const open = incident.closed === null;
  return html`
    <article class="card detail" id="incident" aria-labelledby="incident-title" data-id=${incident.id}>
      <a class="back" href=${address("incidents")}>‹ all incidents</a>
      <header>
        <p class="line">${cause(incident.cause)}<span class="state ${open ? "open" : ""}">${open ? "open" : "closed"}</span>
          ${incident.label ? html`<span class="quiet">labelled by an operator</span>` : html`<span class="quiet">${percent(incident.confidence)} sure</span>`}</p>
        <h2 id="incident-title">${subjectName(incident.subject)}</h2>
        <p class="quiet">${sentence(incident, open)}</p>
      </header>
      ${operate(incident)}
      ${section("Likely causes", posterior(incident))}
      ${section("Evidence", incident.evidence.length ? evidence(incident.evidence) : empty("No evidence was recorded."))}
      ${section("What was done", incident.actions.length ? actions(incident.actions) : empty(open ? "Nothing yet." : "Nothing.", unacted(incident)))}
    </article>`;
}

const section = (title, content) => html`<section><h3>${title}</h3>${content}</section>`;

function sentence(incident, open) {
  const lasted = open ? `for ${since(incident.opened)}` : `lasted ${duration((Date.parse(incident.closed) - Date.parse(incident.opened)) / 1000)}`;
  return `Incident ${incident.id} · ${number(incident.resets)} resets · since ${moment(incident.opened)}, ${lasted}`;
}

function unacted(incident) {
  if (isFrozen()) return "Automation is frozen.";
  if (["policy", "benign"].includes(incident.cause)) return "Resets of this cause are named, not acted on.";
  return "Automation acts once a cause is likely enough and stays so for a moment.";
}

// --- what an operator can do ---

function operate(incident) {
  const busy = (what) => state.busy.has(`${what} ${incident.id}`);
  const undoable = incident.actions.length > 0 && incident.actions.at(-1).action !== "revert";
  const choose = (event) => {
    event.preventDefault();
    label(incident.id, event.target.elements.cause.value);
  };
  return html`<div class="operate">
    <button type="button" id="revert" ?disabled=${!undoable || busy("revert")} title=${undoable ? "Take back what was done about this incident" : "Nothing was done that could be undone"}
      @click=${() => revert(incident.id)}>Undo actions</button>
    <button type="button" class=${isFrozen() ? "primary" : ""} ?disabled=${state.busy.has("freeze")} @click=${toggleFreeze}>${isFrozen() ? "Resume automation" : "Freeze automation"}</button>
    <form class="line" id="label" @submit=${choose}>
      <label for="cause">The cause was</label>
      <select id="cause" name="cause">
        ${CAUSES.map((name) => html`<option value=${name} ?selected=${name === (incident.label ?? incident.cause)} title=${meaning(name)}>${causeName(name)}</option>`)}
      </select>
      <button ?disabled=${busy("label")}>Label</button>
    </form>
  </div>`;
}

// --- why ---

function posterior(incident) {
  const sorted = Object.entries(incident.posterior).sort((a, b) => b[1] - a[1]);
  return html`<ul class="posterior">${sorted.map(([name, probability]) => html`
    <li class=${causeClass(name)}><span title=${meaning(name)}>${causeName(name)}</span>
      ${bar(probability, 1, { label: `${causeName(name)} ${percent(probability)}`, tone: "own" })}<span class="num">${percent(probability, probability > 0 && probability < 0.1 ? 1 : 0)}</span></li>`)}</ul>`;
}

function evidence(list) {
  const sorted = [...list].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  const heaviest = Math.max(LIGHT, Math.abs(sorted[0].weight));
  return html`<ul class="evidence">${sorted.map((found) => html`
    <li><span class="balance" title="weight ${found.weight}">${balance(found.weight, heaviest)}</span>
      <span>${shortDpids(found.text)}</span><span class="num quiet">${found.weight > 0 ? "+" : ""}${found.weight.toFixed(1)}</span></li>`)}</ul>
    <p class="hint">To the right: speaks for ${list.length ? "the cause" : nothing}; to the left: against it.</p>`;
}

function balance(weight, heaviest) {
  const width = 50 * (Math.abs(weight) / heaviest);
  return html`<svg viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=${weight > 0 ? "for" : "against"}>
    <rect class="bar-track" width="100" height="8"></rect>
    ${svg`<rect class=${weight > 0 ? "for" : "against"} x=${weight > 0 ? 50 : 50 - width} width=${width} height="8"></rect>`}
    <rect class="bar-middle" x="49.6" width="0.8" height="8"></rect></svg>`;
}

const actions = (list) => html`<ol class="actions">${list.map((taken) => html`
  <li><time datetime=${taken.time}>${time(taken.time)}</time><span><b>${taken.action}</b> ${shortDpids(taken.target)}<span class="quiet">${taken.result ? ` · ${shortDpids(taken.result)}` : ""}</span></span></li>`)}</ol>`;
