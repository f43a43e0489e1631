// What is shown (two items, one frame), and everything that changes it.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { pair: [0, Math.min(1, data.items.length - 1)], frame: 0 };
const KEPT_IMAGES = 24;
const images = new Map();

function describe(frame) {
  if (!data.film) return frame.label || `picture ${frame.number + 1}`;
  const time = frame.seconds === null ? "" : ` \u00b7 ${frame.seconds.toFixed(3)} s`;
  return `frame ${frame.number}${time}${frame.label ? ` \u00b7 ${frame.label}` : ""}`;
}

function describeNumber(number) {
  const frame = data.frames.find((f) => f.number === number);
  return frame ? describe(frame) : `frame ${number}`;
}

const stage = makeStage(byId("stage"), (view) => {
  byId("zoom").textContent = `${(100 * view.zoom).toFixed(view.zoom < 0.1 ? 1 : 0)} %`;
  byId("zoom-fit").setAttribute("aria-pressed", String(view.fitted));
});
const table = makeTable(byId("table"), data, pick, (place, item) => {
  if (!state.pair.includes(item)) state.pair[1] = item;
  frameTo(place);
  byId("stage").scrollIntoView({ block: "nearest" });
});
const measured = Object.keys(data.measures).filter((key) => data.items.some((item) => (item.metrics[key] || []).length > 1));
const plots = measured.map((key) => makePlot(data, key, describeNumber, (number) => {
  const away = data.frames.map((frame) => Math.abs(frame.number - number));
  frameTo(away.indexOf(Math.min(...away)));
}));
byId("plots").append(...plots.map((plot) => plot.box));

// A decoded image of its own for each side, kept for a while: going back and forth must not flicker.
function image(side, item, frame) {
  const key = `${side}/${item}/${frame}`;
  let found = images.get(key);
  if (!found) {
    found = new Image();
    found.alt = `${data.items[item].label}, ${describe(data.frames[frame])}`;
    found.draggable = false;
    Object.assign(found.dataset, { item, frame });
    found.src = data.items[item].pictures[frame].src;
  }
  images.delete(key);
  images.set(key, found);
  if (images.size > KEPT_IMAGES) images.delete(images.keys().next().value);
  return found;
}

let asked = 0;
async function show() {
  const { pair, frame } = state;
  const mine = (asked += 1);
  byId("pick-left").value = pair[0];
  byId("pick-right").value = pair[1];
  byId("frame").value = frame;
  byId("frame").setAttribute("aria-valuetext", describe(data.frames[frame]));
  byId("name-left").textContent = data.items[pair[0]].label;
  byId("name-right").textContent = data.items[pair[1]].label;
  byId("where").textContent = data.frames.length > 1 ? `${describe(data.frames[frame])} (${frame + 1} of ${data.frames.length} shown here)` : data.film || data.frames[0].label ? describe(data.frames[0]) : "";
  table.mark(pair);
  plots.forEach((plot) => plot.mark(data.frames[frame].number));
  const shown = pair.map((item, side) => image(side, item, frame));
  try {
    await Promise.all(shown.map((each) => each.decode()));
  } catch {
    if (mine !== asked) return;
    byId("problem").textContent = "This picture cannot be shown: the browser could not decode it.";
    byId("problem").hidden = false;
    return;
  }
  if (mine !== asked) return; // something else was chosen meanwhile
  byId("problem").hidden = true;
  const sizes = data.items.map((item) => item.pictures[frame]);
  const largest = sizes.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a));
  stage.show(shown, largest.width, largest.height);
}

function pick(side, item) {
  if (item < 0 || item >= data.items.length) return;
  state.pair[side] = item;
  show();
}

function frameTo(place) {
  state.frame = Math.min(data.frames.length - 1, Math.max(0, place));
  show();
}

function swap() {
  state.pair.reverse();
  show();
}

["pick-left", "pick-right"].forEach((id, side) => {
  byId(id).append(...data.items.map((item, index) => new Option(`${index + 1} \u00b7 ${item.label}`, index)));
  byId(id).addEventListener("change", (event) => pick(side, Number(event.target.value)));
});
byId("swap").addEventListener("click", swap);
byId("zoom-in").addEventListener("click", () => stage.step(1));
byId("zoom-out").addEventListener("click", () => stage.step(-1));
byId("zoom-one").addEventListener("click", () => stage.zoomTo(1));
byId("zoom-fit").addEventListener("click", () => stage.reset());
byId("frame").max = data.frames.length - 1;
byId("frames").hidden = data.frames.length < 2;
byId("frame").addEventListener("input", (event) => frameTo(Number(event.target.value)));
byId("frame-before").addEventListener("click", () => frameTo(state.frame - 1));
byId("frame-after").addEventListener("click", () => frameTo(state.frame + 1));

const PAN = 60; // CSS pixels
const KEYS = {
  Home: () => stage.split(0),
  End: () => stage.split(100),
  "+": () => stage.step(1),
  "=": () => stage.step(1),
  "-": () => stage.step(-1),
  _: () => stage.step(-1),
  0: () => stage.reset(),
  w: () => stage.pan(0, PAN),
  a: () => stage.pan(PAN, 0),
  s: () => stage.pan(0, -PAN),
  d: () => stage.pan(-PAN, 0),
  "[": () => frameTo(state.frame - 1),
  "]": () => frameTo(state.frame + 1),
  x: swap,
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.target.closest("select")) return;
  const typed = event.key;
  const digit = /^Digit([1-9])$/.exec(event.code); // Shift changes event.key, and not everywhere in the same way
  const arrow = { ArrowLeft: -1, ArrowRight: 1 }[typed];
  if (event.target.closest("input, .scrolled") && (arrow || typed === "Home" || typed === "End")) return;
  if (digit && !event.altKey) pick(event.shiftKey ? 0 : 1, Number(digit[1]) - 1);
  else if (arrow && !event.altKey) stage.split(stage.view.split + arrow * (event.shiftKey ? 10 : 1));
  else if (Object.hasOwn(KEYS, typed)) KEYS[typed](); // with Alt too: some keyboards need it for [ and ]
  else return;
  event.preventDefault();
});

const wished = matchMedia("(prefers-color-scheme: dark)");
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : wished.matches;
}
function tellTheme() {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
}
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  tellTheme();
});
wished.addEventListener("change", tellTheme);
tellTheme();

byId("notes").append(...data.notes.map((note) => cell("li", note)));
byId("commands").append(...data.commands.map((command) => cell("pre", command)));
byId("versions").textContent = `${data.made}. ${Object.entries(data.versions).map(([name, version]) => `${name} ${version}`).join(", ")}.`;
show();
