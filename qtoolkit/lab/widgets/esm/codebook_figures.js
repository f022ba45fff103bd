// Pictures of code books: cells under a histogram, dots on a logarithmic axis, curves that fall to a line.

import { h, s, say } from "./dom.js";
import { axisBelow, drawing, histogram, levelMarks, linear, niceTicks, text } from "./figures.js";

const log10 = (x) => Math.log10(Math.max(x, 1e-12));

/** Every second cell shaded, between lo and hi. */
const bands = (x, boundaries, [lo, hi], height) => s("g", {}, [lo, ...boundaries.filter((b) => b > lo && b < hi), hi]
  .flatMap((edge, i, edges) => (i % 2 && i < edges.length ? [s("rect", { class: "qt-range", x: x(edges[i - 1]), y: 6, width: Math.max(x(edge) - x(edges[i - 1]), 0.5), height })] : [])));

/** A histogram above the levels of a code book and its cells; `below` are levels to compare with, drawn gray. */
export function codebookPicture(width, { edges, counts, total, unit }, levels, boundaries, below = []) {
  const view = [edges[0], edges.at(-1)], base = 128, axis = base + (below.length ? 34 : 24), x = linear(view[0], view[1], 8, width - 8);
  const inside = (list, used) => Array.from(list).filter((level) => level >= view[0] && level <= view[1]).map((value) => ({ value, used }));
  return drawing(width, axis + 44, "Histogram above the levels of the grid; every second cell is shaded",
    bands(x, boundaries, view, base + 14), histogram(x, edges, counts, base, 112, total),
    levelMarks(x, inside(levels, true), base + 3), levelMarks(x, inside(below, false), base + 22),
    axisBelow(x, niceTicks(view[0], view[1], width / 80), axis, [8, width - 8], unit));
}

/** One row for each name with a dot at its value, on a logarithmic axis; the row `marked` in the second color. */
export function logDots(width, label, names, values, marked) {
  const row = 20, left = Math.min(132, 0.36 * width), right = 62, lo = Math.floor(2 * log10(Math.min(...values))) / 2, hi = Math.max(Math.ceil(2 * log10(Math.max(...values))) / 2, lo + 0.5);
  const x = linear(lo, hi, left, width - right);
  return drawing(width, row * names.length + 4, label, names.flatMap((name, i) => {
    const y = i * row + 13, strong = i === marked ? "qt-strong" : "";
    return [text(left - 10, y + 1, name, { "text-anchor": "end", class: strong }),
      s("line", { x1: left, x2: width - right, y1: y - 4, y2: y - 4, style: "stroke: var(--qt-faint)" }),
      s("circle", { cx: x(log10(values[i])), cy: y - 4, r: i === marked ? 6 : 5, style: `fill: var(--qt-${i === marked ? "orange" : "blue"})` }),
      text(width - right + 10, y + 1, say(values[i]), { class: strong })];
  }));
}

const DASHES = ["none", "6 4", "2 3"];

/** Curves of values >= 1 on a logarithmic axis, a line at 1, and a dot on curve `marked` at position `now`. */
export function fallingCurves(width, names, curves, ticks, marked, now, label) {
  const base = 112, top = Math.max(...curves.flat(), 1.5), count = ticks.length;
  const x = linear(0, count - 1, 8, width - 14), y = linear(0, log10(top), base, 22);
  const stroke = (i) => `fill: none; stroke: var(--qt-${i === marked ? "orange" : "blue"}); stroke-width: ${i === marked ? 2.5 : 1.8}; stroke-dasharray: ${DASHES[i]}`;
  const shown = ticks.flatMap((tick, i) => (i % Math.ceil((count * 34) / width) ? [] : [s("line", { x1: x(i), x2: x(i), y1: base + 10, y2: base + 15 }), text(x(i), base + 28, String(tick), { "text-anchor": "middle" })]));
  const key = names.map((name, i) => h("span", { style: `display: inline-flex; align-items: center; gap: 0.4em; margin-right: 1.2em; ${i === marked ? "font-weight: 600" : ""}` },
    s("svg", { width: 30, height: 10, "aria-hidden": "true" }, s("line", { x1: 0, x2: 30, y1: 5, y2: 5, style: stroke(i) })), name));
  return [h("div", {}, key), drawing(width, base + 52, label,
    text(8, 12, `error / least possible, 1 to ${say(top)}, log scale`, { class: "qt-label" }),
    s("line", { x1: 8, x2: width - 8, y1: y(0), y2: y(0), style: "stroke: var(--qt-ink); stroke-width: 1.5" }),
    ...curves.map((curve, i) => s("polyline", { style: stroke(i), points: curve.map((value, k) => `${x(k).toFixed(1)},${y(log10(value)).toFixed(1)}`).join(" ") })),
    s("circle", { cx: x(now), cy: y(log10(curves[marked][now])), r: 5.5, style: "fill: var(--qt-orange)" }),
    s("g", { class: "qt-axis" }, shown), text(width / 2, base + 46, "steps of k-means", { "text-anchor": "middle", class: "qt-label" }))];
}
