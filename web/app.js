// The playground: which model, which mode, what was typed, what came back.

import { ApiError, getJson, hasKey, postJson, postStream, useKey } from "./api.js";
import { snippets } from "./calls.js";
import { bytes, copyButton, h, short } from "./dom.js";
import { language, t, wirePreferences } from "./i18n.js";
import { StreamView, timings, view } from "./render.js";
import { StatusPanel } from "./status.js";
import { exampleLanguage, MODES, modesOf, readParameters } from "./tasks.js";

const $ = (selector) => document.querySelector(selector);
const POLL = 2000;

const state = {
  models: [], reached: true, id: "", mode: "", types: new Map(), limits: null,
  values: new Map(),       // mode of a model -> fields
  parameters: new Map(),   // mode of a model -> parameters, as typed
  snippet: "curl", running: null, outcome: null,
};

const model = () => state.models.find((one) => one.id === state.id);
const slot = () => `${state.id}\n${state.mode}`;
const values = () => remembered(state.values, () => ({ ...MODES[state.mode].examples(exampleLanguage(model(), language()), model())[0] }));
const parameters = () => remembered(state.parameters, () => ({ ...MODES[state.mode].initial }));

function remembered(map, make) {
  if (!map.has(slot())) map.set(slot(), make());
  return map.get(slot());
}

// Models

async function loadModels() {
  let pause = 0;
  try {
    const info = await getJson("/info");
    state.models = info.models;
    state.limits = info;
    $("#version").textContent = info.version;
    $("#key-form").hidden = true;
    state.reached = true;
    if (info.models.some((one) => one.state === "LOADING")) pause = POLL;
  } catch (error) {
    pause = POLL;
    if (error.status === 401) askKey();
    else state.reached = error instanceof ApiError && error.status !== 0;
    if (error.status === 401) pause = 0;
  }
  showModels();
  showHealth();
  if (!model()) await choose(fromAddress() ?? { id: state.models.find((one) => one.state === "READY")?.id ?? state.models[0]?.id, mode: "" });
  else if (model().state === "READY" && !state.types.has(state.id)) await choose({ id: state.id, mode: state.mode });
  if (pause > 0) setTimeout(loadModels, pause);
}

function fromAddress() {
  const [id, mode] = decodeURIComponent(location.hash.slice(1)).split("|");
  return state.models.some((one) => one.id === id) ? { id, mode: mode ?? "" } : null;
}

async function choose({ id, mode }) {
  if (!id) return;
  state.running?.abort();
  state.id = id;
  const chosen = model();
  if (chosen.state === "READY" && !state.types.has(id)) {
    try {
      const info = await getJson(`/models/${id.split("/").map(encodeURIComponent).join("/")}/info`);
      if (state.id !== id) return;  // another one was chosen meanwhile
      state.types.set(id, info.model_type);
    } catch (error) {
      return showError(error);
    }
  }
  const modes = chosen.state === "READY" ? modesOf(chosen, state.types.get(id)) : [];
  state.mode = modes.includes(mode) ? mode : modes[0] ?? "";
  state.outcome = null;
  history.replaceState(null, "", `#${encodeURIComponent(id)}${state.mode && state.mode !== modes[0] ? `|${state.mode}` : ""}`);
  showAll();
}

const STATES = { READY: "ready", LOADING: "loading", UNAVAILABLE: "unavailable" };

function showModels() {
  const focused = document.activeElement?.closest("#models") ? document.activeElement.value : null;
  if (state.models.length === 0) return void $("#models").replaceChildren(h("p", { class: "muted" }, state.reached ? t("connecting") : t("offline")));
  $("#models").replaceChildren(...state.models.map((one) => h("label", { class: `model ${STATES[one.state]}` },
    h("input", { type: "radio", name: "model", value: one.id, checked: one.id === state.id, onchange: () => choose({ id: one.id, mode: "" }) }),
    h("span", { class: "name" }, one.id), h("span", { class: "muted" }, one.task ? t(`m_${one.task}`) : t(STATES[one.state])), h("i", { title: t(STATES[one.state]), "aria-hidden": "true" }))));
  if (focused !== null) [...document.querySelectorAll("#models input")].find((input) => input.value === focused)?.focus();
}

function showHealth() {
  const states = state.models.map((one) => one.state);
  const word = !state.reached ? "offline" : states.includes("LOADING") || states.length === 0 ? "loading" : states.includes("READY") ? "ready" : "unavailable";
  $("#health").dataset.state = word;
  if ($("#health-text").textContent !== t(word)) $("#health-text").textContent = t(word);
}

function askKey() {
  $("#key-note").textContent = t(hasKey() ? "key_wrong" : "key_note");
  $("#key-form").hidden = false;
  $("#key").focus();
}

// The workspace

function showAll() {
  showModels();
  showHead();
  showForm();
  showOutcome();
  showCall();
}

function showHead() {
  const one = model();
  if (!one) return;
  const modes = one.state === "READY" ? modesOf(one, state.types.get(one.id)) : [];
  const facts = [];
  if (one.task) facts.push([t("parameters_count"), short(one.parameters)], [t("dtype"), one.dtype], [t("memory"), bytes(one.memory)], [t("device"), one.device], [t("load_time"), `${one.load_seconds.toFixed(2)} s`], [t("limit"), `${one.max_input_length} ${t("tokens")}`]);
  $("#head").replaceChildren(
    h("h1", {}, state.mode ? t(`m_${state.mode}`) : one.id),
    h("p", { class: "lead" }, state.mode ? t(`d_${state.mode}`) : `${t(STATES[one.state])}${one.reason ? `: ${one.reason}` : ""}`),
    modes.length > 1 ? h("div", { class: "tabs", role: "radiogroup", "aria-label": t("mode") }, modes.map((mode) => h("label", {}, h("input", { type: "radio", name: "mode", value: mode, checked: mode === state.mode, onchange: async () => {
      await choose({ id: one.id, mode });
      document.querySelector(`input[name=mode][value="${mode}"]`)?.focus();
    } }), h("span", {}, t(`m_${mode}`))))) : "",
    facts.length > 0 ? h("p", { class: "chips" }, facts.map(([name, value]) => h("span", {}, h("span", { class: "muted" }, name), " ", value))) : "",
    ...(one.warnings ?? []).map((warning) => h("p", { class: "warning" }, `${t("warnings")}: ${warning}`)));
}

function showForm() {
  if (!state.mode) return void $("#ask").replaceChildren();
  const spec = MODES[state.mode];
  $("#ask").replaceChildren(examplesRow(spec), ...spec.fields.map(field), parameterPanel(spec), runRow());
  updateCounts();
}

function examplesRow(spec) {
  const examples = spec.examples(exampleLanguage(model(), language()), model());
  return h("div", { class: "examples", role: "group", "aria-label": t("examples") }, h("span", { class: "muted" }, t("examples")), examples.map((example) => {
    const text = example.text ?? example.question ?? example.query;
    return h("button", { type: "button", class: "chip", title: text, lang: "ja", onclick: () => {
      state.values.set(slot(), { ...example });
      showForm();
      showCall();
      run();
    } }, text);
  }));
}

function field({ name, label, rows, optional }) {
  const id = `field-${name}`;
  return h("div", { class: "field" }, h("label", { for: id }, t(label)), h("span", { class: "count muted", id: `${id}-count` }),
    textarea(id, name, rows, optional));
}

function textarea(id, name, rows, optional) {
  const area = h("textarea", { id, rows, spellcheck: "false", "aria-describedby": `${id}-count`, required: !optional, oninput: () => {
    values()[name] = area.value;
    updateCounts();
    showCall();
  } });
  area.value = values()[name] ?? "";
  return area;
}

function updateCounts() {
  for (const { name } of MODES[state.mode].fields) $(`#field-${name}-count`).textContent = `${Array.from(values()[name] ?? "").length} ${t("characters")}`;
}

function parameterPanel(spec) {
  const open = $("#ask details")?.open ?? false;
  const given = parameters();
  const set = (name) => (event) => {
    given[name] = event.target.value;
    if (name === "do_sample") lockSampling();
    showCall();
  };
  const control = ({ name, kind, min, max, hint, options, value }) => {
    const id = `parameter-${name}`;
    if (kind === "flag" || kind === "choice") {
      const words = kind === "flag" ? [["true", t("on")], ["false", t("off")]] : options.map((option) => [option, option]);
      const blank = hint ? `${t("unset")} (${t(hint === "true" ? "on" : "off")})` : value ? `${t("unset")} (${value})` : t("unset");
      const select = h("select", { id, onchange: set(name) }, h("option", { value: "" }, blank), words.map(([option, word]) => h("option", { value: option }, word)));
      select.value = given[name] ?? "";
      return select;
    }
    const number = kind === "integer" || kind === "real";
    const input = h("input", { id, type: number ? "number" : "text", min, max, step: kind === "real" ? "any" : number ? 1 : null, placeholder: hint || null, spellcheck: "false", autocomplete: "off", oninput: set(name) });
    input.value = given[name] ?? "";
    return input;
  };
  const panel = h("details", { open }, h("summary", {}, t("parameters"), h("small", { class: "muted" }, ` ${t("defaults")}`)),
    h("div", { class: "grid" }, spec.parameters.map((one) => h("div", {}, h("label", { for: `parameter-${one.name}` }, h("code", {}, one.name)), control(one)))));
  queueMicrotask(lockSampling);
  return panel;
}

// Temperature and its kin only mean something when sampling.
function lockSampling() {
  if (!state.mode) return;
  for (const { name, sampling } of MODES[state.mode].parameters) {
    const control = sampling ? $(`#parameter-${name}`) : null;
    if (control) control.disabled = parameters().do_sample !== "true";
  }
}

function runRow() {
  return h("div", { class: "run" }, h("button", { class: "primary", id: "run" }, t("run")),
    h("button", { type: "button", id: "stop", hidden: true, onclick: () => state.running?.abort() }, t("stop")), h("span", { class: "muted" }, t("shortcut")));
}

function showCall() {
  if (!state.mode) return void $("#call").replaceChildren();
  let call;
  try {
    call = MODES[state.mode].request(state.id, values(), readParameters(state.mode, parameters()));
  } catch (error) {
    return void $("#call").replaceChildren(h("p", { class: "muted" }, error.message));
  }
  const all = snippets(call, location.origin, hasKey());
  const shown = all.find(([name]) => name === state.snippet);
  const focused = document.activeElement?.name === "snippet";
  $("#call").replaceChildren(
    h("div", { class: "call-head" }, h("div", { class: "tabs", role: "radiogroup", "aria-label": t("call") }, all.map(([name]) => h("label", {}, h("input", { type: "radio", name: "snippet", value: name, checked: name === state.snippet, onchange: () => {
      state.snippet = name;
      showCall();
    } }), h("span", {}, name)))), copyButton(() => shown[1], t)),
    h("pre", { tabindex: "0" }, h("code", {}, shown[1])));
  if (focused) $("#call input:checked").focus();
}

// Running

async function run() {
  if (!state.mode) return;
  state.running?.abort();
  const abort = new AbortController();
  state.running = abort;
  state.outcome = null;
  const started = slot();
  busy(true);
  try {
    const call = MODES[state.mode].request(state.id, values(), readParameters(state.mode, parameters()));
    const asked = { ...values() };
    const outcome = call.stream ? await stream(call, asked, abort.signal) : await once(call, asked, abort.signal);
    if (state.running !== abort || slot() !== started) return;
    state.outcome = outcome;
    showOutcome();
    announce(t("done"));
  } catch (error) {
    if (state.running === abort) error.name === "AbortError" ? stopped() : showError(error);
  } finally {
    if (state.running === abort) {
      state.running = null;
      busy(false);
    }
  }
}

async function once(call, asked, signal) {
  const { value, headers, milliseconds } = await postJson(call, signal);
  const mode = state.mode;
  return { make: () => [...view(mode, value, asked), warningOf(headers), timings(headers, milliseconds), rawReply(value)] };
}

async function stream(call, asked, signal) {
  const view = new StreamView();
  const events = [];
  $("#result").replaceChildren(view.element);
  let last = false;
  try {
    const headers = await postStream(call, signal, (event) => {
      if (event.error) throw new ApiError(0, event.error, event.error_type);
      if (signal.aborted) return;
      events.push(event);
      last = view.take(event);
    });
    if (!last) throw new Error(t("broken_stream"));
    return { make: () => [view.element, warningOf(headers), rawReply(events)] };
  } catch (error) {
    if (error.status === 422 && /num_beams/.test(error.message)) return once(call.whole, asked, signal);
    throw error;
  } finally {
    view.stop();
  }
}

function warningOf(headers) {
  const warning = headers.get("x-warning");
  return warning ? h("p", { class: "warning" }, `${t("warnings")}: ${warning}`) : "";
}

function rawReply(value) {
  const details = h("details", { class: "raw" }, h("summary", {}, t("raw")));
  // Made when opened: embeddings are long.
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("pre")) return;
    const text = JSON.stringify(value, null, 1);
    details.append(copyButton(() => text, t), h("pre", { tabindex: "0" }, h("code", {}, text.length > 20000 ? `${text.slice(0, 20000)}\n…` : text)));
  });
  return details;
}

function busy(on) {
  $(".outcome").setAttribute("aria-busy", String(on));
  const button = $("#run");
  if (!button) return;
  button.textContent = t(on ? "running" : "run");
  $("#stop").hidden = !on;
}

function stopped() {
  $("#result").append(h("p", { class: "muted" }, t("stopped")));
  announce(t("stopped"));
}

function announce(text) {
  $("#announce").textContent = "";
  requestAnimationFrame(() => { $("#announce").textContent = text; });
}

function showOutcome() {
  if (state.outcome) return void $("#result").replaceChildren(...state.outcome.make());
  $("#result").replaceChildren(h("p", { class: "empty muted" }, t("result_empty")));
}

function showError(error) {
  if (error.status === 401) askKey();
  const title = error.status ? t(`e${error.status}`) : t("error");
  const sentence = error instanceof ApiError && error.status === 0 && !error.type ? t("network") : error.message;
  $("#result").replaceChildren(h("div", { class: "error", role: "alert" }, h("strong", {}, title === `e${error.status}` ? t("error") : title), h("p", {}, sentence),
    h("p", { class: "muted" }, [error.status ? `HTTP ${error.status}` : "", error.type].filter(Boolean).join(" · "))));
}

// Start

$("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("#ask").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  $("#ask").requestSubmit();
});
document.addEventListener("keydown", (event) => event.key === "Escape" && state.running?.abort());
$("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("#key").value.trim());
  $("#key").value = "";
  loadModels();
});
addEventListener("hashchange", () => {
  const asked = fromAddress();
  if (asked && (asked.id !== state.id || asked.mode !== state.mode)) choose(asked);
});

wirePreferences(() => {
  showAll();
  showHealth();
  panel.show();
});
const panel = new StatusPanel($("#status"), (reached) => {
  if (reached === state.reached) return;
  state.reached = reached;
  showHealth();
  if (reached) loadModels();
});
showOutcome();
loadModels();
