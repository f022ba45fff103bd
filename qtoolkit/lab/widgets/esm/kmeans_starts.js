// Where k-means starts: centroids of a real layer step by step, and the error of the whole network with them, measured beforehand.

import { floats, mount, s } from "./dom.js";
import { axisBelow, curve, drawing, histogram, levelMarks, linear, niceTicks, text } from "./figures.js";

const percent = (share) => `${share.toFixed(share < 10 ? 2 : 1)} %`;
const after = (step) => (step === 0 ? "before the first step" : step === 1 ? "after 1 step" : `after ${step} steps`);

/** Where the k = 2^bits - 1 numbers of (width, start, step) lie in the packed list: [from, to]. */
export function centroidRange(widths, starts, steps, width, start, step) {
  const each = (bits) => 2 ** bits - 1, before = widths.slice(0, width).reduce((sum, bits) => sum + each(bits) * starts * steps, 0);
  const from = before + (start * steps + step) * each(widths[width]);
  return [from, from + each(widths[width])];
}

/** How much of its size, in percent, the weight farthest from 0 loses or gains by its nearest centroid. */
export function outermostMoves(low, high, centroids) {
  const far = Math.abs(low) > Math.abs(high) ? low : high, near = centroids.reduce((best, c) => (Math.abs(c - far) < Math.abs(best - far) ? c : best));
  return Math.abs((100 * (far - near)) / far);
}

function weightPicture(width, edges, counts, centroids, name) {
  const x = linear(edges[0], edges.at(-1), 8, width - 8), base = 120;
  return drawing(width, base + 62, "the kept weights and the centroids", text(4, 12, "kept weights; below: the centroids"),
    histogram(x, edges, counts, base, 96, counts.reduce((a, b) => a + b, 0)), levelMarks(x, centroids.map((value) => ({ value, used: true })), base + 3),
    s("g", { transform: "translate(0 22)" }, axisBelow(x, niceTicks(edges[0], edges.at(-1), Math.max(4, width / 90)), base, [8, width - 8], `weight of ${name}`)));
}

function readingPicture(width, steps, lines, start, at) {
  const base = 158, all = lines.flat(), low = Math.min(...all), x = linear(0, steps.length - 1, 50, width - 24), y = (error) => linear(Math.log(low / 1.2), Math.log(100), base, 26)(Math.log(error));
  const ticks = [1, 2, 3, 5, 10, 20, 50, 100].filter((tick) => tick >= low / 1.2), points = (line) => line.map((error, i) => [i, error]);
  return drawing(width, base + 44, "digits misread against steps of k-means", text(4, 12, "digits misread (%); dashed: the other starts"),
    s("g", { class: "qt-axis" }, ticks.flatMap((tick) => [s("line", { x1: 38, x2: 42, y1: y(tick), y2: y(tick) }), text(34, y(tick) + 4, tick, { "text-anchor": "end" })]), s("line", { x1: 42, x2: 42, y1: 26, y2: base }),
      s("line", { x1: 42, x2: width - 14, y1: base, y2: base }), steps.map((step, i) => text(x(i), base + 18, step, { "text-anchor": "middle" })), text(width / 2, base + 36, "steps of k-means", { "text-anchor": "middle", class: "qt-label" })),
    lines.map((line, i) => i !== start && s("polyline", { points: points(line).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "), fill: "none", stroke: "var(--qt-line)", "stroke-dasharray": "4 4" })).filter(Boolean),
    curve(points(lines[start]), x, y, [at, lines[start][at]]));
}

function startStory(start, bits, step, wrong, total, lines, at, moved) {
  const now = lines.map((line) => line[at]), best = Math.min(...now), worst = Math.max(...now);
  return `Start: ${start}; ${2 ** bits - 1} values a layer, ${after(step)} of k-means: the network misreads ${wrong.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} digits. Over all ${lines.length} starts the error now runs from ${percent(best)} to ${percent(worst)}. The outermost weight of the layer shown moves by ${percent(moved)} of its size.`;
}

function render({ model, el }) {
  const starts = model.get("starts"), widths = model.get("widths"), steps = model.get("steps"), wrong = model.get("wrong"), total = model.get("total");
  const packed = floats(model.get("centroids")), edges = model.get("edges"), counts = model.get("counts"), name = model.get("name");
  const controls = [
    { kind: "slider", key: "at", label: "k-means", min: 0, max: steps.length - 1, value: 0, text: (i) => (steps[i] === 1 ? "1 step" : `${steps[i]} steps`) },
    { kind: "slider", key: "width", label: "bits", min: 0, max: widths.length - 1, value: Math.min(1, widths.length - 1), text: (i) => `${widths[i]} bits` },
    { kind: "choice", key: "start", label: "start", options: starts.map((start, i) => [i, start]), value: 0 },
  ];
  const draw = ({ at, width: place, start }, width) => {
    const lines = wrong[place].map((line) => line.map((count) => (100 * count) / total)), [from, to] = centroidRange(widths, starts.length, steps.length, place, start, at);
    const centroids = [...packed.slice(from, to)], moved = outermostMoves(edges[0], edges.at(-1), centroids);
    return {
      picture: [weightPicture(width, edges, counts, centroids, name), readingPicture(width, steps, lines, start, at)],
      facts: [["start", starts[start]], ["digits misread", percent(lines[start][at])], ["best start here", percent(Math.min(...lines.map((line) => line[at])))], ["outermost weight moves", percent(moved)]],
      words: startStory(starts[start], widths[place], steps[at], wrong[place][start][at], total, lines, at, moved),
    };
  };
  return mount(el, { title: "Where k-means starts", controls, draw });
}

export default { render };
