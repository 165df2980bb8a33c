// Single keys, where no field has the focus (WCAG 2.1.4: they do nothing that cannot be undone).

import { go, state, viewNames } from "./state.js";

export const SHORTCUTS = [
  [["1", "…", "5"], "the views, from left to right"],
  [["j", "k"], "next and previous incident, in the list"],
  [["m"], "to the fabric map; arrows walk over it, Enter shows an element"],
  [["t"], "theme: as the system, light, dark"],
  [["Esc"], "close what is open"],
  [["?"], "this list"],
];

export function listenToKeys({ cycleTheme, showKeys, escape }) {
  const plain = {
    t: cycleTheme, "?": showKeys, Escape: escape, j: () => step(1), k: () => step(-1),
    m: () => { go("overview"); requestAnimationFrame(() => document.querySelector("#map [tabindex='0']")?.focus()); },
  };
  viewNames.forEach((name, place) => { plain[String(place + 1)] = () => go(name); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || state.dialog) return;
    if (event.target.closest("input, select, textarea")) return;
    const what = plain[event.key];
    if (what === undefined) return;
    event.preventDefault();
    what();
  });
}

function step(by) {
  const links = [...document.querySelectorAll("a.incident")];
  if (!links.length) return go("incidents");
  const at = links.findIndex((link) => link.getAttribute("aria-current") === "true");
  const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
  next.focus();
  location.hash = next.getAttribute("href");
}
