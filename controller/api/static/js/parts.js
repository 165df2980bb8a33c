// Small pieces that several views are made of.

import { causeClass, causeName, meaning } from "./causes.js";
import { number, shortDpids } from "./format.js";
import { html, nothing, svg } from "./lit.js";

// A mark says by its shape what its colour says.
const SHAPES = {
  good: svg`<circle cx="6" cy="6" r="4.5"/>`,
  warn: svg`<path d="M6 1.2 11.2 10.5H.8z"/>`,
  bad: svg`<rect x="1.5" y="1.5" width="9" height="9" rx="1.5"/>`,
  none: svg`<circle cx="6" cy="6" r="3.8" fill="none" stroke-width="1.6"/>`,
};
const TONES = {
  up: "good", ok: "good", active: "good", degraded: "warn", draining: "warn", down: "bad", disabled: "none", unknown: "none",
};

export const tone = (word) => TONES[word] || "none";

export const mark = (kind) => html`<svg class="mark ${kind}" viewBox="0 0 12 12" aria-hidden="true">${SHAPES[kind]}</svg>`;

/** A mark with its word. */
export const status = (word, kind = tone(word)) => html`<span class="status">${mark(kind)}<span>${word}</span></span>`;

export const cause = (name) =>
  html`<span class="cause ${causeClass(name)}" title=${meaning(name)}><i aria-hidden="true"></i>${causeName(name)}</span>`;

/** A bar of `value` in `whole`; widths are attributes, since the page's own rules forbid inline styles. */
export function bar(value, whole, { label, tone: kind = "accent", ghost = null } = {}) {
  const width = (part) => (whole > 0 ? Math.min(100, Math.max(0, (100 * part) / whole)) : 0);
  return html`<svg class="bar ${kind}" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="bar-track" width="100" height="8"></rect>
    ${ghost === null ? nothing : svg`<rect class="bar-ghost" width=${width(ghost)} height="8"></rect>`}
    <rect class="bar-fill" width=${width(value)} height="8"></rect>
  </svg>`;
}

/** What there is to say when there is nothing to show. */
export const empty = (title, text = nothing, more = nothing) =>
  html`<div class="empty"><p class="empty-title">${title}</p>${text === nothing ? nothing : html`<p>${text}</p>`}${more}</div>`;

export const card = (title, content, { aside = nothing, id = nothing, kind = "" } = {}) => html`
  <section class="card ${kind}" aria-labelledby=${id === nothing ? nothing : `${id}-title`}>
    <header class="card-head"><h2 id=${id === nothing ? nothing : `${id}-title`}>${title}</h2><div class="card-aside">${aside}</div></header>
    ${content}
  </section>`;

/** A choice of a few, as buttons of which one is pressed. */
export const choice = (name, options, chosen, choose) => html`
  <div class="choice" role="group" aria-label=${name}>
    ${options.map(([value, text]) => html`<button type="button" aria-pressed=${value === chosen} @click=${() => choose(value)}>${text}</button>`)}
  </div>`;

/** What an event says, in one line. */
export const eventText = ({ kind, document }) =>
  (kind === "gap" ? "Events were missed here: the controller was restarted, or there were too many." : shortDpids(document.text ?? kind));

export const totalRate = (perKind) => Object.values(perKind).reduce((sum, rate) => sum + rate, 0);

/** Rates by kind as `refused 3.1, aborted by member 0.2`; what is zero is left out. */
export function kinds(perKind) {
  const seen = Object.entries(perKind).filter(([, rate]) => rate > 0);
  return seen.map(([kind, rate]) => `${kind.replaceAll("-", " ")} ${number(rate)}`).join(", ");
}
