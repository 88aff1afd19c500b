// Results of each task as elements. Offsets of the server count code points; JavaScript strings do not, hence Array.from.

import { bar, h, millis, score, svg } from "./dom.js";
import { t } from "./i18n.js";

const HUES = { PERSON: 265, PER: 265, ORG: 205, GPE: 150, LOC: 120, FAC: 175, DATE: 35, TIME: 20, MONEY: 55, PERCENT: 65, QUANTITY: 85, ORDINAL: 45, PRODUCT: 320, EVENT: 345, NORP: 295, LANGUAGE: 230, WORK_OF_ART: 5, MISC: 320 };

/** The colour of a label: known kinds have their own, others get a stable one from their name. */
function hue(label) {
  const kind = label.replace(/^[BIESL]-/, "");
  if (kind in HUES) return HUES[kind];
  let sum = 7;
  for (const letter of kind) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

const percent = (value) => (value >= 0 && value <= 1 ? `${(value * 100).toFixed(1)} %` : score(value));

function table(heads, rows) {
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell)))))));
}

/** Text with some spans marked; `spans`: {start, end, make(text)} in code points, sorted, overlaps left out. */
function marked(text, spans) {
  const points = Array.from(text);
  const out = [];
  let at = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (span.start < at || span.end <= span.start) continue;
    out.push(points.slice(at, span.start).join(""), span.make(points.slice(span.start, span.end).join("")));
    at = span.end;
  }
  return h("p", { class: "read" }, out, points.slice(at).join(""));
}

// The tag holds on to the last character, so that it never begins a line alone.
function withTag(text, label) {
  const points = Array.from(text);
  return [points.slice(0, -1).join(""), h("span", { class: "tail" }, points.at(-1), h("small", {}, label))];
}

function entities(value, { text }) {
  if (value.length === 0) return [h("p", { class: "read" }, text), h("p", { class: "muted" }, t("no_entities"))];
  const kind = (entity) => entity.entity_group ?? entity.entity;
  const view = marked(text, value.map((entity) => ({
    start: entity.start,
    end: entity.end,
    make: (part) => h("mark", { class: "ent", "--h": hue(kind(entity)), title: `${kind(entity)} ${percent(entity.score)}` }, withTag(part, kind(entity))),
  })));
  const counts = new Map();
  for (const entity of value) counts.set(kind(entity), (counts.get(kind(entity)) ?? 0) + 1);
  const legend = h("ul", { class: "legend" }, [...counts].map(([label, count]) => h("li", { "--h": hue(label) }, h("i", { "aria-hidden": "true" }), label, h("b", {}, ` ${count}`))));
  const rows = value.map((entity) => [h("span", { class: "kind", "--h": hue(kind(entity)) }, kind(entity)), entity.word, h("span", { class: "num" }, `${entity.start}–${entity.end}`), h("span", { class: "with-bar" }, bar(entity.score), h("span", { class: "num" }, percent(entity.score)))]);
  return [view, legend, table([t("entity"), t("text"), t("position"), t("score")], rows)];
}

function labelBars(labels) {
  const most = Math.max(...labels.map((label) => Math.abs(label.score)), 1);
  return h("ol", { class: "bars" }, labels.map(({ label, score: value }, rank) => h("li", { class: rank === 0 ? "best" : null }, h("span", { class: "name" }, label), bar(Math.abs(value) / most), h("span", { class: "num" }, percent(value)))));
}

function fills(value) {
  const masks = Array.isArray(value[0]) ? value : [value];
  return masks.map((candidates, index) => [
    masks.length > 1 ? h("h3", {}, `${t("mask_n")} ${index + 1}`) : null,
    h("ol", { class: "bars fill" }, candidates.map((fill, rank) => h("li", { class: rank === 0 ? "best" : null, title: fill.sequence }, h("span", { class: "name" }, fill.token_str), bar(fill.score), h("span", { class: "num" }, percent(fill.score)), h("span", { class: "sequence muted" }, fill.sequence)))),
  ]).flat();
}

function answers(value, { context }) {
  const list = Array.isArray(value) ? value : [value];
  const best = list[0];
  if (!best || best.answer === "") return [h("p", { class: "read" }, context), h("p", { class: "muted" }, t("no_answer"))];
  const view = marked(context, [{ start: best.start, end: best.end, make: (part) => h("mark", { class: "answer" }, part) }]);
  const rows = list.map((answer) => [answer.answer, h("span", { class: "num" }, `${answer.start}–${answer.end}`), h("span", { class: "with-bar" }, bar(answer.score), h("span", { class: "num" }, percent(answer.score)))]);
  return [h("p", { class: "big" }, best.answer, " ", h("small", { class: "muted" }, percent(best.score))), view, list.length > 1 ? table([t("answer"), t("position"), t("score")], rows) : null];
}

const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
const norm = (a) => Math.sqrt(dot(a, a));

// The first dimensions as small bars up and down from a middle line.
function profile(vector) {
  const shown = vector.slice(0, 96);
  const most = Math.max(...shown.map(Math.abs), 1e-12);
  return svg("svg", { class: "profile", viewBox: `0 0 ${shown.length * 3} 32`, preserveAspectRatio: "none", "aria-hidden": "true" },
    shown.map((value, index) => svg("rect", { x: index * 3, y: value > 0 ? 16 - (value / most) * 15 : 16, width: 2, height: Math.max(0.4, (Math.abs(value) / most) * 15), class: value > 0 ? "up" : "down" })));
}

function vectors(value, { text }) {
  const sentences = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const norms = value.map(norm);
  const similarity = (a, b) => dot(value[a], value[b]) / (norms[a] * norms[b] || 1);
  const matrix = h("div", { class: "scroll" }, h("table", { class: "matrix" }, h("caption", {}, t("similarity")),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("sentence")), value.map((_, index) => h("th", { scope: "col" }, String(index + 1))))),
    h("tbody", {}, value.map((_, row) => h("tr", {}, h("th", { scope: "row", title: sentences[row] }, `${row + 1}. ${sentences[row]}`), value.map((_, column) => {
      const cell = similarity(row, column);
      return h("td", { "--share": `${Math.round(Math.max(0, cell) * 45)}%` }, cell.toFixed(2));
    }))))));
  const list = h("ol", { class: "vectors" }, value.map((vector, index) => h("li", {}, h("p", {}, sentences[index], h("span", { class: "muted num" }, ` ${vector.length} ${t("dimensions")}, ${t("norm")} ${norms[index].toFixed(3)}`)), profile(vector), h("code", {}, `[${vector.slice(0, 6).map((x) => x.toFixed(4)).join(", ")}${vector.length > 6 ? ", …" : ""}]`))));
  return [value.length > 1 ? matrix : null, h("h3", {}, t("vectors")), list];
}

function ranking(value) {
  return h("ol", { class: "bars fill" }, value.map((item, rank) => h("li", { class: rank === 0 ? "best" : null }, h("span", { class: "name" }, `#${item.index + 1}`), bar(item.score), h("span", { class: "num" }, percent(item.score)), h("span", { class: "sequence" }, item.text))));
}

function tokens(value) {
  const list = value[0] ?? [];
  return [
    h("p", { class: "muted" }, `${list.length} ${t("tokens")}`),
    h("ul", { class: "tokens" }, list.map((token, index) => h("li", { class: token.special ? "special" : `tone${index % 4}`, title: token.special ? `${t("special")} · ${t("id")} ${token.id}` : `${t("id")} ${token.id} · ${token.start}–${token.stop}` }, token.text, h("small", {}, String(token.id))))),
  ];
}

const texts = (value) => value.map((item) => h("p", { class: "read" }, item.generated_text));

const VIEWS = {
  "token-classification": entities,
  "text-classification": (value) => [labelBars(value[0])],
  "zero-shot-classification": (value) => [labelBars(value)],
  "fill-mask": fills,
  "question-answering": answers,
  "feature-extraction": vectors,
  rerank: (value) => [ranking(value)],
  "text-generation": texts,
  "text2text-generation": texts,
  tokenize: tokens,
};

/** The reply of a task as elements. `values`: the fields the request was made of. */
export const view = (mode, value, values) => VIEWS[mode](value, values).filter((element) => element !== null);

const FACTS = [["x-compute-characters", "count_characters"], ["x-compute-tokens", "count_tokens"], ["x-compute-type", "device"]];

/** Where the time went, from the reply's headers. */
export function timings(headers, roundTrip) {
  const parts = new Map();
  for (const part of (headers.get("server-timing") ?? "").split(",")) {
    const found = /^\s*([\w-]+);dur=([\d.]+)/.exec(part);
    if (found) parts.set(found[1], Number(found[2]));
  }
  const stages = ["tokenization", "queue", "inference"].filter((name) => parts.has(name));
  const whole = Math.max(stages.reduce((sum, name) => sum + parts.get(name), 0), 1e-9);
  const facts = stages.map((name) => [t(name), millis(parts.get(name)), name]);
  if (parts.has("total")) facts.push([t("total"), millis(parts.get("total"))]);
  facts.push([t("roundtrip"), millis(roundTrip)]);
  for (const [header, word] of FACTS) if (headers.get(header)) facts.push([t(word), headers.get(header)]);
  return h("div", { class: "timings" },
    stages.length > 0 ? h("div", { class: "stack", "aria-hidden": "true" }, stages.map((name) => h("i", { class: name, "--share": `${(parts.get(name) / whole) * 100}%` }))) : null,
    factList(facts));
}

/** [name, value, class of its dot?] as a definition list. */
export function factList(facts) {
  return h("dl", { class: "facts" }, facts.map(([name, value, dotClass]) => h("div", {}, h("dt", {}, dotClass ? h("i", { class: `dot ${dotClass}`, "aria-hidden": "true" }) : null, name), h("dd", {}, value))));
}

/** Text that grows with a stream. */
export class StreamView {
  constructor() {
    this.text = h("span");
    this.facts = h("div");
    this.element = h("div", {}, h("p", { class: "read stream live" }, this.text), h("p", { class: "muted hint" }, t("likely")), this.facts);
    this.start = performance.now();
    this.first = 0;
    this.count = 0;
  }

  /** One event; returns true for the last. */
  take(event) {
    const now = performance.now();
    if (this.count === 0) this.first = now;
    this.count = event.index;
    if (!event.token.special) this.text.append(this.piece(event.token));
    const last = event.generated_text !== null;
    if (last) this.finish(event);
    this.show(now, event.details);
    return last;
  }

  piece(token) {
    const doubt = Math.max(0, Math.min(1, 1 - Math.exp(token.logprob)));
    return h("span", { class: doubt > 0.05 ? "tok doubt" : "tok", "--doubt": `${Math.round(doubt * 100)}%`, title: `${t("id")} ${token.id} · ${percent(1 - doubt)}` }, token.text);
  }

  // The final text is the truth; what stands before the pieces is the prompt (return_full_text).
  finish({ generated_text: whole }) {
    const shown = this.text.textContent;
    if (whole === shown) return;
    if (whole.endsWith(shown)) this.text.prepend(h("span", { class: "muted" }, whole.slice(0, whole.length - shown.length)));
    else this.text.textContent = whole;
  }

  show(now, details) {
    // The first token ends the waiting; speed is that of the tokens after it.
    const seconds = (now - this.first) / 1000;
    const facts = [[t("generated"), `${this.count} ${t("tokens")}`]];
    if (this.count > 1 && seconds > 0) facts.push([t("speed"), `${((this.count - 1) / seconds).toFixed(1)} ${t("tokens")}/s`]);
    facts.push([t("first_token"), millis(this.first - this.start)], [t("elapsed"), millis(now - this.start)]);
    if (details) {
      facts.push([t("f_prompt"), `${details.input_length} ${t("tokens")}`]);
      if (details.seed !== null) facts.push(["seed", String(details.seed)]);
    }
    this.facts.replaceChildren(factList(facts), ...(details ? [h("p", { class: "muted note" }, t(`finish_${details.finish_reason}`))] : []));
  }

  stop() {
    this.element.querySelector(".live")?.classList.remove("live");
  }
}
