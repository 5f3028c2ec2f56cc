"use strict";
// The clip explorer: one clip's sounds, their spectrogram, reference and frame scores of every system on one axis of
// time.
(() => {
  const {data, make, watch, bytes, readable, table} = page;
  const {look, sample, plot, colours} = charts;
  const root = document.getElementById("explorer");
  if (!root || !data.clips.length) return;
  const SOUNDS = {mixture: "Mixture", events: "Events only", scene: "Scene only"};
  // a sound that has no log-mel of its own is shown with that of the mixture
  const groups = ({sounds, logmel, separated}) => [
    {title: "Listen to", sounds: Object.keys(SOUNDS).filter((name) => sounds[name]).map((name) =>
      ({value: name, text: SOUNDS[name], title: "mixture", sound: sounds[name], logmel}))},
    ...separated.map(({label, stem, systems}) => ({title: readable(label), sounds: [
      ...(stem ? [{value: `stem ${label}`, text: "Stem", title: `stem of ${readable(label)}`, ...stem}] : []),
      ...systems.map(({row, ...rest}) => ({value: `${row} ${label}`, text: data.rows[row].name,
        title: `${readable(label)} by ${data.rows[row].name}`, ...rest})),
    ]})),
  ];
  const hidden = new Set();
  let clip = data.clips[0];
  let chosen = null;
  let address = null;
  let width = 0;

  const buttons = data.clips.map((each) => make("button", {type: "button", onclick: () => choose(each)},
    `${each.id}, ${each.snr_text}`));
  const about = make("p", {class: "caption", "aria-live": "polite"});
  const sounds = make("div", {class: "sounds"});
  const audio = make("audio", {controls: true, preload: "auto", "aria-label": "Sound of the clip"});
  const systems = make("fieldset", {class: "legend"});
  const playhead = make("div", {class: "playhead", "aria-hidden": "true"});
  const stack = make("div", {class: "stack"});
  const figures = make("div");
  root.append(make("div", {class: "clip-list", role: "group", "aria-label": "Clips"}, ...buttons), about, sounds, audio,
    systems, stack, figures);

  function choose(next) {
    clip = next;
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(data.clips[at] === clip)));
    const events = clip.events.map(({label, onset, offset, snr}) =>
      `${readable(label)} ${onset.toFixed(1)} to ${offset.toFixed(1)} s${snr == null ? "" : ` (${snr > 0 ? "+" : ""}${snr.toFixed(1)} dB)`}`);
    about.textContent = `Clip ${clip.id} of fold ${clip.fold} at ${clip.snr_text}, scene ${readable(clip.scene)}. `
      + (events.length ? `Reference: ${events.join("; ")}.` : "No events.")
      + (clip.separated_left_out ? " Its separated sounds are left out to keep the page small." : "")
      + (clip.stems_left_out ? " Its stems are left out to keep the page small." : "");
    const given = groups(clip);
    sounds.replaceChildren(...given.map((group) => make("fieldset", {}, make("legend", {}, group.title),
      ...group.sounds.map((each) => make("label", {}, make("input", {type: "radio", name: "sound", value: each.value,
        checked: each.value === "mixture", onchange: () => {
          listen(each);
          draw();
        }}), ` ${each.text}`)))));
    sounds.hidden = given.length === 1 && given[0].sounds.length < 2;
    systems.replaceChildren(...(clip.scores.length ? [make("legend", {}, "Systems")] : []), ...clip.scores.map(({row}) =>
      make("label", {}, make("input", {type: "checkbox", checked: !hidden.has(row), onchange: (event) => {
        if (event.target.checked) hidden.delete(row); else hidden.add(row);
        draw();
      }}), sample({...look(row), symbol: "circle"}), data.rows[row].name)));
    listen(given[0].sounds[0], false);
    draw();
  }

  // Another sound of the same clip continues at the same position.
  function listen(next, resume = true) {
    chosen = next;
    const at = resume ? audio.currentTime : 0;
    const playing = resume && !audio.paused;
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([bytes(chosen.sound)], {type: "audio/ogg"}));
    audio.src = address;
    audio.addEventListener("loadedmetadata", () => {
      audio.currentTime = at;
      if (playing) audio.play();
    }, {once: true});
    move();
  }

  function margins() {
    return {marginLeft: width < 560 ? 112 : 170, marginRight: 16};
  }

  function draw() {
    if (!width) return;
    const {marginLeft, marginRight} = margins();
    const letters = width < 560 ? 12 : 22;
    const short = (label) => {
      const text = readable(label);
      return text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
    };
    const shared = {width, marginLeft, marginRight};
    const time = {domain: [0, clip.duration], label: null};
    const image = bytes(chosen.logmel);
    const spectrogram = plot({
      ...shared, height: 190, marginBottom: 8, marginTop: 8,
      ariaLabel: `Log-mel spectrogram of clip ${clip.id}: ${chosen.title}`,
      x: {...time, axis: null},
      y: {domain: [-0.5, clip.bands - 0.5], label: "Hz", ticks: clip.hertz.map(([place]) => place),
        tickFormat: (_, at) => clip.hertz[at][1]},
      color: {scheme: "magma", domain: [clip.loudest - clip.range, clip.loudest]},
      marks: [Plot.raster({length: image.length}, {
        width: clip.frames, height: clip.bands, x1: clip.span[0], x2: clip.span[1], y1: -0.5, y2: clip.bands - 0.5,
        // bytes come frame by frame, a raster's pixels line by line
        fill: Array.from({length: image.length}, (_, at) => {
          const value = image[(at % clip.frames) * clip.bands + Math.floor(at / clip.frames)];
          return clip.loudest + clip.range * (value / 255 - 1);
        }), imageRendering: "pixelated"})],
    });
    const inside = [...new Set(clip.events.map(({label}) => label))];
    const reference = plot({
      ...shared, height: 16 + 22 * Math.max(inside.length, 1), marginTop: 4, marginBottom: 8,
      ariaLabel: `Reference events of clip ${clip.id}`,
      x: {...time, axis: null, grid: true}, y: {domain: inside, label: null, tickFormat: short, tickSize: 0},
      marks: [Plot.gridX(), Plot.barX(clip.events, {x1: "onset", x2: "offset", y: "label", fill: "var(--c0)", inset: 2})],
    });
    const key = colours({scheme: "magma", domain: [clip.loudest - clip.range, clip.loudest], label: "Magnitude (dB)"},
      Math.min(200, width));
    const shown = clip.scores.filter(({row}) => !hidden.has(row));
    const parts = [make("div", {class: "headed"}, make("h3", {}, `Log-mel spectrogram: ${chosen.title}`), key), spectrogram, make("h3", {}, "Reference"), reference];
    if (clip.scores.length) parts.push(make("h3", {}, "Frame scores"), scores(shared, time, shown, short));
    stack.replaceChildren(...parts, playhead);
    figures.replaceChildren(...(clip.scores.length ? [highest()] : []));
    move();
  }

  function unpacked(values) {
    const all = bytes(values);
    return clip.labels.map((_, at) => all.subarray(at * clip.frames, (at + 1) * clip.frames));
  }

  function scores(shared, time, shown, short) {
    const marks = shown.flatMap(({row, values}) => {
      const seen = look(row);
      const points = unpacked(values).flatMap((line, at) => Array.from(line, (value, frame) =>
        ({label: clip.labels[at], time: clip.centre + frame * clip.step, value: value / 255})));
      return [Plot.line(points, {x: "time", y: "value", fy: "label", z: "label", stroke: seen.colour,
        strokeDasharray: seen.dash, strokeWidth: 1.5})];
    });
    return plot({
      ...shared, height: 44 + 64 * clip.labels.length, marginBottom: 36, marginTop: 4,
      ariaLabel: `Frame scores of ${shown.length} systems for ${clip.labels.map(readable).join(", ")}`,
      x: {...time, label: "Time (s)", grid: true}, y: {domain: [0, 1], ticks: [0, 1], tickFormat: String, label: null},
      fy: {domain: clip.labels, label: null, axis: null, padding: 0.28},
      marks: [
        Plot.rect(clip.events, {x1: "onset", x2: "offset", y1: 0, y2: 1, fy: "label", fill: "currentColor",
          fillOpacity: 0.13}),
        Plot.frame({stroke: "var(--line)"}),
        Plot.axisFy({anchor: "left", label: null, tickFormat: short, dx: -22, textAnchor: "end"}),
        ...marks,
      ],
    });
  }

  function highest() {
    const rows = clip.scores.map(({row, values}) => [data.rows[row].name, ...unpacked(values).map((line) => {
      const best = d3.maxIndex(line);
      return `${(line[best] / 255).toFixed(2)} at ${(clip.centre + best * clip.step).toFixed(1)} s`;
    })]);
    const heads = clip.labels.map((label) =>
      `${readable(label)}${clip.events.some((event) => event.label === label) ? "" : " (not in the clip)"}`);
    return table("The highest frame scores as a table", ["System", ...heads], rows);
  }

  function move() {
    const {marginLeft, marginRight} = margins();
    const part = Math.min(audio.currentTime / clip.duration, 1);
    playhead.style.left = `${marginLeft + part * (width - marginLeft - marginRight)}px`;
  }

  function follow() {
    move();
    if (!audio.paused) requestAnimationFrame(follow);
  }

  audio.addEventListener("play", follow);
  for (const name of ["timeupdate", "seeked"]) audio.addEventListener(name, move);
  stack.addEventListener("click", (event) => {
    const {marginLeft, marginRight} = margins();
    const part = (event.clientX - stack.getBoundingClientRect().left - marginLeft) / (width - marginLeft - marginRight);
    if (part >= 0 && part <= 1) audio.currentTime = part * clip.duration;
  });
  choose(clip);
  watch(root, (found) => {
    if (found === width) return;
    width = found;
    draw();
  });
})();
