"use strict";
const find = (id) => document.getElementById(id);
const base = location.pathname === "/" ? "/" : location.pathname.replace(/\/$/, "") + "/";

const make = (tag, attributes = {}, text = "") => {
  const svg = ["svg", "rect", "line"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== "") node.textContent = text;
  return node;
};

const send = async (path, options = {}) => {
  const headers = { ...(options.headers || {}) };
  const token = find("token").value;
  if (token) headers.Authorization = "Bearer " + token;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  const content = await response.json();
  if (!response.ok) throw content;
  return { content, response };
};

const request = async (path, options = {}) => (await send(path, options)).content;

const clearErrors = () => {
  find("errors").hidden = true;
  find("error-list").replaceChildren();
  document.querySelectorAll(".wrong").forEach((node) => node.classList.remove("wrong"));
};

const showErrors = (problem, fieldOf) => {
  const errors = problem.errors || [{ expected: "a response of the server", found: String(problem) }];
  const list = find("error-list");
  clearErrors();
  for (const error of errors) {
    const where = error.column ? `${error.column}: ` : "";
    const fix = error.fix ? `; ${error.fix}` : "";
    list.append(make("li", {}, `${where}expected ${error.expected}, found ${error.found}${fix}`));
    const field = fieldOf(error.column);
    if (field) field.classList.add("wrong");
  }
  find("errors").hidden = false;
  find("result").hidden = true;
};

const numberOrText = (value) => (value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : value);

const text = (value) => (value === null || value === undefined ? "" : String(value));

const loadModel = async () => {
  const { models } = await request("/models");
  const name = base === "/" ? models[0].name : decodeURIComponent(base.split("/")[2]);
  const api = await request(`/models/${encodeURIComponent(name)}/schema`);
  find("title").textContent = api.info.title;
  document.title = api.info.title;
  find("about").textContent = `run ${api.info.version}`;
  find("models").replaceChildren();
  if (models.length > 1) {
    for (const model of models) find("models").append(make("a", { href: `/models/${encodeURIComponent(model.name)}` }, model.name));
  }
  return api;
};

// showModel fills the form from the description of a model, submit sends a request and shows the response,
// and fieldOf returns the input of a column.
const start = (showModel, submit, fieldOf) => {
  const load = async () => {
    try {
      showModel(await loadModel());
      clearErrors();
    } catch (problem) {
      find("title").textContent = "trainer serve";
      showErrors(problem, fieldOf);
    }
  };
  find("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    find("submit-button").disabled = true;
    try {
      await submit();
    } catch (problem) {
      showErrors(problem, fieldOf);
    } finally {
      find("submit-button").disabled = false;
    }
  });
  find("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  load();
};
