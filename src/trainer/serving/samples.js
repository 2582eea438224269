const FIELDS = { count: "count", seed: "seed", class: "class" };
let described = { classes: [], most: 1 };

const showErrors = (problem) => listErrors(problem, (column) => (column in FIELDS ? find(FIELDS[column]) : null));

const numberOrText = (value) => (value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : value);

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

const draw = async (event) => {
  event.preventDefault();
  find("draw").disabled = true;
  try {
    const body = JSON.stringify(readRequest());
    const { content, response } = await send(base + "predict", { method: "POST", body, headers: { "Content-Type": "application/json", Accept: "application/json" } });
    find("errors").hidden = true;
    document.querySelectorAll(".wrong").forEach((node) => node.classList.remove("wrong"));
    find("note").textContent = `seed ${response.headers.get("x-trainer-seed")}`;
    find("samples").replaceChildren(described.generates === "images" ? showImages(content) : showRows(content));
    find("result").hidden = false;
  } catch (problem) {
    showErrors(problem);
  } finally {
    find("draw").disabled = false;
  }
};

const load = async () => {
  try {
    const api = await loadModel();
    described = api["x-trainer"];
    find("count").value = Math.min(described.generates === "images" ? 40 : 10, described.most);
    find("most").textContent = `1 to ${described.most.toLocaleString("en")}`;
    const choices = find("class");
    choices.replaceChildren(make("option", { value: "" }, "all, as frequent as in training"));
    described.classes.forEach((name, index) => choices.append(make("option", { value: index }, name)));
    find("class-field").hidden = described.classes.length === 0;
    find("errors").hidden = true;
  } catch (problem) {
    find("title").textContent = "trainer serve";
    showErrors(problem);
  }
};

find("form").addEventListener("submit", draw);
find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
load();
