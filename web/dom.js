// Small helpers to build the page: text is only ever set as text, never as markup.

/** An element: h("p", {class: "x", onclick: f}, "text", child, ...). Null children are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A share of 1 as a bar; decorative, the number stands beside it. */
export const bar = (share) => h("span", { class: "bar", "aria-hidden": "true" }, h("i", { "--share": `${Math.max(0, Math.min(1, share)) * 100}%` }));

/** Score with three figures that matter, never "1.000" for less than one. */
export function score(value) {
  if (value > 0.9995 && value < 1) return ">0.999";
  if (value !== 0 && Math.abs(value) < 0.0005) return value.toExponential(1);
  return value.toFixed(3);
}

/** Bytes in a readable unit. */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) count /= 1024, unit += 1;
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

/** 1234567 -> "1.2 M". */
export function short(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} B`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(1)} M`;
  if (count >= 1e4) return `${(count / 1e3).toFixed(0)} K`;
  return String(count);
}

/** Milliseconds for people. */
export const millis = (value) => (value >= 1000 ? `${(value / 1000).toFixed(2)} s` : value >= 10 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`);

/** A button that copies what `text()` gives. */
export function copyButton(text, t) {
  const button = h("button", { type: "button", class: "small", onclick: async () => {
    let said = "copied";
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      said = "copy_failed";  // plain http on another host: browsers keep the clipboard away
    }
    button.textContent = t(said);
    setTimeout(() => { button.textContent = t("copy"); }, 1500);
  } }, t("copy"));
  return button;
}
