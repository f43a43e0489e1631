// Curves of what was measured, one plot for each metric: inline SVG, drawn again when its width changes.
const SVG = "http://www.w3.org/2000/svg";
const PLOT_HEIGHT = 190;
const MARGIN = { left: 52, right: 14, top: 12, bottom: 24 };
const SERIES = 8;

function series(index) {
  return `var(--series-${index % SERIES})`;
}

function drawn(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function written(measure, value) {
  if (value === null || value === undefined) return "-";
  if (value === "inf") return "identical";
  return value.toFixed(measure.digits) + (measure.unit ? ` ${measure.unit}` : "");
}

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) found.push(+(at * step).toPrecision(12));
  return found;
}

// No more points than the screen has columns: the least and the greatest of each.
function thinned(points, columns) {
  if (points.length <= 2 * columns) return points;
  const size = Math.ceil(points.length / columns);
  const kept = [];
  for (let at = 0; at < points.length; at += size) {
    const part = points.slice(at, at + size).sort((a, b) => a[1] - b[1]);
    kept.push(...[part[0], part[part.length - 1]].sort((a, b) => a[0] - b[0]));
  }
  return kept;
}

function makePlot(data, key, describeFrame, onPick) {
  const measure = data.measures[key];
  const curves = data.items.map((item, index) => ({ item, index, values: item.metrics[key] })).filter((c) => c.values && c.values.some((v) => v !== null));
  const numbers = [...new Set(curves.flatMap((c) => c.item.measured))].sort((a, b) => a - b);
  const finite = curves.flatMap((c) => c.values.filter((v) => typeof v === "number"));
  const box = document.createElement("div");
  box.className = "plot";
  const heading = document.createElement("h2");
  heading.textContent = measure.name + (measure.unit ? ` (${measure.unit})` : "");
  const readout = document.createElement("span");
  readout.className = "readout";
  const legend = document.createElement("p");
  legend.className = "legend";
  for (const { item, index } of curves) {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = series(index);
    entry.append(swatch, item.label);
    legend.append(entry);
  }
  const svg = drawn("svg", { role: "img" });
  svg.setAttribute("aria-label", `${measure.name} of ${numbers.length} frames: ` + curves.map((c) => `${c.item.label} mean ${written(measure, c.item.means[key].value)}`).join(", "));
  const top = document.createElement("div");
  top.className = "top";
  top.append(heading, readout);
  box.append(top, legend, svg);

  let least = Math.min(...thinned(finite.map((v, i) => [i, v]), 5000).map((p) => p[1]));
  let most = Math.max(...thinned(finite.map((v, i) => [i, v]), 5000).map((p) => p[1]));
  if (!finite.length) [least, most] = [0, 1];
  const slack = (most - least) * 0.08 || Math.abs(most) * 0.02 || 1;
  [least, most] = [least - slack, most + slack];
  let current = 0;
  let across = () => 0;

  function draw() {
    const width = Math.max(200, svg.clientWidth);
    const [right, bottom] = [width - MARGIN.right, PLOT_HEIGHT - MARGIN.bottom];
    const [first, last] = [numbers[0], numbers[numbers.length - 1]];
    across = (n) => (last > first ? MARGIN.left + ((n - first) / (last - first)) * (right - MARGIN.left) : (MARGIN.left + right) / 2);
    const down = (v) => (v === "inf" ? MARGIN.top : MARGIN.top + ((most - v) / (most - least)) * (bottom - MARGIN.top));
    const nodes = [];
    for (const value of ticks(least, most, 6)) {
      const y = down(value);
      nodes.push(drawn("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }));
      nodes.push(drawn("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, String(value)));
    }
    const labelled = data.film ? ticks(first, Math.max(last, first + 1), Math.max(2, Math.min(10, width / 110))).filter((n) => Number.isInteger(n) && n <= last) : numbers.length <= width / 24 ? numbers : [];
    for (const n of labelled) nodes.push(drawn("text", { x: across(n), y: PLOT_HEIGHT - 6, "text-anchor": "middle" }, data.film ? n : n + 1));
    for (const { item, index, values } of curves) nodes.push(...curve(item, index, values, across, down, right - MARGIN.left));
    nodes.push(drawn("line", { class: "cursor", x1: 0, x2: 0, y1: MARGIN.top, y2: bottom }));
    svg.replaceChildren(...nodes);
    mark(current);
  }

  function curve(item, index, values, toX, toY, columns) {
    const runs = [[]];
    values.forEach((v, i) => (v === null ? runs.push([]) : runs[runs.length - 1].push([toX(item.measured[i]), toY(v)])));
    const nodes = [];
    for (const run of runs.filter((r) => r.length)) {
      const points = thinned(run, columns).map((p) => `${p[0].toFixed(1)},${p[1].toFixed(1)}`).join(" ");
      const dashes = index >= SERIES ? "6 3" : "none";
      if (data.film && run.length > 1) nodes.push(drawn("polyline", { class: "curve", points, style: `stroke:${series(index)};stroke-dasharray:${dashes}` }));
      else nodes.push(...run.map((p) => drawn("circle", { cx: p[0], cy: p[1], r: 4, style: `fill:${series(index)}` })));
    }
    return nodes;
  }

  function nearest(number) {
    return numbers.reduce((best, n) => (Math.abs(n - number) < Math.abs(best - number) ? n : best), numbers[0]);
  }

  function tell(number) {
    const n = nearest(number);
    const told = curves.map((c) => `${c.item.label} ${written(measure, c.values[c.item.measured.indexOf(n)])}`);
    readout.textContent = `${describeFrame(n)}: ${told.slice(0, 4).join(", ")}${told.length > 4 ? ", ..." : ""}`;
  }

  function mark(number) {
    current = number;
    const line = svg.querySelector(".cursor");
    if (!line) return;
    for (const end of ["x1", "x2"]) line.setAttribute(end, across(number));
    tell(number);
  }

  const under = (event) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    const share = (x - across(numbers[0])) / (across(numbers[numbers.length - 1]) - across(numbers[0]) || 1);
    return numbers[0] + share * (numbers[numbers.length - 1] - numbers[0]);
  };
  svg.addEventListener("pointermove", (event) => tell(under(event)));
  svg.addEventListener("pointerleave", () => tell(current));
  svg.addEventListener("click", (event) => onPick(under(event)));
  new ResizeObserver(draw).observe(svg);
  return { box, mark };
}
