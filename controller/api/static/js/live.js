// Keeps the state current: asks for what the view shows every two seconds and whenever an event says that something changed.

import { ask, forgetToken, hasToken, Refused } from "./api.js";
import { change, noteEvent, state } from "./state.js";
import { follow } from "./stream.js";

const REFRESH_MS = 2000;
const AFTER_EVENT_MS = 120;
const RETRY_MS = [1000, 2000, 4000, 8000];
const HISTORY = 60;

export const RANGES = {
  "5m": { label: "5 min", bin_s: 5, bins: 60 },
  "15m": { label: "15 min", bin_s: 10, bins: 90 },
  "1h": { label: "1 h", bin_s: 60, bins: 60 },
  "6h": { label: "6 h", bin_s: 300, bins: 72 },
};

const SOURCES = {
  health: () => "/v1/health",
  automation: () => "/v1/automation",
  open: () => "/v1/incidents?state=open&limit=200",
  incidents: () => "/v1/incidents?limit=200",
  pools: () => "/v1/pools?limit=1000",
  vips: () => "/v1/vips?limit=1000",
  topology: () => "/v1/topology",
  timeline: ({ bin_s, bins } = RANGES[state.preferences.range] || RANGES["15m"]) => `/v1/resets/timeline?bin_s=${bin_s}&bins=${bins}`,
  quarantine: () => "/v1/quarantine?limit=1000",
  rules: () => "/v1/firewall/rules?limit=1000",
  firewall: () => "/v1/firewall/default",
  audit: () => "/v1/audit?limit=100",
  resets: () => "/v1/resets?limit=100",
};
const ALWAYS = ["health", "automation", "open"];
const SHOWN = {
  overview: ["pools", "vips", "topology", "timeline", "quarantine"],
  incidents: ["incidents"],
  pools: ["pools", "vips"],
  protection: ["quarantine", "rules", "firewall", "vips"],
  activity: ["audit", "resets"],
};

let timer = 0;
let failures = 0;
let running = false;
let again = false;

/** Whether there is an answer for everything that a view shows. */
export const isReady = (view) => [...ALWAYS, ...SHOWN[view]].every((name) => name in state.data);

/** Starts, and goes on as long as the page is there. */
export function stayCurrent() {
  refresh();
  listen();
  document.addEventListener("visibilitychange", () => {
    // A browser has six connections to a server: a stream nobody looks at would take one of them for good.
    if (document.hidden) stream.abort();
    else refresh();
  });
}

/** Asks for everything that is shown; a call during a call is made up for after it. */
export async function refresh() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  clearTimeout(timer);
  try {
    const names = [...ALWAYS, ...SHOWN[state.view.name]];
    const answers = await Promise.all(names.map((name) => ask(SOURCES[name]())));
    failures = 0;
    change((now) => take(now, names, answers));
  } catch (error) {
    failures += 1;
    change((now) => explain(now, error));
  }
  running = false;
  const wait = failures ? RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] : again ? AFTER_EVENT_MS : REFRESH_MS;
  again = false;
  // A hidden page asks for nothing; it goes on when it is seen again.
  if (state.link !== "locked") timer = setTimeout(() => { if (!document.hidden) refresh(); }, wait);
}

/** After a token was given: everything anew. */
export function unlock() {
  change((now) => Object.assign(now, { link: "starting", why: "" }));
  refresh();
}

function take(now, names, answers) {
  names.forEach((name, place) => { now.data[name] = answers[place].items ?? answers[place]; });
  now.at = Date.now();
  now.why = "";
  now.link = { null: "starting", true: "live", false: "polling" }[streaming];
  if (now.data.automation.mode !== "frozen") now.modeBefore = now.data.automation.mode;
  if (names.includes("pools")) remember(now);
}

function explain(now, error) {
  if (error instanceof Refused && error.status === 401) {
    now.why = hasToken() ? "The controller does not know this token (any more)." : "";
    forgetToken();
    now.link = "locked";
  } else if (error instanceof Refused) {
    Object.assign(now, { link: "lost", why: `The controller refused: ${error.message}` });
  } else {
    Object.assign(now, { link: "lost", why: "The controller does not answer. Flows stay on the switches; traffic goes on." });
  }
}

/** A short history of each member, for sparklines. */
function remember(now) {
  const present = new Set();
  for (const pool of now.data.pools) {
    for (const member of pool.members) {
      const name = `${pool.name}/${member.name}`;
      present.add(name);
      const points = now.history.get(name) || [];
      points.push({ at: now.at, weight: member.effective_weight, rate: member.connections_per_s });
      now.history.set(name, points.slice(-HISTORY));
    }
  }
  for (const name of now.history.keys()) if (!present.has(name)) now.history.delete(name);
}

// --- the event stream ---

let stream = new AbortController();
/** Whether events arrive; null until that was tried. */
let streaming = null;

async function listen() {
  for (let tries = 0; ; tries += 1) {
    if (state.link !== "locked" && !document.hidden) {
      stream = new AbortController();
      try {
        await follow(state.lastEventId, stream.signal, {
          opened: () => { streaming = true; tries = 0; refresh(); },
          heard: (event) => { noteEvent(event); soon(); },
        });
      } catch {
        // Why is told by the next question that goes unanswered.
      }
      const changed = streaming !== false;
      streaming = false;
      if (changed && !document.hidden) refresh();
    }
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]); });
  }
}

let eventTimer = 0;

/** A burst of events is one change. */
function soon() {
  clearTimeout(eventTimer);
  eventTimer = setTimeout(refresh, AFTER_EVENT_MS);
}
