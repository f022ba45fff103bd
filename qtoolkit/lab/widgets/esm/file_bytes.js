// The file, byte by byte: every byte colored by its purpose, the one under the cursor explained.

import { harmed, refusal } from "./file_reader.js";
import { bytes, h, mount, s } from "./dom.js";
import { drawing, text } from "./figures.js";

const ROW = 23, LEFT = 40, PHONE_ROWS = 14;
const KINDS_OF_BYTE = { frame: ["#8a8f98", "frame, names"], shape: ["#cc79a7", "shapes, widths"], codebook: ["#009e73", "codebook"], gaps: ["#0072b2", "gaps"], table: ["#b8a200", "Huffman tables"], codes: ["#d55e00", "codes"], rest: ["#56b4e9", "biases"] };
const WHY = {
  magic: "the file does not begin with QTDC: not a compressed network of this kind",
  version: "its format version is one that the reader does not know",
  short: "it ends before its header does, or a number in the header is malformed",
  length: "it has another length than its header says: damaged or cut short",
  checksum: "the checksum does not match its contents",
};
const hex = (byte) => byte.toString(16).padStart(2, "0");
const column = (width) => (width >= 520 ? 16 : 8);

function hexView(width, data, parts, at, shown, move) {
  const across = column(width), room = Math.min((width - LEFT) / across, 36), field = parts.findIndex(([start, end]) => at >= start && at < end);
  const rows = Math.ceil(data.length / across), seen = width >= 520 ? rows : Math.min(rows, PHONE_ROWS);
  const top = Math.max(0, Math.min(Math.floor(at / across) - Math.floor(seen / 2), rows - seen));
  const cell = (i) => {
    const [start, end, , kind] = parts.find(([from, to]) => i >= from && i < to), here = i >= parts[field][0] && i < parts[field][1];
    const x = LEFT + (i % across) * room, y = (Math.floor(i / across) - top) * ROW, gone = i >= shown.length, changed = !gone && shown[i] !== data[i];
    const nodes = [s("rect", { x: x.toFixed(1), y: y + 1, width: (room - 1).toFixed(1), height: ROW - 2, fill: KINDS_OF_BYTE[kind][0], "fill-opacity": gone ? 0.05 : here ? 0.5 : 0.2 })];
    if (i === at) nodes.push(s("rect", { x: (x + 0.5).toFixed(1), y: y + 1.5, width: (room - 2).toFixed(1), height: ROW - 3, fill: "none", stroke: "var(--qt-ink)", "stroke-width": 2.5 }));
    if (!gone) nodes.push(text((x + room / 2).toFixed(1), y + 16, hex(shown[i]), { "text-anchor": "middle", class: changed || i === at ? "qt-strong" : "", "text-decoration": changed ? "underline" : null }));
    return s("g", { onclick: () => move(i), style: "cursor: pointer" }, nodes);
  };
  const offsets = Array.from({ length: seen }, (_, row) => text(LEFT - 8, row * ROW + 16, String((top + row) * across), { "text-anchor": "end" }));
  const first = top * across, many = Math.min(data.length, (top + seen) * across) - first;
  return drawing(LEFT + across * room, seen * ROW, `${many} of ${data.length} bytes of a file in hexadecimal, the byte ${at} is marked`,
    offsets, Array.from({ length: many }, (_, i) => cell(first + i)));
}

const legend = () => h("div", { class: "qt-facts" }, Object.values(KINDS_OF_BYTE).map(([color, name]) => h("span", {},
  h("span", { style: `display: inline-block; width: 1em; height: 1em; margin-right: 0.4em; vertical-align: -0.15em; background: ${color}; opacity: 0.6` }), name)));

function story(data, parts, at, harm, shown) {
  const [start, end, section, , label, value] = parts.find(([from, to]) => at >= from && at < to);
  const where = section ? `section ${section}` : "the frame", span = end - start === 1 ? "one byte" : `bytes ${start} to ${end - 1}`;
  const meaning = `Byte ${at} of ${data.length} is hex ${hex(data[at])}. It belongs to ${where}, field “${label}”, ${span}. Meaning: ${value}.`;
  if (harm === "nothing") return meaning;
  const reason = refusal(shown), deed = harm === "flip" ? `One bit of it is flipped: hex ${hex(shown[at])}.` : `The file is cut here, ${shown.length} bytes are left.`;
  return `${meaning} ${deed} ${reason ? `The reader refuses the file: ${WHY[reason]}.` : "The reader notices nothing."}`;
}

function render({ model, el }) {
  const data = bytes(model.get("data")), parts = model.get("fields"), last = data.length - 1;
  const controls = [
    { kind: "slider", key: "at", label: "byte under the cursor", min: 0, max: last, value: model.get("at"), text: (v) => `${v} (0 to ${last})` },
    { kind: "choice", key: "harm", label: "do there", options: [["nothing", "nothing"], ["flip", "flip a bit"], ["cut", "cut the file"]], value: "nothing" },
  ];
  const move = (i) => {
    const slider = el.querySelector("input[type=range]");
    slider.value = i;
    slider.dispatchEvent(new Event("input"));
  };
  const draw = ({ at, harm }, width) => {
    const shown = harmed(data, at, harm), part = parts.find(([start, end]) => at >= start && at < end);
    return {
      picture: [legend(), hexView(width, data, parts, at, shown, move)],
      facts: [["section", part[2] || "frame"], ["field", part[4]], ["byte", `${data[at]} = hex ${hex(data[at])}`], ["reader", refusal(shown) ? "refuses" : "accepts"]],
      words: story(data, parts, at, harm, shown),
    };
  };
  return mount(el, { title: `The file, byte by byte: ${model.get("name")}`, controls, draw });
}

export default { render };
