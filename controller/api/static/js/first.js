// Runs before everything else, hence not a module.

// A page that turns dark after a flash of white hurts at night.
const themeKept = localStorage.getItem("resetlb.theme");
if (themeKept === "light" || themeKept === "dark") document.documentElement.dataset.theme = themeKept;

// A module that cannot be loaded says nothing by itself.
addEventListener("error", ({ target }) => {
  if (!(target instanceof HTMLScriptElement)) return;
  document.getElementById("page").textContent =
    "A part of this page is missing. In a checkout its libraries are brought in by: python3 scripts/lib/web/libraries.py";
}, true);
