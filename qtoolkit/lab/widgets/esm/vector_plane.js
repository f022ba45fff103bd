// Pairs of weights in a plane: from the grid of two scalar code books to the code words of vector k-means.

import { floats, mount, s, say } from "./dom.js";
import { axisBelow, drawing, linear, niceTicks, text } from "./figures.js";
import { cellOfWord, planeTrace } from "./plane_maths.js";

const PLANE_STEPS = [0, 1, 2, 3, 5, 8, 12, 20, 40];

const inPairs = (numbers) => Array.from({ length: numbers.length / 2 }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);

function plane(width, points, { words }, reach, name) {
  const side = Math.min(width - 52, 380), left = 44, top = 6;
  const x = linear(-reach, reach, left, left + side), y = linear(-reach, reach, top + side, top);
  const ticks = niceTicks(-reach, reach, 7), at = ([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`;
  const inside = ([a, b]) => Math.abs(a) <= reach && Math.abs(b) <= reach;
  return drawing(width, top + side + 44, `Pairs of weights of ${name}, ${words.length} code words and their cells`,
    s("g", { class: "qt-cells", fill: "none", stroke: "var(--qt-line)" }, words.map((_, i) => s("polygon", { points: cellOfWord(words, i, reach).map(at).join(" ") }))),
    s("g", { fill: "var(--qt-blue)", opacity: 0.55 }, points.filter(inside).map(([a, b]) => s("circle", { cx: x(a).toFixed(1), cy: y(b).toFixed(1), r: 1.4 }))),
    s("g", { fill: "var(--qt-orange)", stroke: "var(--qt-ground)", "stroke-width": 1.2 }, words.filter(inside).map(([a, b]) => s("circle", { cx: x(a), cy: y(b), r: 5 }))),
    axisBelow(x, ticks, top + side, [left, left + side], "first weight of the pair"),
    s("g", {}, ticks.map((tick) => text(left - 6, y(tick) + 4, say(tick), { "text-anchor": "end" }))),
    text(11, top + side / 2, "second weight", { "text-anchor": "middle", transform: `rotate(-90 11 ${top + side / 2})` }));
}

function planeSentence(name, levels, step, last, grid, now) {
  const gain = 100 * (1 - now.error / grid.error), words = levels * levels;
  const where = step === 0 ? `the ${words} code words are the grid of two scalar code books with ${levels} levels each`
    : `after ${Math.min(step, last)} step${Math.min(step, last) === 1 ? "" : "s"} of vector k-means the ${words} code words ${gain < 1 ? "have hardly left the grid" : "follow the cloud"}`;
  return `Pairs from ${name}: ${where}. The mean squared error is ${say(now.error)}${step === 0 ? "." : `, ${say(Math.max(gain, 0), 2)} % below the grid's, at the same bits for the codes.`}` +
    (step >= last && step > 0 ? " No pair changes its code any more." : "");
}

function render({ model, el }) {
  const names = model.get("sources"), counts = model.get("levels"), all = floats(model.get("pairs")), starts = floats(model.get("axes")), total = model.get("total");
  const each = all.length / names.length, perSource = 2 * counts.reduce((sum, n) => sum + n, 0), kept = {};
  const run = (source, levels) => (kept[`${source} ${levels}`] ??= (() => {
    const at = source * perSource + 2 * counts.slice(0, counts.indexOf(levels)).reduce((sum, n) => sum + n, 0);
    const [first, second] = [[...starts.slice(at, at + levels)], [...starts.slice(at + levels, at + 2 * levels)]];
    const points = inPairs([...all.slice(source * each, (source + 1) * each)]);
    return { points, trace: planeTrace(points, first.flatMap((a) => second.map((b) => [a, b])), PLANE_STEPS.at(-1)) };
  })());
  const controls = [
    { kind: "slider", key: "at", label: "steps of vector k-means", min: 0, max: PLANE_STEPS.length - 1, value: 0, text: (i) => (PLANE_STEPS[i] === 0 ? "0: scalar grid" : `${PLANE_STEPS[i]}`) },
    { kind: "slider", key: "levels", label: "code words", min: counts[0], max: counts.at(-1), value: model.get("start"), text: (n) => `${n} × ${n} = ${n * n}` },
    { kind: "choice", key: "source", label: "pairs", options: names.map((name, i) => [i, name]), value: 0 },
  ];
  const draw = ({ at, levels, source }, width) => {
    const { points, trace } = run(source, levels), step = PLANE_STEPS[at], now = trace[Math.min(step, trace.length - 1)];
    const book = (32 * (step === 0 ? 2 * levels : 2 * levels * levels)) / total;
    return {
      picture: [plane(width, points, now, model.get("reach"), names[source])],
      facts: [["codes", `${say(Math.log2(levels))} bits a weight`], ["code book", `${say(book, 2)} bits a weight`], ["MSE", say(now.error)],
        ["MSE of the grid", say(trace[0].error)], ["below the grid", `${say(Math.max(100 * (1 - now.error / trace[0].error), 0), 2)} %`]],
      words: planeSentence(names[source], levels, step, trace.length - 1, trace[0], now),
    };
  };
  return mount(el, { title: `Code words for pairs of ${model.get("name")}`, controls, draw });
}

export default { render };
