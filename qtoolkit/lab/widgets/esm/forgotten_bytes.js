// Which bytes did you forget? Boxes leave parts of one file out; the ratio grows, the honest one stays.

import { countedBytes } from "./audit_maths.js";
import { mount, s, say } from "./dom.js";
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
  const options = boxes.map(([box, gone], i) => [i, `${box} (${(total - countedBytes(parts, [gone])).toLocaleString("en-US")})`]);
  const draw = ({ chosen }, width) => {
    const left = countedBytes(parts, chosen.map((i) => boxes[i][1]));
    return {
      picture: [ratioBars(width, dense / total, dense / left, most)],
      facts: [["bytes counted", left.toLocaleString("en-US")], ["bytes forgotten", (total - left).toLocaleString("en-US")], ["printed", ratioText(dense / left)], ["honest", ratioText(dense / total)]],
      words: auditWords(name, dense, total, left, chosen.map((i) => `the ${boxes[i][0].replace(/^the /, "")}`)),
    };
  };
  return mount(el, { title: "Which bytes did you forget?", controls: [{ kind: "boxes", key: "chosen", label: "leave out (bytes)", options, value: [] }], draw });
}

export default { render };
