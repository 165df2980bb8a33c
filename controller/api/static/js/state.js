// What the page knows. One object, changed by `change` only; whoever draws is called once per frame after a change.

const VIEWS = ["overview", "incidents", "pools", "protection", "activity"];
const PREFERENCES = "resetlb.view";
const EVENTS = "resetlb.events";
const KEPT_EVENTS = 200;

export const state = {
  /** Answers of the API by name (live.js), as they came. */
  data: {},
  /** When all that is shown was last confirmed, ms since the epoch; null before that. */
  at: null,
  /** `starting`, `live`, `polling` (no event stream), `lost`, `locked` (a token is needed). */
  link: "starting",
  /** Why it is lost or locked, in words. */
  why: "",
  events: [],
  lastEventId: null,
  view: { name: "overview", id: null, query: {} },
  preferences: { range: "15m", activity: "events", kind: "", state: "all", rows: "" },
  /** Fields of members over the last minutes, by `pool/member`: what sparklines show. */
  history: new Map(),
  toasts: [],
  dialog: null,
  selected: null,
  span: null,
  width: { timeline: 0 },
  busy: new Set(),
};

let draw = () => {};
let due = false;

export function onChange(drawing) {
  draw = drawing;
}

/** Changes the state by `how`, and has it drawn. */
export function change(how) {
  how(state);
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

// --- the view: in the address, so that it can be sent and survives a reload ---

/** `#/incidents/i3` → {name, id}. What is no view of ours is the overview. */
export function readAddress() {
  const [name, id] = location.hash.replace(/^#\//, "").split("/");
  const known = VIEWS.includes(name);
  return { name: known ? name : VIEWS[0], id: known && id ? decodeURIComponent(id) : null };
}

export function address(name, id = null) {
  return id === null ? `#/${name}` : `#/${name}/${encodeURIComponent(id)}`;
}

export function go(name, id = null) {
  location.hash = address(name, id);
}

export const viewNames = VIEWS;

// --- preferences: in the browser ---

export function prefer(name, value) {
  change((now) => { now.preferences[name] = value; });
  localStorage.setItem(PREFERENCES, JSON.stringify({ ...state.preferences, name: state.view.name }));
}

/** Where the reader was: the address says it, else what was kept. */
export function recall() {
  const kept = parsed(localStorage.getItem(PREFERENCES)) || {};
  for (const name of Object.keys(state.preferences)) {
    if (typeof kept[name] === "string") state.preferences[name] = kept[name];
  }
  if (!location.hash && VIEWS.includes(kept.name)) history.replaceState(null, "", address(kept.name));
  Object.assign(state.view, readAddress());
  const events = parsed(sessionStorage.getItem(EVENTS));
  if (Array.isArray(events?.items)) Object.assign(state, { events: events.items, lastEventId: events.last });
}

export function rememberView() {
  localStorage.setItem(PREFERENCES, JSON.stringify({ ...state.preferences, name: state.view.name }));
}

export function theme() {
  return document.documentElement.dataset.theme || "auto";
}

export function setTheme(wanted) {
  if (wanted === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("resetlb.theme");
  } else {
    document.documentElement.dataset.theme = wanted;
    localStorage.setItem("resetlb.theme", wanted);
  }
  change(() => {});
}

/** Adds an event, newest first; a reload goes on after the last one. */
export function noteEvent(event) {
  change((now) => {
    now.lastEventId = event.id;
    now.events = [event, ...now.events].slice(0, KEPT_EVENTS);
  });
  sessionStorage.setItem(EVENTS, JSON.stringify({ last: state.lastEventId, items: state.events }));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
