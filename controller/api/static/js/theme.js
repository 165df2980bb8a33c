// Runs before the first paint, hence not a module: a page that turns dark after a flash of white hurts at night.
const themeKept = localStorage.getItem("resetlb.theme");
if (themeKept === "light" || themeKept === "dark") document.documentElement.dataset.theme = themeKept;
