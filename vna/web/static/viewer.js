// The built-in viewer: one study, one series at a time, one picture on the screen.

import { date, framesPerSecond, inOrder, number, text, time } from "./viewer-dicom.js";
import { ask, Frames, Problem } from "./viewer-pixels.js";
import { Screen } from "./viewer-screen.js";

const JSON_TYPE = "application/dicom+json";
const AHEAD = 6;
const NO_PICTURE = new Set(["SR", "KO", "PR", "DOC", "AU", "REG", "RTPLAN", "RTSTRUCT", "RTRECORD", "PLAN", "FID", "RWV", "ECG", "HD", "ANN"]);
const CT = [["Soft tissue", 40, 400], ["Lung", -600, 1500], ["Bone", 480, 2500], ["Brain", 40, 80], ["Mediastinum", 50, 350], ["Liver", 60, 160], ["Vessels", 300, 600]];

const by = (id) => document.getElementById(id);
const stage = by("stage");
const screen = new Screen(stage, by("picture"));
const frames = new Frames();
const query = new URLSearchParams(location.search);
const study = query.get("study") ?? "";
const root = `/dicom-web/studies/${encodeURIComponent(study)}`;
const seriesRoot = (uid) => `${root}/series/${encodeURIComponent(uid)}`;

// What is shown. The window is null while each picture has its own.
const state = { series: [], uid: "", pictures: [], at: 0, window: null, inverted: false, tool: "window", turn: 0, shown: null, playing: 0 };

// ---- series

async function listSeries() {
  const fields = "includefield=0008103E&includefield=00180015&includefield=00200011&limit=1000";
  const answer = await ask(`${root}/series?${fields}`, JSON_TYPE);
  const found = answer.status === 204 ? [] : await answer.json();
  const rank = (one) => number(one, "00200011", 1e9);
  state.series = found.sort((a, b) => rank(a) - rank(b));
  by("series").replaceChildren(...state.series.map(tile));
  mark();
}

function tile(data) {
  const uid = text(data, "0020000E");
  const modality = text(data, "00080060");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.uid = uid;
  const thumb = document.createElement("span");
  thumb.className = "thumb";
  if (NO_PICTURE.has(modality)) thumb.textContent = modality;
  else {
    const image = new Image();
    image.loading = "lazy";
    image.alt = "";
    image.draggable = false;
    image.addEventListener("error", () => thumb.replaceChildren(modality || "?"));
    image.src = `${seriesRoot(uid)}/thumbnail`;
    thumb.append(image);
  }
  const line = (name, content) => {
    const made = document.createElement("span");
    made.className = name;
    made.textContent = content;
    return made;
  };
  const name = text(data, "0008103E") || text(data, "00180015") || "No description";
  const count = number(data, "00201209", 0);
  button.title = name;
  button.append(thumb, line("name", name), line("count", [text(data, "00200011") && `${text(data, "00200011")} · `, modality, ` · ${count}`].join("")));
  button.addEventListener("click", () => open(uid));
  return button;
}

function mark() {
  for (const button of by("series").children) button.setAttribute("aria-current", String(button.dataset.uid === state.uid));
  by("series").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function open(uid) {
  if (uid === state.uid) return;
  stop();
  const turn = ++state.turn;
  frames.forget();
  Object.assign(state, { uid, pictures: [], at: 0, window: null, inverted: false, shown: null });
  screen.reset();
  mark();
  query.set("series", uid);
  history.replaceState(null, "", `?${query}`);
  say(null);
  wait(true);
  try {
    const answer = await ask(`${seriesRoot(uid)}/metadata`, JSON_TYPE);
    const instances = await answer.json();
    if (turn !== state.turn) return;
    state.pictures = inOrder(instances, (data) => `${seriesRoot(uid)}/instances/${encodeURIComponent(text(data, "00080018"))}`);
    const first = state.pictures[0];
    by("play").hidden = by("rate-of").hidden = by("slider").hidden = state.pictures.length < 2;
    by("rate").value = Math.round(framesPerSecond(first.data));
    by("slider").max = state.pictures.length;
    by("who").textContent = [text(first.data, "00100010") || "No name", text(first.data, "00100020")].filter(Boolean).join(" · ");
    document.title = `${text(first.data, "00100010") || "No name"} · Viewer`;
    await show(0);
  } catch (error) {
    if (turn === state.turn) fail(error);
  }
}

// ---- the picture

async function show(at) {
  const last = state.pictures.length - 1;
  if (last < 0) return;
  const step = at < state.at ? -1 : 1;
  state.at = Math.min(last, Math.max(0, at));
  by("slider").value = state.at + 1;
  const picture = state.pictures[state.at];
  const waits = setTimeout(() => wait(true), 150);
  try {
    const wanted = frames.get(picture);
    // Before the first picture is there, what is fetched ahead would only take its place in the line.
    const first = !state.shown;
    if (!first) frames.ahead(neighbours(step));
    const frame = frames.peek(picture) ?? (await wanted);
    if (picture !== state.pictures[state.at]) return;
    state.shown = { picture, frame };
    say(null);
    presets();
    draw();
    if (first) frames.ahead(neighbours(step));
  } catch (error) {
    if (picture === state.pictures[state.at]) fail(error, picture);
  } finally {
    clearTimeout(waits);
    if (picture === state.pictures[state.at]) wait(false);
  }
}

function neighbours(step) {
  const offsets = Array.from({ length: AHEAD }, (_, far) => step * (far + 1)).concat(-step, -2 * step);
  return offsets.map((offset) => state.pictures[state.at + offset]).filter(Boolean);
}

const windowNow = () => state.window ?? Screen.windowOf(state.shown.picture, state.shown.frame);

function draw() {
  const { picture, frame } = state.shown;
  screen.draw(picture, frame, frame.stored ? windowNow() : null, state.inverted);
  stage.classList.toggle("large", screen.scale >= 12);
  by("picture").hidden = false;
  by("presets").disabled = !frame.stored;
  by("picture").setAttribute("aria-label", `Picture ${state.at + 1} of ${state.pictures.length}`);
  words();
}

const trimmed = (amount) => String(Number(amount.toPrecision(amount >= 1000 || amount <= -1000 ? 6 : 4)));

function words() {
  const { picture, frame } = state.shown;
  const { data } = picture;
  const lines = (...all) => all.filter(Boolean).join("\n");
  const born = date(data, "00100030");
  by("top-left").textContent = lines(
    text(data, "00100010") || "No name", text(data, "00100020"), [born && `born ${born}`, text(data, "00100040")].filter(Boolean).join(" "));
  by("top-right").textContent = lines(
    text(data, "00080080"), text(data, "00081030"), [date(data, "00080020"), time(data, "00080030")].filter(Boolean).join(" "),
    text(data, "00080050") && `Acc. ${text(data, "00080050")}`);
  const place = picture.depth === undefined ? "" : `Position ${picture.depth.toFixed(1)} mm`;
  by("bottom-left").textContent = lines(
    [picture.modality, text(data, "00200011") && `series ${text(data, "00200011")}`].filter(Boolean).join(" "), text(data, "0008103E"),
    `${state.at + 1} / ${state.pictures.length}`, place, picture.thickness > 0 && `Thickness ${trimmed(picture.thickness)} mm`);
  const window = frame.stored ? windowNow() : null;
  by("bottom-right").textContent = lines(
    state.value, window ? `C ${trimmed(window.centre)}  W ${trimmed(window.width)}` : frame.rendered ? "Rendered by the archive" : "Colour",
    `${frame.columns} × ${frame.rows}${picture.lossy ? ", lossy" : ""}`, `Zoom ${Math.round(screen.scale * 100)} %${state.inverted ? ", inverted" : ""}`);
  const sides = picture.sides;
  for (const side of ["left", "right", "top", "bottom"]) by(`side-${side}`).textContent = sides?.[side] ?? "";
}

function probe(event) {
  if (!state.shown) return;
  const { picture, frame } = state.shown;
  const at = screen.pixelAt(event.clientX, event.clientY);
  state.value = "";
  if (at) {
    const place = at[1] * frame.columns + at[0];
    const shown = frame.stored
      ? `${trimmed(frame.stored[place] * picture.slope + picture.intercept)} ${picture.unit}`.trim()
      : `RGB ${[...frame.rgba.subarray(place * 4, place * 4 + 3)].join(" ")}`;
    state.value = `(${at[0]}, ${at[1]}) ${shown}`;
  }
  words();
}

// ---- windows

function choices() {
  const { picture, frame } = state.shown;
  const own = picture.windows.map((one) => ({ ...one }));
  const usual = picture.modality === "CT" && picture.unit === "HU" ? CT.map(([name, centre, width]) => ({ name, centre, width, kind: "LINEAR" })) : [];
  return [...own, ...usual, Screen.whole(picture, frame)];
}

function presets() {
  if (!state.shown.frame.stored) return by("presets").replaceChildren(new Option("No window"));
  const made = choices().map(({ name, centre, width }, at) => new Option(`${name}  ${trimmed(centre)} / ${trimmed(width)}`, at));
  const chosen = windowNow();
  const at = choices().findIndex((one) => one.centre === chosen.centre && one.width === chosen.width && one.kind === chosen.kind);
  if (at < 0) made.unshift(new Option("Set by hand", "-1"));
  by("presets").replaceChildren(...made);
  by("presets").selectedIndex = Math.max(0, at);
}

function choose(at) {
  const found = state.shown?.frame.stored && choices()[at];
  if (!found) return;
  // The first of its own is what each picture begins with.
  state.window = at === 0 && state.shown.picture.windows.length ? null : found;
  presets();
  draw();
}

function windowBy(x, y) {
  if (!state.shown?.frame.stored) return;
  const before = windowNow();
  const { picture, frame } = state.shown;
  // As wide a movement for a narrow range as for a wide one.
  const reach = Screen.whole(picture, frame).width;
  const pace = Math.min(before.width, Math.max(reach, 2)) / 250;
  const exact = before.kind === "LINEAR_EXACT";
  state.window = { kind: before.kind, centre: before.centre + y * pace, width: Math.max(exact ? reach / 1e4 : 1, before.width + x * pace) };
  presets();
  draw();
}

// ---- saying

function wait(on) { by("wait").hidden = !on; }

function say(what, detail = "") {
  by("problem").hidden = !what;
  const title = document.createElement("b");
  title.textContent = what ?? "";
  by("problem").replaceChildren(title, detail);
}

function fail(error, picture) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) console.error(error);
  stop();
  wait(false);
  state.shown = null;
  by("picture").hidden = true;
  by("presets").disabled = true;
  for (const corner of document.querySelectorAll(".corner, .side")) corner.textContent = "";
  if (picture) by("bottom-left").textContent = `${state.at + 1} / ${state.pictures.length}`;
  const reason = error.message || "the viewer failed";
  say("This cannot be shown", reason[0].toUpperCase() + reason.slice(1));
  if (picture && !picture.has && ["SR", "DOC"].includes(picture.modality)) {
    const link = Object.assign(document.createElement("a"), { href: picture.url.replace(/\/frames\/\d+$/, "/rendered"), textContent: "Read the document" });
    by("problem").append(". ", link);
  }
}

// ---- playing

function stop() {
  cancelAnimationFrame(state.playing);
  state.playing = 0;
  by("play").setAttribute("aria-pressed", "false");
  by("play").textContent = "Play";
}

function play() {
  if (state.playing) return stop();
  if (state.pictures.length < 2) return undefined;
  by("play").setAttribute("aria-pressed", "true");
  by("play").textContent = "Stop";
  let due = performance.now();
  let busy = false;
  const tick = (now) => {
    state.playing = requestAnimationFrame(tick);
    if (busy || now < due) return;
    due = Math.max(due + 1000 / Math.min(60, Math.max(1, Number(by("rate").value) || 15)), now - 100);
    busy = true;
    show((state.at + 1) % state.pictures.length).finally(() => { busy = false; });
  };
  state.playing = requestAnimationFrame(tick);
  return undefined;
}

// ---- hands

const step = (by) => { stop(); show(state.at + by); };
const redraw = () => state.shown && draw();
const fit = () => { screen.reset(); redraw(); };
const actions = {
  invert() { state.inverted = !state.inverted; redraw(); },
  fit,
  reset() { state.window = null; state.inverted = false; screen.reset(); if (state.shown) { presets(); draw(); } },
  play,
  help() { by("help").showModal(); },
};

function act(name) {
  actions[name]();
  document.querySelector('[data-do="invert"]').setAttribute("aria-pressed", String(state.inverted));
}

function use(tool) {
  state.tool = stage.dataset.tool = tool;
  for (const button of document.querySelectorAll("[data-tool][role]")) button.setAttribute("aria-checked", String(button.dataset.tool === tool));
}

function otherSeries(by) {
  const at = state.series.findIndex((one) => text(one, "0020000E") === state.uid) + by;
  if (state.series[at]) open(text(state.series[at], "0020000E"));
}

const keys = {
  ArrowDown: () => step(1), ArrowRight: () => step(1), ArrowUp: () => step(-1), ArrowLeft: () => step(-1),
  PageDown: () => step(10), PageUp: () => step(-10), Home: () => step(-Infinity), End: () => step(Infinity),
  "[": () => otherSeries(-1), "]": () => otherSeries(1), " ": () => act("play"), "?": () => act("help"),
  i: () => act("invert"), f: () => act("fit"), r: () => act("reset"),
  w: () => use("window"), s: () => use("scroll"), p: () => use("pan"), z: () => use("zoom"),
  "+": () => { screen.zoomBy(1.25); redraw(); }, "-": () => { screen.zoomBy(0.8); redraw(); },
  n: () => { screen.reset(screen.zoom === 1 ? null : 1 / devicePixelRatio); redraw(); },
  o: () => stage.classList.toggle("plain"),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || by("help").open) return;
  if (event.target.matches("select, input[type=number]")) return;
  // A button that has the focus is pressed by the space bar, as everywhere.
  if (event.key === " " && event.target.matches("button, a")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const found = keys[key === "=" ? "+" : key] ?? (/^[1-9]$/.test(key) ? () => choose(Number(key) - 1) : null);
  if (!found) return;
  event.preventDefault();
  found();
});

let turned = 0;
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const pixels = event.deltaY * [1, 30, 300][event.deltaMode];
  if (event.ctrlKey) {
    const box = stage.getBoundingClientRect();
    screen.zoomBy(Math.exp(-pixels / 300), [event.clientX - box.left, event.clientY - box.top]);
    return redraw();
  }
  // A mouse's wheel moves by notches, a touchpad by pixels.
  turned += Math.abs(pixels) >= 50 ? Math.sign(pixels) * 50 : pixels;
  const steps = Math.trunc(turned / 50);
  turned -= steps * 50;
  if (steps) step(steps);
  return undefined;
}, { passive: false });

let drag = null;
stage.addEventListener("pointerdown", (event) => {
  if (event.target.closest("#problem")) return;
  stage.setPointerCapture(event.pointerId);
  drag = { id: event.pointerId, tool: [state.tool, "pan", "zoom"][event.button] ?? state.tool, x: event.clientX, y: event.clientY, rest: 0 };
  if (event.button === 1) event.preventDefault();
});
stage.addEventListener("pointermove", (event) => {
  if (drag?.id !== event.pointerId) return probe(event);
  const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
  Object.assign(drag, { x: event.clientX, y: event.clientY });
  if (drag.tool === "window") windowBy(x, y);
  else if (drag.tool === "pan") screen.pan(x, y);
  else if (drag.tool === "zoom") { screen.zoomBy(Math.exp(-y / 150)); redraw(); }
  else {
    drag.rest += y;
    const steps = Math.trunc(drag.rest / 8);
    drag.rest -= steps * 8;
    if (steps) step(steps);
  }
  return undefined;
});
for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { drag = null; });
stage.addEventListener("pointerleave", () => { if (state.value) { state.value = ""; if (state.shown) words(); } });
stage.addEventListener("contextmenu", (event) => event.preventDefault());
stage.addEventListener("dblclick", fit);

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => act(button.dataset.do));
}
for (const button of document.querySelectorAll("[data-tool][role]")) button.addEventListener("click", () => use(button.dataset.tool));
by("presets").addEventListener("change", (event) => { choose(Number(event.target.value)); stage.focus(); });
by("slider").addEventListener("input", (event) => { stop(); show(Number(event.target.value) - 1); });
new ResizeObserver(() => state.shown && words()).observe(stage);

// ---- begin

use("window");
const listed = listSeries();
if (query.get("series")) open(query.get("series"));
try {
  await listed;
  if (!state.series.length) throw new Problem("the archive has no such study");
  if (!state.uid) open(text(state.series.find((one) => !NO_PICTURE.has(text(one, "00080060"))) ?? state.series[0], "0020000E"));
} catch (error) {
  if (!state.uid) fail(error);
}
