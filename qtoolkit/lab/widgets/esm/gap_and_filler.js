// Write the gap, meet the filler: a short row as stored pairs, and what the same gap bits cost on a whole layer.

import { layerCost, storedPairs } from "./gap_maths.js";
import { bitsControl, mount, s } from "./dom.js";
import { drawing, text } from "./figures.js";

const CELL = 32, PAIR = 50, HIGH = 44, WIDTHS = [2, 3, 4, 5, 6, 7, 8];
const count = (number) => number.toLocaleString("en-US");
const few = (number, name) => `${count(number)} ${name}${number === 1 ? "" : "s"}`;

function box(x, y, width, high, marked) {
  return s("rect", { x, y, width, height: high, rx: 4, fill: "none", stroke: marked ? "var(--qt-orange)" : "var(--qt-line)", "stroke-width": marked ? 2.5 : 1, "stroke-dasharray": marked ? "4 3" : null });
}

/** Boxes in lines as wide as the page: [nodes, height]. */
function lines(items, width, size, high, one) {
  const across = Math.max(1, Math.floor(width / size));
  return [items.flatMap((item, i) => one(item, (i % across) * size, Math.floor(i / across) * high)), Math.ceil(items.length / across) * high];
}

function rowDrawing(row, pairs, width) {
  const fillers = new Set(pairs.filter((pair) => pair.filler).map((pair) => pair.place)), middle = { "text-anchor": "middle" };
  const [cells, deep] = lines(row, width, CELL, HIGH, (value, x, y) => [box(x + 1, y + 1, CELL - 2, 26, false), text(x + CELL / 2, y + 19, value, { ...middle, class: value ? "qt-strong" : "" })]);
  const under = row.map((_, place) => place).filter((place) => fillers.has(place)), across = Math.max(1, Math.floor(width / CELL));
  const marks = under.map((place) => box((place % across) * CELL + 1, Math.floor(place / across) * HIGH + 1, CELL - 2, 26, true));
  return drawing(width, deep, `the row: ${row.length} places, ${pairs.length - fillers.size} weights kept`, cells, marks);
}

function pairDrawing(pairs, width) {
  const middle = { "text-anchor": "middle" };
  const [boxes, deep] = lines(pairs, width, PAIR, 62, ({ gap, value, filler }, x, y) => [box(x + 1, y + 1, PAIR - 4, 40, filler),
    text(x + PAIR / 2 - 1, y + 17, `+${gap}`, middle), text(x + PAIR / 2 - 1, y + 34, value, { ...middle, class: "qt-strong" }), ...(filler ? [text(x + PAIR / 2 - 1, y + 55, "filler", middle)] : [])]);
  return drawing(width, Math.max(deep, 62), "stored pairs, gap above weight", boxes);
}

function costDrawing(costs, bits, width) {
  const most = Math.max(...costs.map((cost) => cost.bits)), room = width / WIDTHS.length, base = 112;
  return drawing(width, base + 40, "bytes of the whole layer for 2 to 8 gap bits", costs.flatMap((cost, i) => {
    const high = (90 * cost.bits) / most, x = (i + 0.5) * room, on = WIDTHS[i] === bits;
    return [s("rect", { class: on ? "qt-bar qt-marked" : "qt-bar", x: (x - room * 0.3).toFixed(1), y: (base - high).toFixed(1), width: (room * 0.6).toFixed(1), height: high.toFixed(1) }),
      text(x.toFixed(1), (base - high - 5).toFixed(1), `${(cost.bits / 8000).toFixed(1)}`, { "text-anchor": "middle", class: on ? "qt-strong" : "" }), text(x.toFixed(1), base + 16, WIDTHS[i], { "text-anchor": "middle" })];
  }), text((width / 2).toFixed(1), base + 34, "gap bits; height: kB of the layer", { "text-anchor": "middle" }));
}

function gapStory(bits, weightBits, row, pairs, name, costs) {
  const cost = costs[WIDTHS.indexOf(bits)], best = WIDTHS[costs.reduce((b, c, i) => (c.bits < costs[b].bits ? i : b), 0)];
  const fillers = pairs.filter((pair) => pair.filler).length;
  return `A gap of ${bits} bits reaches 1 to ${2 ** bits} places. The row needs ${few(pairs.length, "pair")}, ${few(fillers, "filler")} among them: ${pairs.length} × (${bits} + ${weightBits}) = ${pairs.length * (bits + weightBits)} bits. `
    + `On ${name}, ${count(cost.kept)} kept weights need ${few(cost.fillers, "filler")}: ${count(Math.ceil(cost.bits / 8))} bytes. ${best === bits ? "No other width is smaller here." : `The smallest is ${best} bits.`}`;
}

function render({ model, el }) {
  const row = model.get("row"), names = model.get("layers"), distances = model.get("distances"), weightBits = model.get("weight_bits");
  const controls = [{ ...bitsControl(model.get("bits")), label: "gap bits" },
    ...(names.length > 1 ? [{ kind: "choice", key: "layer", label: "layer", options: names.map((name, i) => [i, name]), value: 0 }] : [])];
  const draw = ({ bits, layer = 0 }, width) => {
    const pairs = storedPairs(row, bits), costs = WIDTHS.map((b) => layerCost(distances[layer], b, weightBits));
    const { kept, fillers, bits: total } = costs[WIDTHS.indexOf(bits)];
    return {
      picture: [rowDrawing(row, pairs, width), pairDrawing(pairs, width), costDrawing(costs, bits, width)],
      facts: [["row", `${pairs.length * (bits + weightBits)} bits`], ["fillers, layer", `${((100 * fillers) / kept).toFixed(1)} % of kept`], ["weights and gaps, layer", `${count(Math.ceil(total / 8))} bytes`]],
      words: gapStory(bits, weightBits, row, pairs, names[layer], costs),
    };
  };
  return mount(el, { title: "Write the gap, meet the filler", controls, draw });
}

export default { render };
