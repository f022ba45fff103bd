// Drag the clip: what is gained inside the range and what is lost outside.

import { clipReport } from "./ranges_maths.js";
import { clamp, levelsOf, sketchWeights } from "./maths.js";
import { bitsControl, floats, mount, s, say } from "./dom.js";
import { axisBelow, drawing, levelMarks, linear, niceTicks, text } from "./figures.js";

const STEPS = 60;
const share = (x) => (x === 0 ? "none" : x < 1e-4 ? "under 0.01 %" : `${say(100 * x, 2)} %`);

/** The clip at slider position i: from a hundredth of the largest magnitude to all of it, equal factors apart. */
export const clipAt = (largest, i) => largest * 100 ** (i / STEPS - 1);

function logHistogram(x, edges, counts, base, height) {
  const top = Math.log10(1 + Math.max(...counts));
  return s("g", { class: "qt-histogram" }, counts.map((count, i) => {
    const tall = (Math.log10(1 + count) / top) * height;
    return s("rect", { x: x(edges[i]), y: base - tall, width: Math.max(x(edges[i + 1]) - x(edges[i]) - 0.5, 0.5), height: tall });
  }));
}

function numbers(width, data, T, report) {
  const base = 118, lo = data.edges[0], hi = data.edges.at(-1), reach = Math.max(-lo, hi), pad = 0.03 * reach;
  const x = linear(-reach - pad, reach + pad, 8, width - 8);
  const levels = levelsOf(report.params).map((value) => ({ value, used: true }));
  const handle = (at) => [s("line", { class: "qt-clip", x1: x(at), x2: x(at), y1: 4, y2: base }), s("circle", { class: "qt-grip", cx: x(at), cy: 10, r: 7 })];
  const picture = drawing(width, 186, `Histogram of ${data.name}, logarithmic height, with the clip on both sides`,
    s("rect", { class: "qt-range", x: x(-T), y: 4, width: x(T) - x(-T), height: base - 4 }), logHistogram(x, data.edges, data.counts, base, 102),
    handle(-T), handle(T), levelMarks(x, levels, base + 3), axisBelow(x, niceTicks(-reach, reach, width / 90), base + 22, [8, width - 8], `${data.name} (bars: logarithmic)`));
  picture.classList.add("qt-drag");
  picture.dataset.reach = reach + pad;
  return picture;
}

const LINES = [["rounding", "rounding", "qt-first"], ["clipping", "clipping", "qt-second"], ["mse", "sum", "qt-third"]];

function errors(width, reports, T, report, clips, largest) {
  const left = 108, row = 20, top = 26, high = 118, base = top + high, names = Object.keys(clips);
  const x = linear(Math.log10(largest / 100), Math.log10(largest), left, width - 12);
  const worst = Math.max(...reports.map(([, r]) => r.mse)), least = Math.min(...reports.map(([, r]) => r.mse)) / 100;
  const y = linear(Math.log10(least), Math.log10(worst), base, top), floor = (v) => clamp(Math.log10(Math.max(v, 1e-300)), Math.log10(least), Math.log10(worst));
  const end = base + 10 + row * names.length, at = x(Math.log10(T));
  return drawing(width, end + 44, "Squared error against the clip, and where each calibration puts it",
    LINES.map(([key, name, kind], i) => [
      s("polyline", { class: `qt-line ${kind}`, points: reports.map(([t, r]) => `${x(Math.log10(t)).toFixed(1)},${y(floor(r[key])).toFixed(1)}`).join(" ") }),
      s("line", { class: `qt-line ${kind}`, x1: 0, x2: 24, y1: top + 16 + 22 * i, y2: top + 16 + 22 * i }), text(30, top + 20 + 22 * i, name)]).flat(),
    text(0, 14, "mean squared error (logarithmic)", { class: "qt-label" }),
    s("line", { class: "qt-clip", x1: at, x2: at, y1: top, y2: end }), s("circle", { class: "qt-grip", cx: at, cy: y(floor(report.mse)), r: 5 }),
    names.map((name, i) => [text(0, base + 22 + row * i, name), s("line", { class: "qt-guide", x1: left, x2: width - 12, y1: base + 18 + row * i, y2: base + 18 + row * i }),
      s("circle", { class: "qt-pick", cx: x(Math.log10(clamp(clips[name], largest / 100, largest))), cy: base + 18 + row * i, r: 5.5 })]).flat(),
    axisBelow((v) => x(Math.log10(v)), [0.01, 0.03, 0.1, 0.3, 1].map((f) => Number((f * largest).toPrecision(2))).filter((v) => v >= largest / 100 && v <= largest), end, [left, width - 12], "clip T (logarithmic)"));
}

function sentence(name, bits, T, report, clips, best) {
  const order = Object.entries(clips).sort(([, a], [, b]) => Math.abs(Math.log(a / T)) - Math.abs(Math.log(b / T)));
  const larger = report.rounding > report.clipping ? "Rounding is the larger part: a shorter range would help" : "Clipping is the larger part: a longer range would help";
  return `${bits} bits, clip T = ${say(T)}, levels ${say(report.step)} apart. ${report.outside ? share(report.outside) : "None"} of ${name} lie outside. Rounding costs ${say(report.rounding)}, clipping ${say(report.clipping)}, ` +
    `together ${say(report.mse)}, ${say(report.mse / best[1].mse)} times the least possible, which is at T = ${say(best[0])}. ` +
    `${Math.abs(Math.log(best[0] / T)) < 0.04 ? "This is the best place" : larger}. The calibration nearest to this clip is ${order[0][0]} (${say(order[0][1])}).`;
}

/** Let the pointer drag the clip on the histogram: it moves the slider, which does the rest. */
function draggable(el, largest) {
  const move = (event) => {
    const picture = event.buttons ? event.target.closest?.(".qt-drag") : null;
    if (!picture) return;
    const box = picture.getBoundingClientRect(), reach = Number(picture.dataset.reach);
    const at = Math.abs(((event.clientX - box.left - 8) / (box.width - 16)) * 2 - 1) * reach;
    const slider = el.querySelectorAll("input[type=range]")[1];
    slider.value = Math.round(STEPS * (1 + Math.log10(clamp(at, largest / 100, largest) / largest) / 2));
    slider.dispatchEvent(new Event("input"));
    event.preventDefault();
  };
  el.addEventListener("pointerdown", move);
  el.addEventListener("pointermove", move);
}

function render({ model, el }) {
  const values = floats(model.get("values")), tail = model.get("tail"), inner = model.get("inner");
  const weights = sketchWeights(values, tail, inner), largest = Math.max(-values[0], values.at(-1));
  const data = { edges: [...floats(model.get("edges"))], counts: model.get("counts"), name: model.get("name") };
  const all = model.get("clips"), known = {};
  const sweep = (bits) => (known[bits] ??= Array.from({ length: STEPS + 1 }, (_, i) => [clipAt(largest, i), clipReport(values, weights, clipAt(largest, i), bits)]));
  const controls = [
    bitsControl(model.get("bits")),
    { kind: "slider", key: "at", label: "clip T (or drag in the picture)", min: 0, max: STEPS, value: STEPS, text: (v) => say(clipAt(largest, v)) },
  ];
  const draw = ({ bits, at }, width) => {
    const reports = sweep(bits), [T, report] = reports[at], clips = Object.fromEntries(all[String(bits)]);
    const best = reports.reduce((one, other) => (other[1].mse < one[1].mse ? other : one));
    return {
      picture: [numbers(width, data, T, report), errors(width, reports, T, report, clips, largest)],
      facts: [["step S", say(report.step)], ["outside", share(report.outside)], ["rounding", say(report.rounding)], ["clipping", say(report.clipping)], ["sum (MSE)", say(report.mse)]],
      words: sentence(data.name, bits, T, report, clips, best),
    };
  };
  draggable(el, largest);
  return mount(el, { title: `Where to clip ${data.name}`, controls, draw });
}

export default { render };
