"use strict";
// Runs before anything is painted, so that a dark page does not flash in white.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("remixbench-theme"); } catch { /* pages from disk may have no storage */ }
  const dark = chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
