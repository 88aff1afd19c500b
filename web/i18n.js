// Words of the page in both languages, and the switches for language and theme.

const WORDS = {
  ja: {
    title: "Inazuma プレイグラウンド", docs_title: "Inazuma API リファレンス", playground: "プレイグラウンド", contents: "目次", skip: "本文へ移動", docs: "API リファレンス", language: "言語", theme: "配色",
    theme_auto: "自動", theme_light: "ライト", theme_dark: "ダーク", models: "モデル", status: "サーバーの状態",
    no_models: "モデルがまだありません。", connecting: "サーバーに接続しています…", ready: "稼働中", loading: "読み込み中", unavailable: "利用不可", offline: "応答なし",
    inflight: "処理中", waiting: "待機", served: "完了", failed: "失敗", rate: "リクエスト/秒", token_rate: "トークン/秒", memory: "メモリ",
    metrics_off: "このサーバーでは /metrics を読めません。", last_minute: "直近 2 分",
    mode: "できること", examples: "例文", parameters: "パラメーター", defaults: "空欄はモデルの既定値", run: "実行", stop: "停止", running: "実行中…",
    characters: "文字", up_to: "最大", tokens: "トークン", result: "結果", result_empty: "文章を入力して「実行」を押すと、ここに結果が出ます。", shortcut: "Ctrl / ⌘ + Enter でも実行できます", count_characters: "文字数", count_tokens: "トークン数",
    call: "同じ呼び出し", copy: "コピー", copied: "コピーしました", copy_failed: "コピーできませんでした", raw: "応答の JSON", done: "完了しました",
    key_title: "API キーが必要です", key_label: "API キー", key_save: "使う", key_note: "このタブを閉じるまで、ブラウザーの中だけに保存します。", key_wrong: "このキーは受け付けられませんでした。",
    error: "エラー", network: "サーバーに届きませんでした。起動しているか確認してください。", broken_stream: "応答が途中で切れました。", stopped: "停止しました。", retry: "もう一度",
    e400: "リクエストの形が正しくありません", e401: "API キーが必要です", e403: "許可されていません", e404: "見つかりません", e413: "大きすぎます", e422: "値が正しくありません", e424: "このモデルでは処理できません",
    e429: "混み合っています", e500: "サーバー内部のエラー", e501: "この機能はありません", e503: "まだ準備中です", e504: "時間切れです",
    tokenization: "トークン化", queue: "待ち", inference: "推論", total: "サーバー合計", roundtrip: "往復", device: "装置", first_token: "最初のトークン", speed: "速度", generated: "生成", elapsed: "経過",
    warnings: "注意", entity: "種類", text: "文章", score: "確信度", position: "位置", no_entities: "固有表現は見つかりませんでした。", rank: "順位", label: "ラベル", answer: "答え", no_answer: "答えは見つかりませんでした。",
    candidates: "候補", mask_n: "マスク", sentence: "文", similarity: "コサイン類似度", vectors: "ベクトル", dimensions: "次元", norm: "ノルム", special: "特殊", id: "ID",
    likely: "下線が濃いトークンほど、モデルの迷いが大きかったところです。", finish_length: "長さの上限で終了", finish_eos_token: "文末トークンで終了", finish_stop_sequence: "停止文字列で終了",
    f_text: "文章", f_prompt: "プロンプト", f_source: "元の文章", f_question: "質問", f_context: "本文", f_lines: "文（1 行に 1 つ）", f_query: "検索文", f_documents: "文書（1 行に 1 つ）", f_masked: "マスクを含む文章", f_labels: "ラベルの候補（コンマ区切り）", f_pair: "対になる文章（任意）",
    on: "する", off: "しない", unset: "既定",
    "m_token-classification": "固有表現抽出", "m_text-classification": "文章分類", "m_zero-shot-classification": "ゼロショット分類", "m_fill-mask": "穴埋め", "m_question-answering": "質問応答", "m_feature-extraction": "埋め込み",
    "m_text-generation": "文章生成", "m_text2text-generation": "文章変換", m_rerank: "並べ替え", m_tokenize: "トークン化",
    "d_token-classification": "文章の中の人名・組織・地名・日付などに印を付けます。", "d_text-classification": "文章がどのラベルに当たるかを確率で答えます。", "d_zero-shot-classification": "その場で決めたラベルで分類します。", "d_fill-mask": "マスクに入る語を予想します。",
    "d_question-answering": "本文の中から答えを抜き出します。", "d_feature-extraction": "文章をベクトルにして、近さを比べます。", "d_text-generation": "入力の続きを、1 トークンずつ書きます。", "d_text2text-generation": "入力を別の文章に書き換えます。",
    d_rerank: "検索文に近い順に文書を並べます。", d_tokenize: "モデルが文章をどう区切るかを見ます。", details: "くわしく", parameters_count: "パラメーター数", dtype: "型", load_time: "読み込み", tokenizer: "トークナイザー", limit: "入力の上限",
  },
  en: {
    title: "Inazuma playground", docs_title: "Inazuma API reference", playground: "Playground", contents: "Contents", skip: "Skip to content", docs: "API reference", language: "Language", theme: "Theme",
    theme_auto: "Auto", theme_light: "Light", theme_dark: "Dark", models: "Models", status: "Server status",
    no_models: "No model is served yet.", connecting: "Connecting to the server…", ready: "Ready", loading: "Loading", unavailable: "Unavailable", offline: "No answer",
    inflight: "In flight", waiting: "Waiting", served: "Served", failed: "Failed", rate: "Requests/s", token_rate: "Tokens/s", memory: "Memory",
    metrics_off: "/metrics cannot be read on this server.", last_minute: "last 2 minutes",
    mode: "What it does", examples: "Examples", parameters: "Parameters", defaults: "blank = the model's default", run: "Run", stop: "Stop", running: "Running…",
    characters: "characters", up_to: "up to", tokens: "tokens", result: "Result", result_empty: "Type a text and press Run: the result appears here.", shortcut: "Ctrl / ⌘ + Enter runs too", count_characters: "Characters", count_tokens: "Tokens",
    call: "The same call", copy: "Copy", copied: "Copied", copy_failed: "Could not copy", raw: "Reply as JSON", done: "Done",
    key_title: "An API key is needed", key_label: "API key", key_save: "Use it", key_note: "Kept in this browser tab only, until it is closed.", key_wrong: "This key was not accepted.",
    error: "Error", network: "The server could not be reached. Is it running?", broken_stream: "The reply ended early.", stopped: "Stopped.", retry: "Try again",
    e400: "The request is not well formed", e401: "An API key is needed", e403: "Not allowed", e404: "Not found", e413: "Too large", e422: "A value is not valid", e424: "This model cannot do that",
    e429: "The server is busy", e500: "Error inside the server", e501: "Not offered here", e503: "Not ready yet", e504: "Out of time",
    tokenization: "Tokenization", queue: "Queue", inference: "Inference", total: "Server total", roundtrip: "Round trip", device: "Device", first_token: "First token", speed: "Speed", generated: "Generated", elapsed: "Elapsed",
    warnings: "Note", entity: "Kind", text: "Text", score: "Score", position: "Position", no_entities: "No entities found.", rank: "Rank", label: "Label", answer: "Answer", no_answer: "No answer found.",
    candidates: "Candidates", mask_n: "Mask", sentence: "Sentence", similarity: "Cosine similarity", vectors: "Vectors", dimensions: "dimensions", norm: "norm", special: "special", id: "ID",
    likely: "The stronger the underline, the less certain the model was of that token.", finish_length: "ended at the length limit", finish_eos_token: "ended by itself", finish_stop_sequence: "ended at a stop string",
    f_text: "Text", f_prompt: "Prompt", f_source: "Source text", f_question: "Question", f_context: "Context", f_lines: "Sentences (one per line)", f_query: "Query", f_documents: "Documents (one per line)", f_masked: "Text with a mask", f_labels: "Candidate labels (comma separated)", f_pair: "Second text of a pair (optional)",
    on: "yes", off: "no", unset: "default",
    "m_token-classification": "Named entities", "m_text-classification": "Classification", "m_zero-shot-classification": "Zero-shot", "m_fill-mask": "Fill the mask", "m_question-answering": "Question answering", "m_feature-extraction": "Embeddings",
    "m_text-generation": "Text generation", "m_text2text-generation": "Rewriting", m_rerank: "Reranking", m_tokenize: "Tokens",
    "d_token-classification": "Marks people, organisations, places, dates and more in a text.", "d_text-classification": "Says with what probability each label fits a text.", "d_zero-shot-classification": "Classifies with labels you choose on the spot.", "d_fill-mask": "Predicts the word behind the mask.",
    "d_question-answering": "Finds the answer inside a passage.", "d_feature-extraction": "Turns texts into vectors and compares them.", "d_text-generation": "Continues the input, token by token.", "d_text2text-generation": "Rewrites the input as another text.",
    d_rerank: "Orders documents by how well they fit a query.", d_tokenize: "Shows how the model cuts a text.", details: "Details", parameters_count: "Parameters", dtype: "Type", load_time: "Loaded in", tokenizer: "Tokenizer", limit: "Input limit",
  },
};

export const language = () => (document.documentElement.lang === "ja" ? "ja" : "en");

/** The word for `key` in the chosen language; the key itself when no word is known. */
export function t(key) {
  return WORDS[language()][key] ?? key;
}

/** Remembers a preference where the browser allows it. */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // storage is switched off: the choice lasts until the page is closed
  }
}

/** Fills every element that names its word: data-t (text) and data-t-label (accessible name). */
export function translatePage() {
  if (document.body.dataset.title) document.title = t(document.body.dataset.title);
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
}

/** Wires #language and #theme of a page; `changed` is called after the language changed. */
export function wirePreferences(changed) {
  const root = document.documentElement;
  const languages = document.querySelector("#language");
  const themes = document.querySelector("#theme");
  languages.value = language();
  themes.value = root.dataset.theme ?? "auto";
  languages.addEventListener("change", () => {
    root.lang = languages.value;
    remember("inazuma.lang", languages.value);
    translatePage();
    changed();
  });
  themes.addEventListener("change", () => {
    if (themes.value === "auto") delete root.dataset.theme;
    else root.dataset.theme = themes.value;
    remember("inazuma.theme", themes.value === "auto" ? null : themes.value);
  });
  translatePage();
}
