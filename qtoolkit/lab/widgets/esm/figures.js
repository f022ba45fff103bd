// Figures: pure functions from data to SVG nodes. Widths are CSS pixels, so letters keep their size on a phone.

import { clamp } from "./maths.js";
import { h, s, say } from "./dom.js";

/** A map from numbers to pixels. */
export const linear = (lo, hi, from, to) => (x) => from + ((x - lo) / (hi - lo || 1)) * (to - from);

/** Round numbers inside lo..hi, about `count` of them. */
export function niceTicks(lo, hi, count) {
  const raw = (hi - lo) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((candidate) => candidate >= raw);
  const ticks = [];
  for (let i = Math.ceil(lo / step); i * step <= hi + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(6)));
  return ticks;
}

export const text = (x, y, words, attributes = {}) => s("text", { x, y, ...attributes }, words);

/** An SVG image with a name; its text alternative is the sentence below it. */
export const drawing = (width, height, label, ...nodes) =>
  s("svg", { class: "qt-svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...nodes);

/** A horizontal axis with ticks at y, its label below. */
export function axisBelow(x, ticks, y, [left, right], label) {
  return s("g", { class: "qt-axis" }, s("line", { x1: left, x2: right, y1: y, y2: y }),
    ticks.flatMap((tick) => [s("line", { x1: x(tick), x2: x(tick), y1: y, y2: y + 5 }), text(x(tick), y + 18, say(tick), { "text-anchor": "middle" })]),
    text((left + right) / 2, y + 36, label, { "text-anchor": "middle", class: "qt-label" }));
}

/** Bars over the bins `edges` (n + 1) of `counts` (n). A bin far above all others is cut off and says its share. */
export function histogram(x, edges, counts, base, height, total) {
  const order = [...counts].sort((a, b) => b - a);
  const top = order[0] > 3 * (order[1] || 1) && order[1] > 0 ? order[1] * 1.25 : order[0];
  return s("g", { class: "qt-histogram" }, counts.flatMap((count, i) => {
    const tall = Math.min(count / top, 1) * height, left = x(edges[i]), right = x(edges[i + 1]);
    const bar = s("rect", { x: left, y: base - tall, width: Math.max(right - left - 0.5, 0.5), height: tall });
    return count > top ? [bar, text(right + 5, base - height + 11, `${Math.round((100 * count) / total)} % here`)] : [bar];
  }));
}

/** The levels of a quantizer as marks under a number line: long where a value uses them, short and gray where none does. */
export function levelMarks(x, levels, y) {
  return s("g", { class: "qt-levels" }, levels.map(({ value, used }) =>
    s("line", { x1: x(value), x2: x(value), y1: y, y2: y + (used ? 16 : 8), class: used ? "qt-used" : "qt-unused", "stroke-width": clamp(220 / levels.length, 1, 3) })));
}

/** A curve through points [[x, y], ...] in data units, with a dot at one of them. */
export function curve(points, x, y, dot) {
  return s("g", { class: "qt-curve" }, s("polyline", { points: points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") }),
    dot && s("circle", { cx: x(dot[0]), cy: y(dot[1]), r: 5.5 }));
}

/** One horizontal bar for each of the values 0..1; `marked` are drawn in the second color. */
export function bars(width, label, values, names, marked) {
  const row = 19, left = 22, right = 46;
  const x = linear(0, 1, left, width - right);
  return drawing(width, row * values.length + 2, label, values.flatMap((value, i) => [
    text(left - 8, i * row + 14, names[i], { "text-anchor": "end", class: i === marked ? "qt-strong" : "" }),
    s("rect", { class: "qt-track", x: left, y: i * row + 3, width: x(1) - left, height: row - 6 }),
    s("rect", { class: i === marked ? "qt-bar qt-marked" : "qt-bar", x: left, y: i * row + 3, width: Math.max(x(value) - left, 0), height: row - 6 }),
    text(width - right + 6, i * row + 14, `${Math.round(100 * value)} %`, { class: i === marked ? "qt-strong" : "" }),
  ]));
}

/** A picture of 28 by 28 pixels, light strokes on a dark ground in either theme. */
export function digit(pixels, label, size) {
  const canvas = h("canvas", { width: 28, height: 28, class: "qt-digit", role: "img", "aria-label": label, style: `width:${size}px;height:${size}px` });
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  pixels.forEach((p, i) => image.data.set([13 + (p * 242) / 255, 18 + (p * 237) / 255, 26 + (p * 229) / 255, 255], 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}

/** What a network answers, with a sign and a word beside the color. */
export const verdict = (answer, right) => h("span", { class: right ? "qt-right" : "qt-wrong" }, `${right ? "✓" : "✗"} ${answer}`);
