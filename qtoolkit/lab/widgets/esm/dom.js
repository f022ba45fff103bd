// What every widget stands on: elements, controls that work by keyboard, and a frame that says in words what it shows.

const SVG = "http://www.w3.org/2000/svg";
let serial = 0;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat());
  return node;
}

// JupyterLab takes arrows, digits and letters for commands, unless the focused element itself says that it wants them.
const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };
const CONTROLS = ["input", "button"];

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), CONTROLS.includes(tag) ? { ...attributes, ...OWN_KEYS } : attributes, children);
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const uniqueId = (name) => `qt-${name}-${Date.now().toString(36)}-${serial++}`;

/** The float32 numbers in a binary trait. */
export const floats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
/** The bytes in a binary trait. */
export const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** A number for readers: three significant digits, small powers of ten written out. */
export function say(number, digits = 3) {
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e5 || size < 1e-4) {
    const [mantissa, exponent] = number.toExponential(digits - 1).split("e");
    return `${mantissa} × 10${[...String(Number(exponent))].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}`;
  }
  return size >= 10 ** digits ? Math.round(number).toLocaleString("en-US") : String(Number(number.toPrecision(digits)));
}

/** {kind: "slider", key, label, min, max, step, value, text(value)}: a native range input with its value in words. */
function slider(control, changed) {
  const id = uniqueId("slider");
  const output = h("output", { for: id }, control.text(control.value));
  const input = h("input", { id, type: "range", min: control.min, max: control.max, step: control.step ?? 1, "aria-valuetext": control.text(control.value) });
  input.value = control.value;
  input.addEventListener("input", () => {
    const value = Number(input.value);
    output.textContent = control.text(value);
    input.setAttribute("aria-valuetext", control.text(value));
    changed(value);
  });
  return h("div", { class: "qt-control qt-slider" }, h("label", { for: id }, control.label), input, output);
}

/** The slider over the bits of a code, 2 to 8. */
export const bitsControl = (value) => ({ kind: "slider", key: "bits", label: "bits", min: 2, max: 8, value, text: (v) => `${v} bits` });

/** {kind: "choice", key, label, options: [[value, text], ...], value}: radio buttons that look like one switch. */
function choice(control, changed) {
  const name = uniqueId("choice");
  const buttons = control.options.map(([value, text]) => h("label", {},
    h("input", { type: "radio", name, checked: value === control.value, onchange: () => changed(value) }), h("span", {}, text)));
  return h("fieldset", { class: "qt-control qt-choice" }, h("legend", {}, control.label), h("div", { class: "qt-buttons" }, buttons));
}

/** {kind: "boxes", key, label, options: [[value, text], ...], value: []}: boxes to tick; the value is the list of those that are. */
function boxes(control, changed) {
  const inputs = control.options.map(() => h("input", { type: "checkbox", onchange: () => changed(control.options.filter((_, i) => inputs[i].checked).map(([value]) => value)) }));
  const labels = control.options.map(([, text], i) => h("label", {}, inputs[i], h("span", {}, text)));
  return h("fieldset", { class: "qt-control qt-boxes" }, h("legend", {}, control.label), h("div", {}, labels));
}

/** {kind: "steps", key, label, count, value}: previous and next, around a counter. */
function steps(control, changed) {
  let index = control.value ?? 0;
  const place = h("output", {}, "");
  const go = (by) => { index = (index + by + control.count) % control.count; show(); changed(index); };
  const show = () => { place.textContent = `${control.label} ${index + 1} of ${control.count}`; };
  show();
  return h("div", { class: "qt-control qt-steps", role: "group", "aria-label": control.label },
    h("button", { type: "button", "aria-label": `previous ${control.label}`, onclick: () => go(-1) }, "◀"), place,
    h("button", { type: "button", "aria-label": `next ${control.label}`, onclick: () => go(1) }, "▶"));
}

const KINDS = { slider, choice, boxes, steps };

/**
 * Show a widget: its title, its controls, a picture, a row of facts, and a sentence that says what the picture shows.
 * draw(values, width) returns {picture: [nodes], facts: [[name, value], ...], words}. It runs when a control moves or the width changes.
 */
export function mount(el, { title, controls, draw }) {
  const values = Object.fromEntries(controls.map((control) => [control.key, control.value ?? 0]));
  const picture = h("div", { class: "qt-picture" });
  const facts = h("div", { class: "qt-facts" });
  const words = h("p", { class: "qt-words", role: "status" });
  let width = 0;
  const update = () => {
    const shown = draw(values, width || 640);
    picture.replaceChildren(...shown.picture);
    facts.replaceChildren(...(shown.facts ?? []).map(([name, value]) => h("div", {}, h("span", {}, name), h("strong", {}, value))));
    words.textContent = shown.words;
  };
  const panel = controls.map((control) => KINDS[control.kind](control, (value) => { values[control.key] = value; update(); }));
  const root = h("section", { class: "qt", "aria-label": title },
    h("p", { class: "qt-title" }, title), h("div", { class: "qt-panel" }, panel), picture, facts, words);
  el.append(root);
  update();
  const observer = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now && now !== width) { width = now; update(); }
  });
  observer.observe(picture);
  return () => observer.disconnect();
}
