// Pull the threshold: weights vanish from the middle of each layer's histogram; the error without retraining was measured beforehand.

import { mount, s, say } from "./dom.js";
import { axisBelow, curve, drawing, linear, niceTicks, text } from "./figures.js";

const PANEL = 158, BASE = 104, GAP = 22;
const whole = (number) => number.toLocaleString("en-US");
const share = (part, all) => `${((100 * part) / all).toFixed(1)} %`;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** One bar of a histogram cut at -cut and cut: [[from, to, kept], ...]. */
export function pieces(from, to, cut) {
  const stops = [from, ...[-cut, cut].filter((stop) => cut > 0 && stop > from && stop < to), to];
  return stops.slice(1).map((stop, i) => [stops[i], stop, Math.abs(stops[i] + stop) / 2 > cut]);
}

function layerPanel(left, top, width, [name, shape, weights], edges, counts, cut, kept) {
  const x = linear(edges[0], edges.at(-1), left, left + width), most = Math.max(...counts), high = 60;
  const bars = counts.flatMap((count, i) => pieces(edges[i], edges[i + 1], cut).map(([from, to, stays]) => s("rect", {
    x: x(from).toFixed(1), y: (top + BASE - (high * count) / most).toFixed(1), width: Math.max(x(to) - x(from) - 0.4, 0.2).toFixed(1), height: ((high * count) / most).toFixed(1),
    fill: stays ? "var(--qt-blue)" : "none", stroke: stays ? null : "var(--qt-line)", "stroke-width": 0.6 })));
  const marks = cut > 0 ? [-cut, cut].map((at) => s("line", { x1: x(at).toFixed(1), x2: x(at).toFixed(1), y1: top + BASE - high - 4, y2: top + BASE, stroke: "var(--qt-orange)", "stroke-width": 2 })) : [];
  return [text(left, top + 13, `layer ${name}, ${shape}`), text(left, top + 30, `${share(kept, weights)} kept`, { class: "qt-strong" }), ...bars, ...marks,
    axisBelow(x, niceTicks(edges[0], edges.at(-1), Math.max(5, width / 80)), top + BASE, [left, left + width], "weight")];
}

function histograms(width, layers, edges, counts, [, cuts, kept]) {
  const across = width < 520 ? 1 : layers.length, room = (width - GAP * (across - 1) - 8) / across;
  return drawing(width, PANEL * Math.ceil(layers.length / across) - 8, `histograms of ${layers.length} layers, pruned weights hollow`,
    layers.flatMap((layer, i) => layerPanel(4 + (i % across) * (room + GAP), Math.floor(i / across) * PANEL, room, layer, edges, counts[i], cuts[i], kept[i])));
}

function errorPicture(width, rules, rule, step, weights, total) {
  const base = 150, x = linear(100, 0, 34, width - 14), y = linear(0, 100, base, 24);
  const points = rules.map(([, steps]) => steps.map(([, , kept, wrong]) => [(100 * sum(kept)) / weights, (100 * wrong) / total]));
  const others = points.filter((_, i) => i !== rule).map((line) => s("polyline", { points: line.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "), fill: "none", stroke: "var(--qt-line)", "stroke-dasharray": "4 4" }));
  return drawing(width, base + 44, "error without retraining against weights kept", text(4, 12, "digits misread (%); dashed: the other rules"),
    s("g", { class: "qt-axis" }, [0, 25, 50, 75, 100].flatMap((e) => [s("line", { x1: 30, x2: 34, y1: y(e), y2: y(e) }), text(27, y(e) + 4, e, { "text-anchor": "end" })]), s("line", { x1: 34, x2: 34, y1: 24, y2: base })),
    others, curve(points[rule], x, y, points[rule][step]), axisBelow(x, width < 520 ? [100, 75, 50, 25, 0] : [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0], base, [34, width - 14], "weights kept (%)"));
}

function thresholdStory(rule, [setting, cuts, kept, wrong], layers, total, dense) {
  const each = layers.map(([name, , weights], i) => `layer ${name} keeps ${share(kept[i], weights)} (threshold ${say(cuts[i])})`).join(", ");
  return `Rule: ${rule}, ${setting}. ${whole(sum(kept))} of ${whole(sum(layers.map((layer) => layer[2])))} weights stay: ${each}. `
    + `Without retraining the network misreads ${whole(wrong)} of ${whole(total)} digits (${share(wrong, total)}); with all its weights ${whole(dense)}.`;
}

function render({ model, el }) {
  const layers = model.get("layers"), rules = model.get("rules"), edges = model.get("edges"), counts = model.get("counts"), total = model.get("total");
  const weights = sum(layers.map((layer) => layer[2])), settings = rules[0][1].length;
  const controls = [
    { kind: "slider", key: "step", label: "threshold", min: 0, max: settings - 1, value: 0, text: (v) => `${v} of ${settings - 1}` },
    { kind: "choice", key: "rule", label: "rule", options: rules.map(([name], i) => [i, name]), value: 0 },
  ];
  const draw = ({ step, rule }, width) => {
    const [name, steps] = rules[rule], now = steps[step];
    return {
      picture: [histograms(width, layers, edges, counts, now), errorPicture(width, rules, rule, step, weights, total)],
      facts: [[name, now[0]], ["weights kept", share(sum(now[2]), weights)], ["digits misread", share(now[3], total)]],
      words: thresholdStory(name, now, layers, total, model.get("dense")),
    };
  };
  return mount(el, { title: "Pull the threshold", controls, draw });
}

export default { render };
