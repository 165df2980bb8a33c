// What is around every view: header, navigation, what is wrong in words, messages, dialogs.

import { dismiss, isFrozen, toggleFreeze } from "./actions.js";
import { keepToken } from "./api.js";
import { duration, time } from "./format.js";
import { SHORTCUTS } from "./keyboard.js";
import { html, nothing, repeat } from "./lit.js";
import { unlock } from "./live.js";
import { mark } from "./parts.js";
import { address, change, setTheme, state, theme } from "./state.js";

const NAMES = { overview: "Overview", incidents: "Incidents", pools: "Pools", protection: "Protection", activity: "Activity" };
const LINKS = {
  starting: ["none", "connecting", "Asking the controller for the first time."],
  live: ["good", "live", "Events arrive as they happen."],
  polling: ["warn", "polling", "The event stream is not open; the page asks every two seconds."],
  lost: ["bad", "disconnected", "The controller does not answer."],
  locked: ["warn", "locked", "A token is needed."],
};
const THEME_SHAPES = { auto: "M8 2.4a5.6 5.6 0 0 1 0 11.2z", light: "", dark: "M8 2.4a5.6 5.6 0 0 1 0 11.2 5.6 5.6 0 0 1 0-11.2z" };
const THEMES = { auto: ["light", "Theme: as the system"], light: ["dark", "Theme: light"], dark: ["auto", "Theme: dark"] };

export const header = () => html`
  <header class="top">
    <a class="brand" href=${address("overview")}><img src="/assets/icon.svg" alt="" width="22" height="22"><span>ResetLB</span></a>
    <nav aria-label="Views">
      ${Object.entries(NAMES).map(([name, text]) => html`
        <a href=${address(name)} aria-current=${state.view.name === name ? "page" : nothing}>${text}${count(name)}</a>`)}
    </nav>
    <div class="controls">${connection()}${automation()}${themeButton()}
      <button type="button" class="icon keys" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" @click=${showKeys}>?</button>
    </div>
  </header>`;

function count(name) {
  const open = state.data.open?.length;
  return name === "incidents" && open ? html`<span class="count" aria-label="${open} open">${open}</span>` : nothing;
}

function connection() {
  const [kind, word, text] = LINKS[state.link];
  return html`<span class="connection ${state.link}" role="status" title=${text}>${mark(kind)}<span>${word}</span></span>`;
}

function automation() {
  const now = state.data.automation;
  if (!now || state.link === "locked") return nothing;
  const share = now.enforce_percent < 100 ? `, on ${now.enforce_percent} % of incidents` : "";
  return html`
    <span class="automation ${now.mode}" id="automation"><span class="wide">automation </span><b>${now.mode}</b><span class="wide">${share}</span></span>
    <button type="button" id="freeze" class=${isFrozen() ? "primary" : ""} ?disabled=${state.busy.has("freeze")} @click=${toggleFreeze}
      aria-label=${isFrozen() ? "Resume automation" : "Freeze automation"}
      title="Frozen: no automatic action; what was done stays as it is">${isFrozen() ? "Resume" : "Freeze"}</button>`;
}

function themeButton() {
  const [next, text] = THEMES[theme()];
  return html`<button type="button" class="icon" id="theme" aria-label="${text}. Change" title="${text} (t)" @click=${() => setTheme(next)}>
    <svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5.6" fill="none" stroke="currentColor" stroke-width="1.5"/>
      <path d=${THEME_SHAPES[theme()]} fill="currentColor"/></svg>
  </button>`;
}

export const cycleTheme = () => setTheme(THEMES[theme()][0]);

export const showKeys = () => change((now) => { now.dialog = { kind: "keys" }; });

/** What is wrong with what is shown, in words. */
export function banner() {
  if (state.link === "lost") return lost();
  if (state.data.automation?.mode === "frozen") {
    return note("frozen", html`<b>Automation is frozen.</b> Weights, ejections and paths stay as they are; new resets pass to clients. Quarantines still expire, your own changes apply.`);
  }
  if (state.data.automation?.mode === "dry-run") {
    return note("frozen", html`<b>Dry run.</b> Incidents say what would be done; nothing is changed by itself, and resets pass to clients.`);
  }
  const reason = state.data.health?.reason;
  return reason && state.data.health.switches ? note("warn", html`<b>Degraded:</b> ${reason}`) : nothing;
}

const note = (kind, text) => html`<div class="banner ${kind}" role="status"><p>${text}</p></div>`;

function lost() {
  const age = state.at === null ? nothing : html` What is shown is from ${time(state.at)}, ${duration((Date.now() - state.at) / 1000)} ago.`;
  return html`<div class="banner bad" role="alert" id="lost"><p><b>Disconnected, trying again.</b> ${state.why}${age}</p></div>`;
}

/** Shown in place of a view while the controller wants a token. */
export const locked = () => html`
  <form class="card token" id="access" @submit=${giveToken}>
    <h1>A token is needed</h1>
    <p>${state.why || "This controller answers to known callers only."} An administrator makes one:</p>
    <pre><code>resetlb token create NAME --role read</code></pre>
    <label for="token">Access token</label>
    <div class="line"><input id="token" type="password" autocomplete="off" spellcheck="false" required><button class="primary">Use token</button></div>
    <p class="hint">Kept in this browser tab until it is closed. Role <code>admin</code> may also change things.</p>
  </form>`;

function giveToken(event) {
  event.preventDefault();
  keepToken(event.target.querySelector("input").value.trim());
  unlock();
}

export const messages = () => html`
  <div class="toasts" role="status" aria-live="polite">
    ${repeat(state.toasts, (toast) => toast.id, (toast) => html`
      <div class="toast ${toast.tone}">${mark(toast.tone)}<span>${toast.text}</span>
        <button type="button" class="icon" aria-label="Dismiss" @click=${() => dismiss(toast.id)}>×</button></div>`)}
  </div>`;

export const dialog = () => html`
  <dialog id="dialog" aria-labelledby="dialog-title" @close=${closed}>${state.dialog ? CONTENTS[state.dialog.kind](state.dialog) : nothing}</dialog>`;

const CONTENTS = {
  confirm: ({ title, text, yes, then }) => html`
    <h2 id="dialog-title">${title}</h2><p>${text}</p>
    <form method="dialog" class="line end">
      <button value="no">Cancel</button><button class="danger" value="yes" autofocus @click=${then}>${yes}</button>
    </form>`,
  keys: () => html`
    <h2 id="dialog-title">Keyboard</h2>
    <dl class="shortcuts">${SHORTCUTS.map(([keys, text]) => html`<div><dt>${keys.map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${text}</dd></div>`)}</dl>
    <form method="dialog" class="line end"><button autofocus>Close</button></form>`,
};

function closed() {
  change((now) => { now.dialog = null; });
}

/** Opens and closes the element: a modal dialog is a state of its own that no attribute sets. */
export function settleDialog() {
  const element = document.getElementById("dialog");
  if (state.dialog && !element.open) element.showModal();
  if (!state.dialog && element.open) element.close();
}
