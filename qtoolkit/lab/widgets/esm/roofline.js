// The roofline of a machine: a layer moves along it with its batch and its bits.

import { layerOnRoof } from "./kernel_maths.js";
import { mount, s, say } from "./dom.js";
import { drawing, linear, text } from "./figures.js";

const HIGH = 250, TOP = 16, LEFT = 44;

function plotRoof(width, machine, peaks, places, place, point, bits) {
  const base = HIGH - 42, gmost = Math.max(...peaks) * 2, gleast = Math.min(...places.map(([, rate]) => rate)) / 8;
  const x = (i) => linear(-3, 10, LEFT, width - 8)(Math.log2(i)), y = (g) => linear(Math.log10(gleast), Math.log10(gmost), base, TOP)(Math.log10(g));
  const peak = bits === 32 ? peaks[1] : peaks[0], lowest = 1 / 8, highest = 1024;
  const line = (rate, strong) => {
    const ridge = peak / rate, first = Math.max(lowest, gleast / rate);
    return s("polyline", { fill: "none", stroke: strong ? "var(--qt-blue)" : "var(--qt-line)", "stroke-width": strong ? 3 : 1.2,
      points: [[first, first * rate], [ridge, peak], [highest, peak]].map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") });
  };
  const across = [0.125, 1, 8, 64, 512], up = [1, 10, 100, 1000, 10000].filter((g) => g > gleast && g < gmost);
  return drawing(width, HIGH, `Roofline of ${machine}`,
    s("g", { class: "qt-axis" }, s("line", { x1: LEFT, x2: width - 8, y1: base, y2: base }), s("line", { x1: LEFT, x2: LEFT, y1: base, y2: TOP }),
      across.map((tick) => text(x(tick), base + 17, say(tick), { "text-anchor": "middle" })), up.map((tick) => text(LEFT - 6, y(tick) + 4, say(tick), { "text-anchor": "end" })),
      text((LEFT + width) / 2, base + 36, "multiply-adds for each byte", { "text-anchor": "middle" }), text(2, TOP - 4, "G multiply-adds a second")),
    places.flatMap(([, rate], i) => (i === place ? [] : [line(rate, false)])), line(places[place][1], true),
    s("line", { x1: x(point.intensity).toFixed(1), x2: x(point.intensity).toFixed(1), y1: base, y2: y(point.roof).toFixed(1), stroke: "var(--qt-orange)", "stroke-dasharray": "4 4" }),
    s("circle", { cx: x(point.intensity).toFixed(1), cy: y(point.roof).toFixed(1), r: 6.5, fill: "var(--qt-orange)" }));
}

function tale(machine, m, k, n, bits, name, rate, peak, point) {
  const layer = `A layer of ${k} by ${n} weights of ${bits} bits, ${m} row${m > 1 ? "s" : ""} at once, on ${machine}: ${say(point.intensity)} multiply-adds for each byte.`;
  const other = point.intensity * rate, times = say(point.byBytes ? peak / other : other / peak, 2);
  return point.byBytes
    ? `${layer} It is bound by bytes: a buffer of ${name} delivers ${say(rate)} GB/s, enough for ${say(other)} G multiply-adds a second, and the arithmetic could do ${times} times as many. Fewer bits make it faster.`
    : `${layer} It is bound by arithmetic: ${say(peak)} G multiply-adds a second. Memory could feed ${times} times as many. Fewer bits do not make it faster, unless an instruction does more of them at once.`;
}

function render({ model, el }) {
  const machine = model.get("machine"), peaks = model.get("peaks"), places = model.get("places"), [k, n] = model.get("shape");
  const controls = [
    { kind: "slider", key: "batch", label: "rows at once (batch)", min: 0, max: 8, value: 0, text: (v) => String(2 ** v) },
    { kind: "choice", key: "bits", label: "bits of a weight", options: [32, 8, 4, 2].map((b) => [b, String(b)]), value: 8 },
    { kind: "slider", key: "place", label: "weights from", min: 0, max: places.length - 1, value: Math.max(places.length - 2, 0), text: (v) => `${places[v][0]}` },
  ];
  const draw = (values, width) => {
    const m = 2 ** values.batch, bits = Number(values.bits), [name, rate] = places[values.place], peak = bits === 32 ? peaks[1] : peaks[0];
    const point = layerOnRoof(m, k, n, bits, peak, rate);
    return {
      picture: [plotRoof(width, machine, peaks, places, values.place, point, bits)],
      facts: [["multiply-adds a byte", say(point.intensity)], ["bytes moved", `${say(point.nbytes / 1e6)} MB`], ["least time", `${say(point.least)} µs`], ["bound by", point.byBytes ? "bytes" : "arithmetic"]],
      words: tale(machine, m, k, n, bits, name, rate, peak, point),
    };
  };
  return mount(el, { title: `The roofline of ${machine}`, controls, draw });
}

export default { render };
