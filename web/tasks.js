// What each task asks for and sends: fields, parameters, examples, and the request made of them.

const pathOf = (id, rest = "") => "/models/" + id.split("/").map(encodeURIComponent).join("/") + rest;
const lines = (text) => text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
const area = (name, label, rows = 4) => ({ name, label, rows });
const integer = (name, min, hint = "") => ({ name, kind: "integer", min, hint });
const real = (name, min, max, hint = "") => ({ name, kind: "real", min, max, hint });
const flag = (name, hint = "") => ({ name, kind: "flag", hint });
const choice = (name, options, value) => ({ name, kind: "choice", options, value });

/** A task-API call: inputs and the parameters that were given. */
function call(id, inputs, parameters, rest = "") {
  const body = { inputs };
  if (Object.keys(parameters).length > 0) body.parameters = parameters;
  return { path: pathOf(id, rest), body };
}

const GENERATION = [
  integer("max_new_tokens", 1), flag("do_sample", "false"), { ...real("temperature", 0.01, 10, "1.0"), sampling: true }, { ...integer("top_k", 0, "50"), sampling: true },
  { ...real("top_p", 0.01, 1, "1.0"), sampling: true }, { ...integer("seed", 0), sampling: true }, real("repetition_penalty", 0.01, 10, "1.0"), integer("no_repeat_ngram_size", 0, "0"),
  integer("num_beams", 1), real("length_penalty", -10, 10, "1.0"),
  { name: "stop", kind: "list", hint: "。, ::" },
];

/** Text as it grows; a search among beams knows its text only at the end, so it is asked for whole (also where the directory's own settings search). */
const generate = (id, values, parameters) => {
  const whole = call(id, values.text, parameters);
  return parameters.num_beams > 1 ? whole : { ...call(id, values.text, parameters, "/generate_stream"), stream: true, whole };
};

const REWRITES = ["お名前を教えてください。", "本日は雨が降っていますが、会議は予定通り行います。", "先生は明日東京へ行かれます。", "その本はとても面白かったです。"];
const rewriting = (suffix) => REWRITES.map((text) => ({ text: text + suffix }));
const isRewriter = (model) => /style-ja/.test(model.id);

/** Language of a model's examples: its own where its name or tokenizer tells, whatever language the page has. */
export const exampleLanguage = (model, page) => (/japanese/i.test(model.tokenizer ?? "") || /(^|[-_/])(ja|jp|japanese)([-_/]|$)/i.test(model.id) ? "ja" : page);

/** Modes in the order they are offered. `examples(lang, model)` gives values of the fields. */
export const MODES = {
  "token-classification": {
    fields: [area("text", "f_text", 5)],
    parameters: [choice("aggregation_strategy", ["none", "simple", "first", "average", "max"], "simple"), integer("stride", 0)],
    initial: { aggregation_strategy: "first" },  // whole words, as people read them; the API's own default is simple
    examples: (lang) => ({
      ja: [
        { text: "ジョー・バイデンはアメリカの大統領です。" },
        { text: "山田花子さんは2023年4月1日に京都大学を卒業し、株式会社日立製作所に入社しました。" },
        { text: "トヨタ自動車は愛知県豊田市に本社を置き、昨年の売上は約37兆円でした。" },
        { text: "昨日の午後3時、大谷翔平選手が東京ドームで2本の本塁打を打った。" },
      ],
      en: [{ text: "Marie Curie was born in Warsaw in 1867 and worked at the University of Paris." }, { text: "Amazon opened an office in Nairobi in March." }],
    })[lang],
    request: (id, values, parameters) => call(id, values.text, parameters),
  },
  "text-classification": {
    fields: [area("text", "f_text", 5), { ...area("pair", "f_pair", 2), optional: true }],
    parameters: [integer("top_k", 1), choice("function_to_apply", ["softmax", "sigmoid", "none"], "")],
    examples: (lang) => ({
      ja: [{ text: "この映画は本当に素晴らしかった。もう一度見たい。" }, { text: "店員の態度が悪く、料理も冷めていて残念でした。" }, { text: "明日は全国的に晴れるでしょう。" }],
      en: [{ text: "I loved every minute of this film." }, { text: "The service was slow and the food was cold." }],
    })[lang],
    request: (id, values, parameters) => call(id, values.pair ? { text: values.text, text_pair: values.pair } : values.text, parameters),
  },
  "zero-shot-classification": {
    fields: [area("text", "f_text", 4), area("labels", "f_labels", 2)],
    parameters: [flag("multi_label", "false"), { name: "hypothesis_template", kind: "text", hint: "This example is {}." }],
    examples: (lang) => ({
      ja: [{ text: "新しいスマートフォンは電池が二日もつらしい。", labels: "技術, 政治, スポーツ, 料理" }, { text: "延長戦の末、地元のチームが優勝した。", labels: "技術, 政治, スポーツ, 料理" }],
      en: [{ text: "The new phone lasts two days on one charge.", labels: "technology, politics, sports, cooking" }],
    })[lang],
    request: (id, values, parameters) =>
      call(id, values.text, { candidate_labels: values.labels.split(/[,、，]/).map((label) => label.trim()).filter((label) => label !== ""), ...parameters }, "/pipeline/zero-shot-classification"),
  },
  "fill-mask": {
    fields: [area("text", "f_masked", 3)],
    parameters: [integer("top_k", 1, "5"), { name: "targets", kind: "list" }],
    examples: (lang) => ({
      ja: [{ text: "日本の首都は[MASK]です。" }, { text: "[MASK]で朝ごはんを食べます。" }, { text: "富士山は日本で一番[MASK]山です。" }],
      en: [{ text: "The capital of France is [MASK]." }, { text: "She plays the [MASK] in an orchestra." }],
    })[lang],
    request: (id, values, parameters) => call(id, values.text, parameters),
  },
  "question-answering": {
    fields: [area("question", "f_question", 2), area("context", "f_context", 7)],
    parameters: [integer("top_k", 1, "1"), integer("max_answer_len", 1, "15"), integer("max_seq_len", 1), integer("doc_stride", 0), flag("handle_impossible_answer", "false")],
    examples: (lang) => ({
      ja: [{ question: "富士山の高さは何メートルですか。", context: "富士山は静岡県と山梨県にまたがる活火山である。標高は3776メートルで、日本で最も高い。2013年に世界文化遺産に登録された。" }],
      en: [{ question: "How high is Mount Fuji?", context: "Mount Fuji is an active volcano in Japan. At 3776 metres it is the highest mountain of the country. It became a World Heritage Site in 2013." }],
    })[lang],
    request: (id, values, parameters) => call(id, { question: values.question, context: values.context }, parameters),
  },
  "feature-extraction": {
    fields: [area("text", "f_lines", 6)],
    parameters: [flag("normalize", "true"), integer("dimensions", 1)],
    examples: (lang) => ({
      ja: [{ text: "猫が窓辺で昼寝をしている。\n子猫が日なたで眠っている。\n株価が大きく下がった。\n市場は今日も値下がりした。" }],
      en: [{ text: "A cat naps by the window.\nThe kitten sleeps in the sun.\nShares fell sharply.\nThe market lost ground again." }],
    })[lang],
    request: (id, values, parameters) => ({ path: pathOf(id, "/embed"), body: { inputs: lines(values.text), ...parameters } }),
  },
  "text-generation": {
    fields: [area("text", "f_prompt", 5)],
    parameters: [...GENERATION, flag("return_full_text", "false")],
    examples: (lang, model) => (isRewriter(model) ? rewriting("::") : {
      ja: [{ text: "昔々あるところに、" }, { text: "今日の天気は" }],
      en: [{ text: "Once upon a time, in a small village," }, { text: "The best way to learn a language is" }],
    }[lang]),
    request: generate,
  },
  "text2text-generation": {
    fields: [area("text", "f_source", 5)],
    parameters: GENERATION,
    examples: (lang, model) => (isRewriter(model) ? rewriting("") : {
      ja: [{ text: "その男は窃盗犯に問われた。" }, { text: "彼は寛大であると聞いている。" }],
      en: [{ text: "translate English to German: The house is wonderful." }],
    }[lang]),
    request: generate,
  },
  rerank: {
    fields: [area("query", "f_query", 2), area("documents", "f_documents", 6)],
    parameters: [flag("raw_scores", "false")],
    examples: (lang) => ({
      ja: [{ query: "日本で一番高い山", documents: "富士山の標高は3776メートルです。\n琵琶湖は日本最大の湖です。\n今日の昼食はうどんでした。" }],
      en: [{ query: "highest mountain of Japan", documents: "Mount Fuji is 3776 metres high.\nLake Biwa is the largest lake.\nLunch was noodles." }],
    })[lang],
    request: (id, values, parameters) => ({ path: pathOf(id, "/rerank"), body: { query: values.query, texts: lines(values.documents), return_text: true, ...parameters } }),
  },
  tokenize: {
    fields: [area("text", "f_text", 4)],
    parameters: [flag("add_special_tokens", "true")],
    examples: (lang) => ({
      ja: [{ text: "すもももももももものうち" }, { text: "東京都に住む👩‍👩‍👧さん、ｶﾀｶﾅも読めますか。" }],
      en: [{ text: "Tokenization isn't trivial, naïvely speaking." }, { text: "すもももももももものうち" }],
    })[lang],
    request: (id, values, parameters) => ({ path: pathOf(id, "/tokenize"), body: { inputs: [values.text], ...parameters } }),
  },
};

/** Modes a model can serve, its own task first. `type` is model_type of its /info. */
export function modesOf(model, type) {
  if (type?.reranker) return ["rerank", "tokenize"];
  const modes = MODES[model.task] ? [model.task] : [];
  const labels = Object.keys(type?.classifier?.label2id ?? {});
  if (model.task === "text-classification" && labels.some((label) => label.toLowerCase().startsWith("entail"))) modes.push("zero-shot-classification");
  return [...modes, "tokenize"];
}

/** Parameters as the server wants them; what was left blank is not sent. Throws a sentence for a field that is no number. */
export function readParameters(mode, given) {
  const out = {};
  for (const { name, kind, sampling } of MODES[mode].parameters) {
    const text = (given[name] ?? "").trim();
    if (text === "" || (sampling && given.do_sample !== "true")) continue;
    if (kind === "integer" || kind === "real") {
      const number = Number(text);
      if (!Number.isFinite(number) || (kind === "integer" && !Number.isInteger(number))) throw new Error(`${name}: ${text}`);
      out[name] = number;
    } else if (kind === "flag") out[name] = text === "true";
    else if (kind === "list") out[name] = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
    else out[name] = text;
  }
  return out;
}
