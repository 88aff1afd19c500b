// The small live panel: reads /metrics while the page is visible.

import { ApiError, getText } from "./api.js";
import { bytes, h, short, svg } from "./dom.js";
import { t } from "./i18n.js";

const PERIOD = 2000;
const KEPT = 60;

/** Sums of the samples of each series, all labels together. */
export function sums(text) {
  const out = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{.*\})?\s+(\S+)/.exec(line);
    if (!found) continue;
    const value = Number(found[2]);
    if (Number.isFinite(value)) out.set(found[1], (out.get(found[1]) ?? 0) + value);
  }
  return out;
}

function sparkline(values) {
  const most = Math.max(...values, 1e-9);
  const x = (index) => (100 * (KEPT - values.length + index)) / (KEPT - 1);
  const y = (value) => 26 - (value / most) * 23;
  const line = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return svg("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("polygon", { points: `${x(0).toFixed(1)},27 ${line} 100,27` }), svg("polyline", { points: line }));
}

export class StatusPanel {
  /** `onReach(ok)`: whether the server answered. */
  constructor(element, onReach) {
    this.element = element;
    this.onReach = onReach;
    this.requests = [];
    this.tokens = [];
    this.last = null;
    this.readable = true;
    this.tick();
    document.addEventListener("visibilitychange", () => document.hidden || this.tick());
  }

  async tick() {
    clearTimeout(this.timer);
    if (document.hidden) return;
    try {
      this.take(sums(await getText("/metrics")), performance.now());
      this.readable = true;
      this.onReach(true);
    } catch (error) {
      // Refused or switched off is an answer too; only silence means the server is gone.
      this.readable = false;
      this.onReach(error instanceof ApiError && error.status !== 0);
    }
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tick(), PERIOD);
  }

  take(now, time) {
    const get = (name) => now.get(name) ?? 0;
    const current = {
      time,
      served: get("nv_inference_request_success"),
      failed: get("nv_inference_request_failure"),
      tokens: get("inazuma_generated_tokens_total") + get("inazuma_prompt_tokens_total"),
      inflight: get("inazuma_inflight_requests"),
      waiting: get("inazuma_waiting_sequences"),
      memory: get("process_resident_memory_bytes"),
    };
    if (this.last && time > this.last.time) {
      const seconds = (time - this.last.time) / 1000;
      // A counter that went back is a server that was started again.
      this.requests.push(Math.max(0, current.served + current.failed - this.last.served - this.last.failed) / seconds);
      this.tokens.push(Math.max(0, current.tokens - this.last.tokens) / seconds);
      if (this.requests.length > KEPT) this.requests.shift(), this.tokens.shift();
    }
    this.last = current;
  }

  show() {
    if (!this.last) return void this.element.replaceChildren(h("p", { class: "muted" }, this.readable ? t("connecting") : t("metrics_off")));
    const { inflight, waiting, served, failed, memory } = this.last;
    const figure = (name, value) => h("div", {}, h("dt", {}, t(name)), h("dd", {}, value));
    const chart = (name, values) => h("div", { class: "chart" }, h("p", {}, h("span", { class: "muted" }, t(name)), h("b", {}, (values.at(-1) ?? 0).toFixed(1))), sparkline(values.length > 1 ? values : [0, 0]));
    this.element.replaceChildren(
      h("dl", { class: "figures" }, figure("inflight", short(inflight)), figure("waiting", short(waiting)), figure("served", short(served)), figure("failed", short(failed)), figure("memory", bytes(memory))),
      chart("rate", this.requests), chart("token_rate", this.tokens));
  }
}
