const FIELDS = { count: "count", seed: "seed", class: "class" };
let described = { classes: [], max_count: 1 };

const fieldOf = (column) => (column in FIELDS ? find(FIELDS[column]) : null);

const readRequest = () => {
  const values = { count: numberOrText(find("count").value) };
  if (find("seed").value.trim() !== "") values.seed = numberOrText(find("seed").value);
  if (find("class").value !== "") values.class = described.classes[Number(find("class").value)];
  return values;
};

const showImages = (samples) => {
  const list = make("div", { class: "samples" });
  for (const sample of samples) {
    const figure = make("figure");
    const alt = sample.class === undefined ? "a generated image" : `a generated image of class ${sample.class}`;
    figure.append(make("img", { src: `data:image/png;base64,${sample.image}`, alt }));
    if (sample.class !== undefined) figure.append(make("figcaption", {}, sample.class));
    list.append(figure);
  }
  return list;
};

const showRows = (samples) => {
  const table = make("table");
  const head = make("tr");
  for (const name of Object.keys(samples[0])) head.append(make("th", { scope: "col" }, name));
  table.append(head);
  for (const sample of samples) {
    const row = make("tr");
    for (const value of Object.values(sample)) row.append(make("td", typeof value === "number" ? { class: "number" } : {}, text(value)));
    table.append(row);
  }
  return table;
};

const draw = async () => {
  const body = JSON.stringify(readRequest());
  const { content, response } = await send(base + "predict", { method: "POST", body, headers: { "Content-Type": "application/json", Accept: "application/json" } });
  clearErrors();
  find("note").textContent = `seed ${response.headers.get("x-trainer-seed")}`;
  find("samples").replaceChildren(described.generates === "images" ? showImages(content) : showRows(content));
  find("result").hidden = false;
};

const showModel = (api) => {
  described = api["x-trainer"];
  find("count").value = Math.min(described.generates === "images" ? 40 : 10, described.max_count);
  find("range").textContent = `1 to ${described.max_count.toLocaleString("en")}`;
  const choices = find("class");
  choices.replaceChildren(make("option", { value: "" }, "all, as frequent as in training"));
  described.classes.forEach((name, index) => choices.append(make("option", { value: index }, name)));
  find("class-field").hidden = described.classes.length === 0;
};

start(showModel, draw, fieldOf);
