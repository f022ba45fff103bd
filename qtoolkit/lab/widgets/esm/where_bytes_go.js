// Where the bytes go: one stacked bar a layer, stage after stage.

import { h, mount, s, say } from "./dom.js";
import { drawing, linear, text } from "./figures.js";
import { byLayer, byPart, stageBytes } from "./stage_bytes.js";

const PART_COLORS = ["#0072b2", "#d55e00", "#009e73", "#b8a200", "#cc79a7", "#8a8f98"];
const count = (n) => `${n.toLocaleString("en-US")} ${n === 1 ? "byte" : "bytes"}`;

function stacks(width, layers, rows, most) {
  const high = 46, x = linear(0, most, 0, width - 4);
  return drawing(width, high * layers.length, "stacked bars of the bytes of each layer", layers.flatMap((layer, i) => {
    let from = 0;
    const bars = rows[i].map((size, part) => {
      const bar = s("rect", { x: x(from).toFixed(2), y: i * high + 20, width: Math.max(0, x(from + size) - x(from)).toFixed(2), height: 18, fill: PART_COLORS[part % PART_COLORS.length] });
      from += size;
      return bar;
    });
    return [text(0, i * high + 14, `${layer}: ${count(from)}`), s("rect", { class: "qt-track", x: 0, y: i * high + 20, width: x(most).toFixed(1), height: 18 }), ...bars];
  }));
}

const partLegend = (parts) => h("div", { class: "qt-facts" }, parts.map((part, i) => h("span", {},
  h("span", { style: `display: inline-block; width: 1em; height: 1em; margin-right: 0.4em; vertical-align: -0.15em; background: ${PART_COLORS[i % PART_COLORS.length]}` }), part)));

function story(name, stages, at, layers, parts) {
  const [stage, error, rows] = stages[at], total = stageBytes(rows), dense = stageBytes(stages[0][2]);
  const share = (size) => `${say((100 * size) / total, 2)} %`;
  const kinds = byPart(rows).map((size, i) => [size, parts[i]]).filter(([size]) => size).map(([size, part]) => `${part} ${share(size)}`).join(", ");
  const heaviest = layers[byLayer(rows).indexOf(Math.max(...byLayer(rows)))];
  const before = at ? ` The stage before took ${count(stageBytes(stages[at - 1][2]))}.` : "";
  const smaller = at ? `${say(dense / total)} times smaller than dense` : "nothing compressed yet";
  return `${name}, ${stage}: ${count(total)}, ${smaller}, ${say(error)} % of the test digits wrong. Shares: ${kinds}. The heaviest row is ${heaviest}.${before}`;
}

function render({ model, el }) {
  const stages = model.get("stages"), layers = model.get("layers"), parts = model.get("parts"), name = model.get("name");
  const controls = [
    { kind: "slider", key: "at", label: "stage", min: 0, max: stages.length - 1, value: model.get("at"), text: (v) => stages[v][0] },
    { kind: "choice", key: "scale", label: "full width is", options: [["stage", "this stage"], ["dense", "the dense network"]], value: "stage" },
  ];
  const draw = ({ at, scale }, width) => {
    const [, error, rows] = stages[at], total = stageBytes(rows), dense = stageBytes(stages[0][2]);
    return {
      picture: [partLegend(parts), stacks(width, layers, rows, Math.max(...byLayer(scale === "dense" ? stages[0][2] : rows)))],
      facts: [["bytes", total.toLocaleString("en-US")], ["times smaller", say(dense / total)], ["test error", `${say(error)} %`], ["scale", scale === "dense" ? "dense" : "this stage"]],
      words: story(name, stages, at, layers, parts),
    };
  };
  return mount(el, { title: `Where the bytes go: ${name}`, controls, draw });
}

export default { render };
