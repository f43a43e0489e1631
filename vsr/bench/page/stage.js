// The stage: two layers under one view, so that they cannot drift apart, and a divider between them.
// `view.zoom` is in pixels of the screen for one of the picture; `view.x`, `view.y` is the point of the picture (0 to 1) in the stage's middle.
const STEPS = [1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]; // whole above 1: every pixel as large as the next
const LARGEST_ZOOM = 64;

function makeStage(stage, onChange) {
  const layers = [stage.querySelector("#left"), stage.querySelector("#right")];
  const divider = stage.querySelector("#divider");
  const view = { width: 1, height: 1, zoom: 1, fitted: true, x: 0.5, y: 0.5, split: 50 };
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  const ratio = () => window.devicePixelRatio || 1;
  const fit = () => ratio() * Math.min(stage.clientWidth / view.width, stage.clientHeight / view.height);

  function draw() {
    if (view.fitted) Object.assign(view, { zoom: fit(), x: 0.5, y: 0.5 });
    const scale = view.zoom / ratio();
    const onScreen = (length, at, size) => Math.round((length / 2 - at * size * scale) * ratio()) / ratio();
    const moved = `translate(${onScreen(stage.clientWidth, view.x, view.width)}px, ${onScreen(stage.clientHeight, view.y, view.height)}px) scale(${scale})`;
    for (const image of layers.flatMap((layer) => [...layer.children])) {
      Object.assign(image.style, { width: `${view.width}px`, height: `${view.height}px`, transform: moved });
      image.classList.toggle("pixelated", (view.zoom * view.width) / image.naturalWidth > 1);
    }
    layers[0].style.clipPath = `inset(0 ${100 - view.split}% 0 0)`;
    layers[1].style.clipPath = `inset(0 0 0 ${view.split}%)`;
    divider.style.left = `${view.split}%`;
    divider.setAttribute("aria-valuenow", view.split.toFixed(0));
    divider.setAttribute("aria-valuetext", `${view.split.toFixed(0)} % show the left item`);
    stage.classList.toggle("zoomed", !view.fitted);
    onChange(view);
  }

  function split(percent) {
    view.split = within(percent, 0, 100);
    draw();
  }

  // Zoom so that the point under (px, py), in CSS pixels of the stage, stays where it is.
  function zoomTo(zoom, px = stage.clientWidth / 2, py = stage.clientHeight / 2) {
    const before = view.zoom / ratio();
    view.zoom = within(zoom, Math.min(fit(), 1) / 2, LARGEST_ZOOM);
    const after = view.zoom / ratio();
    const [dx, dy] = [px - stage.clientWidth / 2, py - stage.clientHeight / 2];
    view.fitted = false;
    pan((dx / after - dx / before) * after, (dy / after - dy / before) * after);
  }

  // The next of the steps in that direction.
  function step(direction) {
    const further = STEPS.filter((zoom) => direction * (zoom - view.zoom) > 0.01 * view.zoom);
    if (further.length) zoomTo(direction > 0 ? further[0] : further[further.length - 1]);
  }

  // Move the picture by CSS pixels; its edge never leaves the stage's middle.
  function pan(dx, dy) {
    if (!view.fitted) {
      const scale = view.zoom / ratio();
      view.x = within(view.x - dx / (view.width * scale), 0, 1);
      view.y = within(view.y - dy / (view.height * scale), 0, 1);
    }
    draw();
  }

  function show(pair, width, height) {
    // By the first picture; pictures of other shapes must not make the page jump.
    if (!stage.style.aspectRatio) stage.style.aspectRatio = `${width} / ${height}`;
    layers.forEach((layer, side) => layer.replaceChildren(pair[side]));
    Object.assign(view, { width, height });
    draw();
  }

  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const fingers = new Map();
  let drags = "";
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const onDivider = divider.contains(event.target);
    fingers.set(event.pointerId, place(event));
    drags = fingers.size > 1 ? "pinch" : onDivider || view.fitted ? "divider" : "picture";
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragging");
    if (onDivider) divider.focus();
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const wide = fingers.size > 1 ? spread() : 0;
    fingers.set(event.pointerId, now);
    if (drags === "divider") split((100 * now[0]) / stage.clientWidth);
    else if (drags === "picture") pan(now[0] - before[0], now[1] - before[1]);
    else if (wide && fingers.size > 1) {
      const [a, b] = [...fingers.values()];
      zoomTo((view.zoom * spread()) / wide, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    }
  });
  for (const ending of ["pointerup", "pointercancel"]) {
    stage.addEventListener(ending, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) drags = "";
      stage.classList.toggle("dragging", fingers.size > 0);
    });
  }
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 24 : 1; // Firefox counts lines
    zoomTo(view.zoom * Math.exp(within(-event.deltaY * unit, -240, 240) * 0.002), ...place(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    if (view.fitted) zoomTo(fit() < 1 ? 1 : Math.ceil(2 * fit()), ...place(event));
    else reset();
  });
  function reset() {
    view.fitted = true;
    draw();
  }
  new ResizeObserver(draw).observe(stage);
  return { view, show, split, pan, step, zoomTo, reset };
}
