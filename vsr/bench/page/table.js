// The table of items: what each is, its means, its worst frames, and which side shows it.
function cell(kind, ...content) {
  const node = document.createElement(kind);
  node.append(...content);
  return node;
}

function makeTable(table, data, onSide, onFrame) {
  const facts = [...new Set(data.items.flatMap((item) => Object.keys(item.facts)))];
  const keys = Object.keys(data.measures);
  const places = new Map(data.frames.map((frame, place) => [frame.number, place]));
  const several = data.items.some((item) => item.measured.length > 1);
  const head = cell("tr", cell("th", "Show"), cell("th", "Item"), ...facts.map((name) => cell("th", name)));
  for (const key of keys) head.append(cell("th", data.measures[key].name + (several ? ", mean" : "")));
  for (const th of head.children) th.scope = "col";
  const buttons = [[], []];
  const body = document.createElement("tbody");
  data.items.forEach((item, index) => {
    const sides = cell("td");
    sides.className = "sides";
    ["Left", "Right"].forEach((side, which) => {
      const button = cell("button", side);
      button.type = "button";
      button.setAttribute("aria-label", `Show ${item.label} on the ${side.toLowerCase()}`);
      button.addEventListener("click", () => onSide(which, index));
      buttons[which].push(button);
      sides.append(button);
    });
    const swatch = cell("span");
    swatch.className = "swatch";
    swatch.style.background = series(index);
    const name = cell("span", `${index + 1} \u00b7 ${item.label}`);
    name.className = "long";
    name.title = item.label;
    const label = cell("th", swatch, name);
    label.scope = "row";
    body.append(cell("tr", sides, label, ...facts.map((fact) => cell("td", item.facts[fact] ?? "")), ...keys.map((key) => value(item, key))));
  });
  table.replaceChildren(cell("thead", head), body);

  function value(item, key) {
    const found = cell("td");
    const mean = item.means[key];
    if (!mean) return found;
    const measure = data.measures[key];
    if (mean.value !== null) found.append(written(measure, mean.value));
    const aside = cell("span");
    aside.className = "aside";
    if (mean.identical) aside.append(mean.value === null ? "identical" : ` and ${mean.identical} identical`);
    const number = item.worst[key];
    if (number !== null) {
      aside.append(" \u00b7 worst ", link(measure, item, key, number));
    }
    found.append(aside);
    return found;
  }

  function link(measure, item, key, number) {
    const text = `${written(measure, item.metrics[key][item.measured.indexOf(number)])}, ${data.film ? `frame ${number}` : data.frames[places.get(number)]?.label || number + 1}`;
    if (!places.has(number)) return text;
    const button = cell("button", text);
    button.type = "button";
    button.className = "link";
    button.addEventListener("click", () => onFrame(places.get(number), data.items.indexOf(item)));
    return button;
  }

  return {
    mark(pair) {
      buttons.forEach((side, which) => side.forEach((button, index) => button.setAttribute("aria-pressed", String(pair[which] === index))));
    },
  };
}
