"use strict";
// The charts over all systems, drawn by Observable Plot; each has a caption, a description and its values as a table.
const charts = (() => {
  const {data, make, watch, readable, table} = page;
  const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star", "wye"];
  const DASHES = ["none", "6 3", "2 3", "8 3 2 3"];
  const COLOURS = 8;
  const STYLE = {background: "transparent", color: "inherit", fontFamily: "inherit", fontSize: "12px"};

  // How a series looks: colour alone never tells two apart.
  function look(at) {
    return {
      colour: `var(--c${at % COLOURS})`,
      symbol: SYMBOLS[at % SYMBOLS.length],
      dash: DASHES[Math.floor(at / COLOURS) % DASHES.length],
    };
  }

  function sample(seen) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    for (const [key, value] of Object.entries({width: 30, height: 14, "aria-hidden": "true"})) svg.setAttribute(key, value);
    const line = document.createElementNS(space, "line");
    for (const [key, value] of Object.entries({x1: 0, x2: 30, y1: 7, y2: 7, stroke: seen.colour, "stroke-width": 2,
      "stroke-dasharray": seen.dash})) line.setAttribute(key, value);
    const dot = document.createElementNS(space, "path");
    const shape = d3[`symbol${seen.symbol[0].toUpperCase()}${seen.symbol.slice(1)}`];
    for (const [key, value] of Object.entries({d: d3.symbol(shape, 50)(), transform: "translate(15,7)",
      fill: seen.hollow ? "var(--ground)" : seen.colour, stroke: seen.colour})) dot.setAttribute(key, value);
    svg.append(line, dot);
    return svg;
  }

  function legend(series) {
    return make("ul", {class: "legend"}, ...series.map((each) => make("li", {}, sample(each), each.name)));
  }

  function title(metric) {
    return data.metrics.find((each) => each.name === metric).title;
  }

  function decibels(snr) {
    return `${snr} dB`;
  }

  function plot(options) {
    return picture(Plot.plot({style: STYLE, ...options}), options.ariaLabel);
  }

  function colours(options, width) {
    return picture(Plot.legend({color: options, style: STYLE, width, height: 46}), options.label);
  }

  // To a screen reader a chart is one picture with a name; what its parts are called is for style and tests.
  function picture(chart, name) {
    const svg = chart.matches("svg") ? chart : chart.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", name);
    for (const part of svg.querySelectorAll("g[aria-label]")) {
      part.dataset.mark = part.getAttribute("aria-label");
      part.removeAttribute("aria-label");
    }
    return chart;
  }

  function shorten(text, letters) {
    return text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
  }

  function show(id, caption, ...parts) {
    const figure = document.getElementById(id);
    const open = figure.querySelector("details")?.open;
    figure.replaceChildren(make("figcaption", {}, caption), ...parts);
    const details = figure.querySelector("details");
    if (details && open) details.open = true;
  }

  function number(value) {
    return value == null ? "" : value.toFixed(3);
  }

  // Everything that has the metric: [{name, at, points: [{snr, value, low, high}]}], published rows last and hollow.
  function series(metric) {
    const ours = data.rows.map((row, at) => ({
      name: row.name,
      macs: row.macs,
      parameters: row.parameters,
      ...look(at),
      points: row.conditions.filter(({metrics}) => metrics[metric]).map(({snr, metrics}) => ({snr, ...metrics[metric]})),
    }));
    const overall = data.published.filter((each) => each.class == null);
    const names = [...new Set(overall.map(({name}) => name))];
    const published = names.map((name, at) => ({
      name: `${name} (published)`,
      ...look(at),
      hollow: true,
      dash: "1 4",
      points: overall.filter((each) => each.name === name && each.metric === metric),
    }));
    return [...ours, ...published].filter(({points}) => points.length);
  }

  // From the lowest to the highest value that a metric can have, or that is there where it has no such bound.
  function scale(points, metric) {
    const {lower, range: [least, most]} = data.metrics.find((each) => each.name === metric);
    const ends = points.flatMap(({value, low, high}) => [value, low ?? value, high ?? value]);
    const [first, last] = [d3.min(ends) ?? 0, d3.max(ends) ?? 1];
    const room = 0.05 * (last - first || Math.abs(last) || 1);
    const bottom = least === null ? Math.min(0, first - room) : least;
    const top = most === null || lower || last < most / 2 ? Math.max(last + room, bottom + room) : most;
    return [bottom, top];
  }

  function forest(width, {snr, metric}) {
    const rows = series(metric).flatMap((each) =>
      each.points.filter((point) => point.snr === snr).map((point) => ({...each, ...point})));
    if (!rows.length) return show("chart-forest", `No system has ${title(metric)} at ${decibels(snr)}.`);
    const letters = width < 560 ? 18 : 40;
    const names = rows.map((row) => shorten(row.name, letters));
    const chart = plot({
      width,
      marginLeft: 14 + 6.6 * d3.max(names, (name) => name.length),
      marginRight: 24,
      height: 66 + 26 * rows.length,
      marginBottom: 42,
      ariaLabel: `${title(metric)} of every system at ${decibels(snr)}, with 95 % intervals`,
      x: {label: `${title(metric)} at ${decibels(snr)}`, domain: scale(rows, metric), grid: true},
      y: {label: null, domain: d3.range(rows.length), tickFormat: (at) => names[at], tickSize: 0},
      symbol: {legend: false},
      marks: [
        Plot.ruleY(rows.map((row, at) => ({...row, at})).filter((row) => row.low != null),
          {y: "at", x1: "low", x2: "high", stroke: "colour", strokeWidth: 2}),
        Plot.dot(rows, {x: "value", y: (_, at) => at, r: 5, stroke: "colour", strokeWidth: 1.5,
          symbol: "symbol", fill: (row) => row.hollow ? "var(--ground)" : row.colour,
          channels: {system: "name"}, tip: {format: {y: false, x: ".4f", stroke: false, fill: false, symbol: false}}}),
      ],
    });
    show("chart-forest", `${title(metric)} at ${decibels(snr)}; whiskers are 95 % intervals.`, chart);
  }

  function classes(width, {snr}) {
    const rows = data.rows.flatMap((row) => {
      const here = row.conditions.find((each) => each.snr === snr);
      return here && Object.keys(here.ap).length ? [{name: row.name, ap: here.ap}] : [];
    });
    const published = d3.groups(data.published.filter((each) => each.class != null && each.snr === snr), (each) => each.name);
    for (const [name, values] of published) {
      rows.push({name: `${name} (published)`, ap: Object.fromEntries(values.map((each) => [each.class, each.value]))});
    }
    if (!rows.length) return show("chart-classes", `No system has values per class at ${decibels(snr)}.`);
    const labels = d3.groupSort(rows.flatMap((row) => Object.entries(row.ap)),
      (each) => -d3.mean(each, ([, value]) => value), ([label]) => label);
    const cells = rows.flatMap((row, at) =>
      Object.entries(row.ap).map(([label, value]) => ({label, at, system: row.name, value})));
    const letters = width < 560 ? 10 : 26;
    const systems = {label: null, domain: d3.range(rows.length), tickFormat: (at) => shorten(rows[at].name, letters)};
    const kinds = {label: null, domain: labels, tickFormat: readable};
    const longest = d3.max(rows, (row) => Math.min(row.name.length, letters));
    const narrow = width < 700;
    const tip = {format: {x: false, y: false, fill: ".3f"}};
    const shared = {fill: "value", inset: 0.5, tip,
      channels: {class: (cell) => readable(cell.label), system: "system"}};
    const colour = {scheme: "viridis", domain: [0, 1], label: `Average precision at ${decibels(snr)}`};
    const below = 24 + 5.4 * d3.max(labels, (label) => label.length);
    const across = narrow ? {x: "at", y: "label"} : {x: "label", y: "at"};
    const roomy = narrow || width / labels.length > 40;
    const chart = plot({
      width, marginRight: 4, color: colour,
      ariaLabel: `Average precision of every class and system at ${decibels(snr)}`,
      ...(narrow ? {
        marginLeft: 130, marginTop: 20 + 6 * longest, height: 20 + 6 * longest + 20 * labels.length,
        x: {...systems, axis: "top", tickRotate: -90, tickSize: 0}, y: {...kinds, tickSize: 0},
      } : {
        marginLeft: 14 + 6.6 * longest, marginBottom: below, height: below + 10 + 28 * rows.length,
        x: {...kinds, tickRotate: -60, tickSize: 0}, y: {...systems, tickSize: 0},
      }),
      marks: [
        Plot.cell(cells, {...across, ...shared}),
        ...(roomy ? [Plot.text(cells, {...across, text: (cell) => cell.value.toFixed(2), fontSize: 10,
          fill: (cell) => cell.value > 0.6 ? "black" : "white"})] : []),
      ],
    });
    const key = colours(colour, Math.min(width, 260));
    show("chart-classes",
      `Average precision per class at ${decibels(snr)}, from the easiest class to the hardest.`, key, chart,
      table("The values by class as a table", ["Class", ...rows.map(({name}) => name)],
        labels.map((label) => [readable(label), ...rows.map(({ap}) => number(ap[label]))])));
  }

  // Lines through points with whiskers: against noise, and against the size of the training data.
  function lines(width, found, x, metric, label) {
    // points with whiskers stand side by side; published ones have none
    const beside = found.filter((each) => !each.hollow).length;
    const step = Math.min(5, 60 / Math.max(beside, 1));
    const marks = found.flatMap((each, at) => {
      const dx = each.hollow ? 0 : step * (at - (beside - 1) / 2);
      const points = d3.sort(each.points, (point) => point[x.key]);
      return [
        Plot.line(points, {x: x.key, y: "value", stroke: each.colour, strokeWidth: 1.75, strokeDasharray: each.dash, dx}),
        Plot.ruleX(points.filter((point) => point.low != null),
          {x: x.key, y1: "low", y2: "high", stroke: each.colour, strokeOpacity: 0.7, dx}),
        Plot.dot(points, {x: x.key, y: "value", stroke: each.colour, symbol: each.symbol, r: 4, dx,
          fill: each.hollow ? "var(--ground)" : each.colour, title: (point) =>
            `${each.name}\n${x.show(point[x.key])}: ${number(point.value)}${point.low == null ? "" : ` (${number(point.low)} to ${number(point.high)})`}`,
          tip: true}),
      ];
    });
    return plot({
      width: Math.min(width, 860), height: Math.min(420, Math.max(280, width * 0.5)),
      marginLeft: 48, marginRight: 28, marginBottom: 40, marginTop: 28, ariaLabel: label,
      x: x.scale, y: {label: title(metric), domain: scale(found.flatMap(({points}) => points), metric), grid: true},
      marks,
    });
  }

  function tableOf(found, values, key, name, caption) {
    return table(caption, ["System", ...values.map(name)],
      found.map((each) => [each.name, ...values.map((value) => {
        const point = each.points.find((candidate) => candidate[key] === value);
        return point ? number(point.value) : "";
      })]));
  }

  function noise(width, {metric}) {
    const found = series(metric);
    const values = d3.sort(new Set(found.flatMap(({points}) => points.map(({snr}) => snr))));
    if (!found.length) return show("chart-noise", `No system has ${title(metric)}.`);
    const caption = `${title(metric)} by SNR; whiskers are 95 % intervals, and points are drawn side by side.`;
    const x = {key: "snr", show: decibels, scale: {label: "SNR (dB)", ticks: values,
      tickFormat: String, inset: 24, domain: values.length > 1 ? d3.extent(values) : [values[0] - 1, values[0] + 1]}};
    show("chart-noise", caption, legend(found), lines(width, found, x, metric, caption),
      tableOf(found, values, "snr", decibels, "The values by SNR as a table"));
  }

  // Score against the operations of a forward pass: better is up, cheaper is left.
  function cost(width, {snr, metric}) {
    const rows = series(metric).filter(({macs}) => macs).flatMap((each) =>
      each.points.filter((point) => point.snr === snr).map((point) => ({...each, ...point})));
    if (!rows.length) return show("chart-cost", `No system that reports its operations has ${title(metric)} at ${decibels(snr)}.`);
    const count = d3.format(".3s");
    const extent = d3.extent(rows, ({macs}) => macs);
    const caption = `${title(metric)} at ${decibels(snr)} against multiply-accumulate operations (MACs) per clip; whiskers are 95 % intervals.`;
    const chart = plot({
      width: Math.min(width, 860), height: Math.min(420, Math.max(280, width * 0.5)),
      marginLeft: 48, marginRight: 28, marginBottom: 40, marginTop: 28, ariaLabel: caption,
      x: {type: "log", domain: [extent[0] / 1.5, extent[1] * 1.5], label: "MACs per clip", grid: true,
        ticks: width < 560 ? 3 : 6, tickFormat: d3.format("~s")},
      y: {label: title(metric), domain: scale(rows, metric), grid: true},
      symbol: {legend: false},
      marks: [
        Plot.ruleX(rows.filter(({low}) => low != null), {x: "macs", y1: "low", y2: "high", stroke: "colour", strokeOpacity: 0.7}),
        Plot.dot(rows, {x: "macs", y: "value", r: 5, stroke: "colour", fill: "colour", symbol: "symbol", tip: true,
          title: (row) => `${row.name}\n${number(row.value)}, ${count(row.macs)} MACs, ${count(row.parameters ?? 0)} parameters`}),
      ],
    });
    show("chart-cost", caption, legend(rows), chart);
  }

  function size(width, {snr, metric}) {
    const families = d3.groups(data.rows.filter((row) => row.fraction != null), (row) => row.family);
    const found = families.map(([, rows], at) => ({
      // the row that learned from most names the curve
      name: d3.greatest(rows, (row) => row.fraction).name,
      ...look(at),
      points: rows.flatMap((row) => row.conditions.filter((each) => each.snr === snr && each.metrics[metric])
        .map((each) => ({part: 100 * row.fraction, ...each.metrics[metric]}))),
    })).filter(({points}) => new Set(points.map(({part}) => part)).size > 1);
    if (!found.length) {
      return show("chart-size", `No system was trained on several parts of the training clips at ${decibels(snr)}; `
        + "remixbench train --fraction 0.1 0.3 1 does that.");
    }
    const values = d3.sort(new Set(found.flatMap(({points}) => points.map(({part}) => part))));
    const name = (part) => `${part} %`;
    const caption = `${title(metric)} at ${decibels(snr)} by the part of the training clips that was used.`;
    const x = {key: "part", show: name, scale: {label: "Part of the training clips (%)", type: "log", ticks: values,
      tickFormat: String, inset: 24}};
    show("chart-size", caption, legend(found), lines(width, found, x, metric, caption),
      tableOf(found, values, "part", name, "The values by training size as a table"));
  }

  function learning(width, {snr}) {
    const curves = data.curves.filter((curve) => curve.snr === snr);
    if (!curves.length) return show("chart-learning", `No run at ${decibels(snr)} has a history.`);
    const found = [...new Set(curves.map(({row}) => row))].map((row) => ({name: data.rows[row].name, ...look(row), row}));
    const longest = d3.max(curves, (curve) => curve.epochs.at(-1));
    const panels = [["validation_micro_ap", "test_micro_ap"], ["loss"]].map((names) => {
      const label = names[0] === "loss" ? "Training loss" : "micro-AP";
      const marks = curves.flatMap((curve) => {
        const seen = look(curve.row);
        const values = names.map((name) => curve[name]).find((each) => each.some((value) => value != null)) ?? [];
        const points = curve.epochs.map((epoch, at) => ({epoch, value: values[at]})).filter(({value}) => value != null);
        const text = `${data.rows[curve.row].name}, fold ${curve.fold}, seed ${curve.seed}`;
        return [
          Plot.line(points, {x: "epoch", y: "value", stroke: seen.colour, strokeDasharray: seen.dash}),
          Plot.dot(points.filter(({epoch}) => epoch === curve.epoch), {x: "epoch", y: "value", fill: seen.colour,
            stroke: seen.colour, symbol: seen.symbol, r: 4, tip: true, title: (point) => `${text}\nepoch ${point.epoch}: ${number(point.value)}`}),
        ];
      });
      return plot({
        width: Math.min(width, 1200) > 860 ? (Math.min(width, 1200) - 20) / 2 : width, height: 310, marginLeft: 52, marginBottom: 42, marginTop: 28,
        ariaLabel: `${label} by epoch, every run at ${decibels(snr)}`,
        x: {label: "Epoch", tickFormat: "d", ticks: Math.max(1, Math.min(8, longest - 1))}, y: {label, grid: true, zero: true}, marks,
      });
    });
    const kept = curves.map((curve) => [data.rows[curve.row].name, String(curve.fold), String(curve.seed),
      String(curve.epochs.length), String(curve.epoch), number(curve.loss.at(-1))]);
    show("chart-learning",
      `Every run at ${decibels(snr)}: micro-AP on the clips used to choose the epoch, and training loss; the marker is the epoch kept.`,
      legend(found), make("div", {class: "pair"}, ...panels),
      table("The runs as a table", ["System", "Fold", "Seed", "Epochs", "Epoch kept", "Last loss"], kept));
  }

  if (data.metrics.length && data.rows.length) {
    const drawn = {forest, cost, classes, noise, size, ...(data.curves.length ? {learning} : {})};
    for (const [name, draw] of Object.entries(drawn)) {
      const figure = document.getElementById(`chart-${name}`);  // sections without content are left out
      if (figure) watch(figure, draw);
    }
  }
  return {look, sample, plot, colours};
})();
