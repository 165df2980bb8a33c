// The dashboard: draws the state; whatever changes it has it drawn again.

import { cycleTheme, banner, dialog, header, locked, messages, settleDialog, showKeys } from "./shell.js";
import { listenToKeys } from "./keyboard.js";
import { html, render } from "./lit.js";
import { isReady, refresh, stayCurrent } from "./live.js";
import { change, onChange, readAddress, recall, rememberView, state } from "./state.js";
import { activity } from "./views/activity.js";
import { incidents } from "./views/incidents.js";
import { overview } from "./views/overview.js";
import { pools } from "./views/pools.js";
import { protection } from "./views/protection.js";
import { measureTimeline } from "./timeline.js";
import { settleMap } from "./map/view.js";

const SECOND_MS = 1000;
const VIEWS = { overview, incidents, pools, protection, activity };
const TITLES = { overview: "", incidents: "Incidents · ", pools: "Pools · ", protection: "Protection · ", activity: "Activity · " };
const page = document.getElementById("page");

function draw() {
  render(html`
    ${header()}${banner()}
    <main id="main" tabindex="-1" class=${state.link === "lost" ? "stale" : ""} data-view=${state.view.name}>${content()}</main>
    ${footer()}${messages()}${dialog()}`, page);
  settleDialog();
  settleMap();
  measureTimeline();
  const open = state.data.open?.length;
  document.title = `${open ? `(${open}) ` : ""}${TITLES[state.view.name]}ResetLB`;
}

function content() {
  if (state.link === "locked") return locked();
  if (!isReady(state.view.name)) return html`<p class="starting" role="status">${state.link === "lost" ? "There is nothing to show yet." : "Asking the controller…"}</p>`;
  return VIEWS[state.view.name]();
}

const footer = () => html`
  <footer class="foot">
    <span>ResetLB ${state.data.health?.version ?? ""}</span>
    <a href="/openapi/swagger">API</a><a href="/metrics">metrics</a>
  </footer>`;

function follow() {
  change((now) => Object.assign(now.view, readAddress()));
  rememberView();
  refresh();
}

page.replaceChildren();
recall();
rememberView();
onChange(draw);
change(() => {});
addEventListener("hashchange", follow);
addEventListener("resize", () => change(() => {}));
// Ages are in words: they grow while nothing else happens.
setInterval(() => change(() => {}), SECOND_MS);
listenToKeys({
  cycleTheme, showKeys,
  escape: () => change((now) => { now.selected = null; }),
});
stayCurrent();
