// Accuracy against size: one curve a method, a point to read, a limit on the error that shows the best ratio of each.

import { bestUnder } from "./audit_maths.js";
import { h, mount, s, say } from "./dom.js";
import { drawing, linear, text } from "./figures.js";

const CURVE_COLORS = ["var(--qt-blue)", "var(--qt-orange)", "var(--qt-green)", "#b765a0"], CURVE_DASHES = ["none", "7 4", "none", "2 4"];
const RATIO_TICKS = [1, 2, 4, 8, 16, 32, 64, 128, 256], HIGHEST = 8;
const times = (ratio) => `${say(ratio)}×`;

function frame(width, high, x, y, ticks) {
  const base = high - 44;
  return [s("g", { class: "qt-axis" }, s("line", { x1: 40, x2: width - 12, y1: base, y2: base }), s("line", { x1: 40, x2: 40, y1: 12, y2: base })),
    ticks.flatMap((r) => [s("line", { x1: x(r), x2: x(r), y1: base, y2: base + 5, stroke: "var(--qt-line)" }), text(x(r), base + 18, `${r}×`, { "text-anchor": "middle" })]),
    [0, 2, 4, 6, 8].map((e) => text(34, y(e) + 4, e, { "text-anchor": "end" })),
    text((width + 40) / 2, base + 36, "times smaller (each step doubles)", { "text-anchor": "middle", class: "qt-label" }),
    text(46, 16, "held-out error (%)")].flat();
}

function picture(width, curves, dense, at, point, limit) {
  const high = 320, most = Math.max(...curves.flatMap(([, points]) => points.map(([ratio]) => ratio)));
  const log = linear(0, Math.log2(most * 1.15), 40, width - 12), x = (ratio) => Number(log(Math.log2(ratio)).toFixed(1));
  const up = linear(0, HIGHEST, high - 44, 22), y = (error) => Number(up(Math.min(error, HIGHEST)).toFixed(1));
  const drawn = curves.flatMap(([, points], i) => [
    s("polyline", { points: [[1, dense], ...points].map(([ratio, error]) => `${x(ratio)},${y(error)}`).join(" "), fill: "none", stroke: CURVE_COLORS[i % 4], "stroke-dasharray": CURVE_DASHES[i % 4], "stroke-width": i === at ? 3.5 : 1.8, opacity: i === at ? 1 : 0.75 }),
    ...points.map(([ratio, error]) => s("circle", { cx: x(ratio), cy: y(error), r: 3, fill: error > HIGHEST ? "none" : CURVE_COLORS[i % 4], stroke: CURVE_COLORS[i % 4] })),
  ]);
  const best = curves.flatMap(([, points], i) => {
    const found = bestUnder(points, limit);
    return found < 0 ? [] : [s("circle", { cx: x(points[found][0]), cy: y(points[found][1]), r: 8, fill: "none", stroke: CURVE_COLORS[i % 4], "stroke-width": 2 })];
  });
  const [ratio, error] = curves[at][1][point];
  return drawing(width, high, "curves of error against compression ratio", frame(width, high, x, y, RATIO_TICKS.filter((r) => r <= most)), drawn, best,
    s("line", { x1: 40, x2: width - 12, y1: y(limit), y2: y(limit), stroke: "var(--qt-ink)", "stroke-dasharray": "6 4" }),
    text(46, y(limit) - 7, `limit ${limit.toFixed(1)} %`),
    s("path", { d: `M${x(ratio)},${y(error) - 8} l8,8 l-8,8 l-8,-8 z`, fill: CURVE_COLORS[at % 4], stroke: "var(--qt-ink)" }));
}

const key = (curves) => h("div", { class: "qt-facts" }, curves.map(([name], i) => h("span", {},
  s("svg", { width: 30, height: 10, "aria-hidden": "true", style: "margin-right: 0.4em" }, s("line", { x1: 0, x2: 30, y1: 5, y2: 5, stroke: CURVE_COLORS[i % 4], "stroke-width": 3, "stroke-dasharray": CURVE_DASHES[i % 4] })), name)));

function render({ model, el }) {
  const curves = model.get("curves"), dense = model.get("dense"), longest = Math.max(...curves.map(([, points]) => points.length)) - 1;
  const inside = (at, point) => Math.round((point / longest) * (curves[at][1].length - 1));
  const controls = [
    { kind: "choice", key: "at", label: "curve", options: curves.map(([name], i) => [i, name]), value: 0 },
    { kind: "slider", key: "point", label: "point", min: 0, max: longest, value: Math.min(3, longest), text: (v) => `${v + 1} of ${longest + 1}` },
    { kind: "slider", key: "limit", label: "error limit", min: 1, max: HIGHEST, step: 0.1, value: model.get("limit"), text: (v) => `${Number(v).toFixed(1)} %` },
  ];
  const draw = ({ at, point, limit }, width) => {
    const chosen = inside(at, point), [ratio, error, test, recipe] = curves[at][1][chosen];
    const best = curves.map(([name, points]) => { const i = bestUnder(points, limit); return [name, i < 0 ? "none" : times(points[i][0])]; });
    return {
      picture: [key(curves), picture(width, curves, dense, at, chosen, limit)],
      facts: best.map(([name, value]) => [`${name}, best`, value]),
      words: `${curves[at][0]}, point ${chosen + 1} of ${curves[at][1].length}: ${recipe}. ${times(ratio)} smaller, ${say(error)} % of the held-out digits wrong, ${say(test)} % of the test digits; dense: ${say(dense)} % of the held-out digits. At most ${limit.toFixed(1)} % wrong: ${best.map(([name, value]) => `${name} ${value}`).join(", ")}.`,
    };
  };
  return mount(el, { title: "Accuracy against size: LeNet-300-100", controls, draw });
}

export default { render };
