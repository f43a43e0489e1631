const $ = (id) => document.getElementById(id);
const SETTLE_MS = 200; // an answer before that was meant for the screen before: a double click, a bouncing key
const WORDS = ["bad", "poor", "fair", "good", "excellent"];
const source = data ? fromKit(data) : fromServer();
let state = null;
let screen = "talk"; // talk | example | rate
let proceed = null; // what the button of a talk or an example does
let shown = 0; // when the picture appeared
let busy = false; // between an answer and the next picture, keys are not for it
let example = 0;

function talk(title, lines, button, action, { ask = false, save = false } = {}) {
  screen = "talk";
  proceed = action;
  $("title").textContent = title;
  $("text").replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  $("ask").hidden = !ask;
  $("save").hidden = !(save && source.save);
  $("go").hidden = !button;
  $("go").textContent = button || "";
  $("talk").hidden = false;
  $("show").hidden = $("scale").hidden = $("pause").hidden = true;
  (ask ? $("name") : button ? $("go") : $("title")).focus();
}

async function look(src, alt) {
  const picture = new Image();
  picture.src = src;
  await picture.decode();
  // one pixel of the picture is one of the screen, whatever the screen's or the browser's zoom
  const fit = () => { picture.style.width = `${picture.naturalWidth / devicePixelRatio}px`; };
  picture.id = "picture";
  picture.alt = alt;
  fit();
  onresize = fit;
  $("picture").replaceWith(picture);
  $("talk").hidden = true;
  $("show").hidden = $("scale").hidden = false;
  $("stage").scrollTo(0, 0);
  return picture;
}

function larger() {
  const stage = $("stage");
  return stage.scrollWidth > stage.clientWidth + 1 || stage.scrollHeight > stage.clientHeight + 1;
}

function count() {
  $("where").textContent = state.trial ? `Picture ${state.done + 1} of ${state.total}` : `${state.done} of ${state.total}`;
  $("progress").max = state.total;
  $("progress").value = state.done;
}

async function showExample() {
  const { src, score } = state.calibration[example];
  $("scores").hidden = true;
  $("next").hidden = false;
  screen = "example";
  await look(src, `An example of score ${score}, ${WORDS[score - 1]}`);
  const strong = Object.assign(document.createElement("strong"), { textContent: `This is a ${score}: ${WORDS[score - 1]}` });
  $("note").replaceChildren(strong, ` (example ${example + 1} of ${state.calibration.length}, nothing to rate)`);
  $("where").textContent = `Example ${example + 1} of ${state.calibration.length}`;
  $("next").textContent = example + 1 < state.calibration.length ? "Next example" : "Begin to rate";
  $("pause").hidden = true;
  proceed = async () => {
    example += 1;
    if (example < state.calibration.length) return showExample();
    state = await source.calibrated();
    return showTrial();
  };
  $("next").focus();
}

async function showTrial() {
  count();
  if (!state.trial) return finish();
  $("scores").hidden = false;
  $("next").hidden = true;
  await look(state.trial.src, "Picture to rate");
  screen = "rate";
  $("pause").hidden = false;
  const hint = "How good is this picture? Press 1 to 5.";
  $("note").textContent = larger() ? `${hint} It is larger than the window: scroll to see all of it.` : hint;
  if (document.activeElement === document.body || document.activeElement === $("next") || document.activeElement === $("go")) $("stage").focus();
  shown = performance.now();
  if (state.after) new Image().src = state.after;
}

function finish() {
  const lines = source.save
    ? ["Download the ratings and send the file to whoever gave you this page."]
    : ["Every rating is kept. You can close this window; the program has ended."];
  talk(`Done: ${state.done} pictures rated. Thank you.`, lines, null, null, { save: true });
  $("save").textContent = "Download the ratings";
  if (source.save) $("save").focus();
}

function pause() {
  if (screen !== "rate" || busy) return;
  const lines = [`${state.done} of ${state.total} pictures are rated and kept.`, source.save ? "You can close this page and open it again on this computer, with the same name." : "You can close this page, or go on whenever you like."];
  talk("Paused", lines, "Go on", showTrial, { save: true });
}

async function rate(score) {
  if (screen !== "rate" || performance.now() - shown < SETTLE_MS) return;
  await guarded(async () => {
    state = await source.rate(state.trial.id, score, Math.round(performance.now() - shown) / 1000);
    await showTrial();
  });
}

async function guarded(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } catch (error) {
    talk("It cannot go on", [error.message || String(error)], "Try again", start, { save: true });
  } finally {
    busy = false;
  }
}

async function start() {
  const name = $("name").value.trim();
  if (!$("ask").hidden && !name) return $("name").focus();
  state = await source.begin(name || source.asks || "");
  count();
  return state.calibrated ? showTrial() : (example = 0, showExample());
}

function welcome() {
  const lines = [
    "You will see pictures one after the other. For each, say how good it looks to you: 1 bad, 2 poor, 3 fair, 4 good, 5 excellent.",
    "Some come twice, and there are no right answers. At the beginning there are examples of 1 and of 5, which are not to be rated.",
    "Keys 1 to 5 or the buttons rate, P pauses. Every rating is kept at once: you can stop and go on later.",
  ];
  const ask = "asks" in source && !source.asks;
  talk("How good are these pictures?", lines, "Begin", start, { ask });
}

WORDS.forEach((word, index) => {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.score = index + 1;
  button.append(Object.assign(document.createElement("b"), { textContent: index + 1 }), word);
  button.setAttribute("aria-keyshortcuts", index + 1);
  button.onclick = () => rate(index + 1);
  $("scores").append(button);
});
$("go").onclick = $("next").onclick = () => guarded(() => proceed());
$("save").onclick = () => source.save();
$("pause").onclick = pause;
$("name").onkeydown = (event) => { if (event.key === "Enter") $("go").click(); };
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target === $("name")) return;
  if (/^[1-5]$/.test(event.key)) rate(Number(event.key));
  else if (event.key === "p" || event.key === "P") pause();
});
document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });
welcome();
