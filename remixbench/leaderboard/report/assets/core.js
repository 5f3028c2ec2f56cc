"use strict";
// The page's state and its parts that are not charts: theme, tabs, sorting, printing.
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const state = {snr: data.snrs[0], metric: data.metrics.length ? data.metrics[0].name : null};
  const watchers = [];

  // Make an element; text goes in as text, never as markup.
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value != null) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  function set(changes) {
    Object.assign(state, changes);
    for (const watcher of watchers) watcher(state);
  }

  // Call back when what an element can show changes: its width, or the page's state.
  function watch(element, draw) {
    let width = 0;
    const redraw = () => { if (width) draw(width, state); };
    watchers.push(redraw);
    new ResizeObserver(([entry]) => {
      const found = Math.floor(entry.contentRect.width);
      if (found && found !== width) { width = found; redraw(); }
    }).observe(element);
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  function readable(label) {
    return label.replaceAll("_", " ");
  }

  function table(caption, head, rows) {
    return make("details", {class: "figures"}, make("summary", {}, caption),
      make("div", {class: "scroll", role: "region", tabindex: "0", "aria-label": caption},
        make("table", {},
          make("thead", {}, make("tr", {}, ...head.map((text) => make("th", {scope: "col"}, text)))),
          make("tbody", {}, ...rows.map(([first, ...rest]) =>
            make("tr", {}, make("th", {scope: "row"}, first), ...rest.map((text) => make("td", {}, text))))))));
  }

  function theme() {
    const button = document.getElementById("theme");
    const root = document.documentElement;
    const wish = window.matchMedia("(prefers-color-scheme: dark)");
    let chosen = null;
    try { chosen = localStorage.getItem("remixbench-theme"); } catch { /* pages from disk may have no storage */ }
    function show() {
      const dark = chosen ? chosen === "dark" : wish.matches;
      root.dataset.theme = dark ? "dark" : "light";
      button.textContent = dark ? "Light" : "Dark";
      button.setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
    }
    button.hidden = false;
    button.addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("remixbench-theme", chosen); } catch { /* as above */ }
      show();
    });
    wish.addEventListener("change", show);
    show();
    window.addEventListener("beforeprint", () => { root.dataset.theme = "light"; });
    window.addEventListener("afterprint", show);
  }

  function tabs() {
    const list = document.querySelector(".tabs");
    const buttons = [...list.querySelectorAll("[role=tab]")];
    const panels = [...document.querySelectorAll("[role=tabpanel]")];
    list.hidden = buttons.length === 0;
    buttons.forEach((button, at) => {
      button.addEventListener("click", () => set({snr: Number(button.dataset.snr)}));
      button.addEventListener("keydown", (event) => {
        const moves = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1};
        if (!(event.key in moves)) return;
        event.preventDefault();
        const next = buttons[(moves[event.key] + buttons.length) % buttons.length];
        next.focus();
        next.click();
      });
    });
    const show = () => {
      for (const button of buttons) {
        const here = Number(button.dataset.snr) === state.snr;
        button.setAttribute("aria-selected", String(here));
        button.tabIndex = here ? 0 : -1;
      }
      for (const panel of panels) panel.hidden = Number(panel.dataset.snr) !== state.snr;
    };
    watchers.push(show);
    show();
  }

  function sorting() {
    for (const sorted of document.querySelectorAll("table.sortable")) {
      const heads = [...[...sorted.tHead.rows].at(-1).cells];
      heads.forEach((head, column) => {
        const button = make("button", {type: "button"});
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => sort(sorted, heads, head, column));
      });
    }
  }

  // Numbers begin with the best; rows without the metric stay at the end in either direction.
  function sort(sorted, heads, head, column) {
    const number = head.dataset.kind === "number";
    const first = number && !("lower" in head.dataset) ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const key = (row) => {
      const cell = row.cells[column];
      return number ? (cell.dataset.value ? Number(cell.dataset.value) : null) : cell.textContent.trim();
    };
    for (const body of sorted.tBodies) {  // rows that were tested on other clips stay apart
      if (body.classList.contains("heading")) continue;
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (number ? a - b : a.localeCompare(b, "en", {numeric: true}));
      });
      body.append(...rows.map(([, row]) => row));
    }
  }

  function metrics() {
    const select = document.getElementById("metric");
    for (const metric of data.metrics) select.append(make("option", {value: metric.name}, metric.title));
    select.addEventListener("change", () => set({metric: select.value}));
    select.closest(".controls").hidden = data.metrics.length < 2;
  }

  // In print nothing can be unfolded, so the origin of every row is.
  function printing() {
    let opened = [];
    window.addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("#made details:not([open])")];
      for (const details of opened) details.open = true;
    });
    window.addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
  }

  theme();
  tabs();
  sorting();
  metrics();
  printing();
  return {data, state, make, set, watch, bytes, readable, table};
})();
