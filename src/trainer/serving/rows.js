let inputs = [];

const fieldOf = (column) => {
  const index = inputs.findIndex((input) => input.column === column);
  return index < 0 ? null : find(`field-${index}`);
};

const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : text(value));

const hint = (input) => {
  const range = input.minimum !== null && input.minimum !== undefined ? `, ${input.minimum} to ${input.maximum} in training` : "";
  if (input.kind === "datetime") return (input.date_format || "2026-03-31") + range;
  if (input.kind === "category") return "category";
  return input.kind + range;
};

const widget = (input, index) => {
  const attributes = { id: `field-${index}`, "data-column": input.column };
  if (input.kind === "image") return make("input", { ...attributes, type: "file", accept: "image/*" });
  if (input.kind === "text" || input.kind === "tokens") return make("textarea", { ...attributes, rows: "3" });
  if (input.kind === "boolean") {
    const select = make("select", attributes);
    for (const value of ["", "true", "false"]) select.append(make("option", { value }, value || "(unknown)"));
    return select;
  }
  const field = make("input", { ...attributes, type: "text", autocomplete: "off" });
  if (input.kind === "number") field.setAttribute("inputmode", "decimal");
  if (input.kind === "category") {
    const list = make("datalist", { id: `list-${index}` });
    for (const value of (input.categories || []).slice(0, 500)) list.append(make("option", { value }));
    document.body.append(list);
    field.setAttribute("list", `list-${index}`);
  }
  return field;
};

const fill = (values) => {
  inputs.forEach((input, index) => {
    if (input.kind !== "image") find(`field-${index}`).value = text(values[input.column]);
  });
};

const readFile = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

const readRow = async () => {
  const row = {};
  for (const [index, input] of inputs.entries()) {
    const field = find(`field-${index}`);
    if (input.kind === "image") row[input.column] = field.files.length ? await readFile(field.files[0]) : null;
    else if (field.value === "") row[input.column] = null;
    else if (input.kind === "boolean") row[input.column] = field.value === "true";
    else if (input.kind === "number") row[input.column] = numberOrText(field.value);
    else row[input.column] = field.value;
  }
  return row;
};

const bar = (label, value, greatest, shown, signed) => {
  const row = make("div", { class: "bar" });
  row.append(make("span", { title: label }, label));
  const svg = make("svg", { viewBox: "0 0 200 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  const length = greatest > 0 ? (Math.abs(value) / greatest) * (signed ? 100 : 200) : 0;
  const start = signed ? (value < 0 ? 100 - length : 100) : 0;
  svg.append(make("rect", { x: start, y: 0, width: length, height: 10, class: value < 0 ? "against" : "for" }));
  if (signed) svg.append(make("line", { x1: 100, y1: 0, x2: 100, y2: 10, class: "axis" }));
  row.append(svg, make("output", {}, shown));
  return row;
};

const drawMap = async (column, cells) => {
  const index = inputs.findIndex((input) => input.column === column);
  const file = find(`field-${index}`).files[0];
  const picture = await createImageBitmap(file);
  const canvas = make("canvas", { width: 320, height: Math.round((320 * picture.height) / picture.width), "aria-label": `Explanation of the prediction in ${column}` });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const greatest = Math.max(...cells.flat().map(Math.abs)) || 1;
  const [height, width] = [canvas.height / cells.length, canvas.width / cells[0].length];
  cells.forEach((line, top) =>
    line.forEach((change, left) => {
      const color = change < 0 ? "183,121,31" : "43,108,176";
      context.fillStyle = `rgba(${color},${(0.7 * Math.abs(change)) / greatest})`;
      context.fillRect(left * width, top * height, width, height);
    }),
  );
  find("maps").append(canvas);
};

const showPrediction = async (content) => {
  const prediction = content.prediction;
  const score = prediction[content.score];
  clearErrors();
  const isText = content.score === null;
  const main = isText ? Object.keys(prediction)[0] : "label";
  find("prediction").textContent = main in prediction ? text(prediction[main]) : number(score);
  find("explanation").hidden = isText;
  find("unseen").hidden = prediction.unseen !== true;
  const numbers = find("numbers");
  numbers.replaceChildren();
  for (const [name, value] of Object.entries(prediction)) {
    if (name === main || name === "unseen") continue;
    if (name.startsWith("probability_")) numbers.append(bar(name.slice(12), value, 1, number(value), false));
    else numbers.append(make("p", {}, `${name}: ${number(value)}`));
  }
  const effects = find("effects");
  effects.replaceChildren();
  find("maps").replaceChildren();
  find("note").textContent = isText ? "" : `Change of ${content.score} when the typical value of a column is replaced by this one, all others unchanged.`;
  const greatest = Math.max(0, ...content.effects.map((effect) => Math.abs(effect.change)));
  for (const effect of content.effects) {
    const sign = effect.change > 0 ? "+" : "";
    effects.append(bar(`${effect.column} = ${text(effect.value) || "(unknown)"}`, effect.change, greatest, sign + number(effect.change), true));
  }
  find("result").hidden = false;
  for (const [column, cells] of Object.entries(content.maps || {})) await drawMap(column, cells);
};

const predict = async () => {
  const body = JSON.stringify(await readRow());
  await showPrediction(await request(base + "explain", { method: "POST", body, headers: { "Content-Type": "application/json" } }));
};

const showModel = (api) => {
  const seen = new Set();
  inputs = api["x-trainer"].inputs.filter((input) => !seen.has(input.column) && seen.add(input.column));
  const fields = find("fields");
  fields.replaceChildren();
  inputs.forEach((input, index) => {
    const field = make("div", { class: "field" });
    field.append(make("label", { for: `field-${index}` }, input.column), widget(input, index), make("small", {}, hint(input)));
    fields.append(field);
  });
  const row = api.components.schemas.Row;
  const typical = Object.fromEntries(inputs.map((input) => [input.column, input.typical]));
  fill(row.examples ? row.examples[0] : typical);
  find("typical").onclick = () => fill(typical);
};

start(showModel, predict, fieldOf);
