// Which bytes did you forget? Boxes leave parts of one file out; the ratio grows, the honest one stays.

import { countedBytes } from "./audit_maths.js";
import { h, s, say, uniqueId } from "./dom.js";
import { drawing, linear, text } from "./figures.js";

const ratioText = (ratio) => `${ratio.toFixed(1)}×`;
const sizeText = (n) => `${n.toLocaleString("en-US")} bytes`;

/** Two bars: the honest ratio, and the one with the parts left out. */
function ratioBars(width, honest, claimed, most) {
  const x = linear(0, most, 0, width - 70);
  const bar = (y, label, ratio, marked) => [text(0, y + 13, label), s("rect", { class: "qt-track", x: 0, y: y + 19, width: x(most), height: 20 }),
    s("rect", { class: marked ? "qt-bar qt-marked" : "qt-bar", x: 0, y: y + 19, width: x(ratio).toFixed(1), height: 20 }),
    text((x(ratio) + 7).toFixed(1), y + 34, ratioText(ratio), { class: "qt-strong" })];
  return drawing(width, 104, "bars of the honest ratio and of the claimed one", bar(0, "the length of the file", honest, false), bar(52, "what is printed", claimed, true),
    s("line", { x1: x(honest), x2: x(honest), y1: 14, y2: 98, stroke: "var(--qt-ink)", "stroke-width": 1.5, "stroke-dasharray": "4 3" }));
}

function auditWords(name, dense, total, left, forgotten) {
  const honest = `${name}: the file has ${sizeText(total)}, ${ratioText(dense / total)} against ${sizeText(dense)} of float32.`;
  if (!forgotten.length) return `${honest} Nothing is forgotten.`;
  const grown = (100 * total) / left - 100;
  return `${honest} Without ${forgotten.join(", ").replace(/, ([^,]*)$/, " and $1")} it would be ${sizeText(left)}, printed as ${ratioText(dense / left)}: ${say(grown, 2)} % too much, and no reader could decode it.`;
}

function render({ model, el }) {
  const parts = model.get("parts"), boxes = model.get("boxes"), dense = model.get("dense"), name = model.get("name");
  const total = countedBytes(parts, []), most = (1.08 * dense) / countedBytes(parts, boxes.map(([, gone]) => gone));
  const picture = h("div", { class: "qt-picture" }), facts = h("div", { class: "qt-facts" }), words = h("p", { class: "qt-words", role: "status" });
  const inputs = boxes.map(([box, gone]) => {
    const id = uniqueId("box"), size = total - countedBytes(parts, [gone]);
    const input = h("input", { id, type: "checkbox", style: "width: 18px; height: 18px; margin: 0; vertical-align: -3px", onchange: () => update() });
    return { box, gone, input, label: h("label", { for: id, style: "display: inline-flex; gap: 0.5em; align-items: center; min-height: 30px; cursor: pointer" }, input, h("span", {}, `${box} (${size.toLocaleString("en-US")})`)) };
  });
  let width = 640;
  const update = () => {
    const chosen = inputs.filter(({ input }) => input.checked), left = countedBytes(parts, chosen.map(({ gone }) => gone));
    picture.replaceChildren(ratioBars(width, dense / total, dense / left, most));
    facts.replaceChildren(...[["bytes counted", left.toLocaleString("en-US")], ["bytes forgotten", (total - left).toLocaleString("en-US")], ["printed", ratioText(dense / left)], ["honest", ratioText(dense / total)]]
      .map(([key, value]) => h("div", {}, h("span", {}, key), h("strong", {}, value))));
    words.textContent = auditWords(name, dense, total, left, chosen.map(({ box }) => `the ${box.replace(/^the /, "")}`));
  };
  const field = h("fieldset", { class: "qt-control" }, h("legend", {}, "leave out (bytes)"),
    h("div", { style: "display: flex; flex-wrap: wrap; gap: 0 1.4em" }, inputs.map(({ label }) => label)));
  el.append(h("section", { class: "qt", "aria-label": "Which bytes did you forget?" }, h("p", { class: "qt-title" }, "Which bytes did you forget?"),
    h("div", { class: "qt-panel" }, field), picture, facts, words));
  update();
  const observer = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now && now !== width) { width = now; update(); }
  });
  observer.observe(picture);
  return () => observer.disconnect();
}

export default { render };
