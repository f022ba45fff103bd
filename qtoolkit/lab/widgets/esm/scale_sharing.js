// Who shares a scale: bars for the channels of a real layer, and over them the ranges that their quantizers cover.

import { dequantize, extent } from "./maths.js";
import { bitsControl, floats, mount, s, say } from "./dom.js";
import { drawing, linear, text } from "./figures.js";
import { sharedReport } from "./sharing_maths.js";

const WHO = ["the whole layer", "group of channels", "channel", "part of a channel"];
const middle = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

function rangesPicture(width, layer, report) {
  const { values, channel, size } = layer, count = values.length / channel, left = 50, height = 190;
  const ends = report.blocks.map(({ params }) => [dequantize(params.qmin, params), dequantize(params.qmax, params)]);
  const { lo, hi } = extent(values), reach = 1.04 * Math.max(-lo, hi);
  const x = linear(0, values.length, left, width - 8), y = linear(-reach, reach, height - 24, 20);
  const bars = Array.from({ length: count }, (_, i) => {
    const own = extent(values, i * channel, (i + 1) * channel), wide = x(channel) - x(0);
    return s("rect", { class: "qt-bar", x: x(i * channel) + 0.15 * wide, width: 0.7 * wide, y: y(own.hi), height: Math.max(y(own.lo) - y(own.hi), 1) });
  });
  const visible = (value) => Math.min(Math.max(value, -reach), reach);
  const covered = ends.map(([first, last], i) => s("rect", { class: "qt-range", x: x(i * size), width: x(size) - x(0),
    y: y(visible(last)), height: Math.max(y(visible(first)) - y(visible(last)), 0.5) }));
  const outline = (end) => s("polyline", { class: "qt-used", fill: "none", "stroke-width": 1.5,
    points: ends.flatMap((pair, i) => [i * size, (i + 1) * size].map((at) => `${x(at).toFixed(1)},${y(visible(pair[end])).toFixed(1)}`)).join(" ") });
  const zero = s("g", { class: "qt-axis" }, s("line", { x1: left, x2: width - 8, y1: y(0), y2: y(0) }));
  const marks = [-reach / 1.04, 0, reach / 1.04].map((value) => text(left - 6, y(value) + 4, say(value, 2), { "text-anchor": "end" }));
  return drawing(width, height, "Range of every channel, and the range that its quantizer covers", covered, bars, zero, outline(0), outline(1), marks,
    text(left, 12, "bars: the weights of each channel; orange: the range of its scale", { class: "qt-label" }));
}

function reachedPicture(width, reached, bits, who) {
  const left = 50, base = 96, x = linear(0, reached.length, left, width - 8), y = linear(0, 2 ** bits, base, 22), wide = x(1) - x(0);
  return drawing(width, 118, "Levels that lie within the range of the weights",
    s("rect", { class: "qt-track", x: left, width: width - 8 - left, y: y(2 ** bits), height: base - y(2 ** bits) }),
    reached.map((levels, i) => s("rect", { class: "qt-bar qt-marked", x: x(i) + 0.15 * wide, width: 0.7 * wide, y: y(levels), height: base - y(levels) })),
    [0, 2 ** bits].map((value) => text(left - 6, y(value) + 4, value, { "text-anchor": "end" })),
    text(left, 14, `levels that each ${who} reaches`, { class: "qt-label" }),
    text((left + width - 8) / 2, base + 17, who, { "text-anchor": "middle" }));
}

function sharingSentence(name, who, bits, layer, report, zeros) {
  const half = middle(report.reached), all = 2 ** bits;
  const noise = report.sqnr === null ? "The error is zero." : `The mean squared error is ${say(report.mse)}, the signal ${say(report.sqnr)} dB above the noise.`;
  const scales = report.blocks.length === 1 ? "1 scale" : `${report.blocks.length} scales`;
  return `${name}, ${bits} bits, one scale for ${who === 0 ? WHO[0] : `each ${WHO[who]}`}: ${scales} for ${layer.values.length} weights, ` +
    `${say(report.bitsPerWeight)} bits per weight in all. Half of the ${who === 3 ? "parts" : "channels"} reach at most ${half} of the ${all} levels. ${noise}` +
    (zeros ? ` All-zero channels: ${zeros}; where their scale is their own it is 1 and their codes are 0.` : "");
}

function render({ model, el }) {
  const names = model.get("names"), counts = model.get("channels"), sizes = model.get("sizes"), all = floats(model.get("values"));
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, [count]) => sum + count, 0));
  const numbers = sizes.map(([count], i) => all.subarray(starts[i], starts[i] + count));
  const controls = [
    { kind: "choice", key: "layer", label: "layer", options: names.map((name, i) => [i, name]), value: 0 },
    { kind: "slider", key: "who", label: "one scale for", min: 0, max: 3, value: 0, text: (v) => (v ? `each ${WHO[v]}` : WHO[0]) },
    bitsControl(model.get("bits")),
  ];
  const draw = ({ layer: index, who, bits }, width) => {
    const values = numbers[index], channel = values.length / counts[index], layer = { values, channel, size: sizes[index][who] };
    const report = sharedReport(values, layer.size, channel, bits);
    const zeros = Array.from({ length: counts[index] }, (_, i) => extent(values, i * channel, (i + 1) * channel)).filter(({ lo, hi }) => lo === 0 && hi === 0).length;
    return {
      picture: [rangesPicture(width, layer, report), reachedPicture(width, report.reached, bits, who === 3 ? WHO[3] : WHO[2])],
      facts: [["scales", report.blocks.length], ["weights a scale", layer.size], ["bits per weight", say(report.bitsPerWeight)],
        ["MSE", say(report.mse)], ["SQNR", report.sqnr === null ? "no error" : `${say(report.sqnr)} dB`],
        ["reached by half", `${middle(report.reached)} of ${2 ** bits}`]],
      words: sharingSentence(names[index], who, bits, layer, report, zeros),
    };
  };
  return mount(el, { title: "Who shares a scale", controls, draw });
}

export default { render };
