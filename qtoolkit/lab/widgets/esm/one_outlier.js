// One outlier ruins a layer: scale it and see what a range leaves to everybody else.

import { outlierReport } from "./outlier_maths.js";
import { bitsControl, floats, mount, s, say } from "./dom.js";
import { drawing, text } from "./figures.js";

const STEPS = 40;
const HOW = [["tensor", "per tensor"], ["token", "per token"], ["static", "static"]];
const factorAt = (i) => 100 ** (i / STEPS);
const share = (x) => (x === 0 ? "none" : `${say(100 * x, 2)} %`);

/** Tokens as rows, channels as columns: the stronger the color, the larger the number. An empty cell is a zero. */
function cells(width, left, top, row, values, channels, reach, place) {
  const cell = (width - left) / channels;
  return s("g", {}, [...values].flatMap((x, i) => {
    const at = { x: (left + (i % channels) * cell).toFixed(2), y: top + Math.floor(i / channels) * row, width: Math.max(cell - 0.6, 0.6).toFixed(2), height: row - 1 };
    const ink = Math.min(Math.abs(x) / reach, 1) ** 0.6;
    const box = ink > 0.02 ? [s("rect", { ...at, class: x < 0 ? "qt-bar qt-marked" : "qt-bar", "fill-opacity": ink.toFixed(2) })] : [];
    return i === place ? [...box, s("rect", { ...at, fill: "none", stroke: "currentColor", "stroke-width": 1.5 })] : box;
  }));
}

function tables(width, { words, channels, reach, place }, before, after) {
  const row = 13, left = width > 500 ? 64 : 0, high = row * words.length, second = high + 44;
  const names = (top) => (left ? words.map((word, i) => text(left - 6, top + row * i + 10, word, { "text-anchor": "end" })) : []);
  return drawing(width, second + high + 6, "The values before and after quantization: one row a token, one column a channel",
    text(0, 12, "before: one row a token, one column a channel", { class: "qt-label" }), names(20), cells(width, left, 20, row, before, channels, reach, place),
    text(0, second - 8, "after: an empty cell has become zero", { class: "qt-label" }), names(second), cells(width, left, second, row, after, channels, reach, place));
}

function codes(width, counts, code, bits) {
  const base = 104, top = Math.log10(1 + Math.max(...counts)), bar = width / counts.length;
  return drawing(width, 128, "How often each code occurs, logarithmic",
    text(0, 12, "how often each code occurs (logarithmic)", { class: "qt-label" }),
    s("rect", { class: "qt-track", x: 0, y: base, width, height: 3 }),
    counts.map((count, i) => s("rect", { class: i === code ? "qt-bar qt-marked" : "qt-bar", x: (i * bar).toFixed(2), width: Math.max(bar - 0.6, 0.8).toFixed(2),
      y: (base - (84 * Math.log10(1 + count)) / top).toFixed(1), height: ((84 * Math.log10(1 + count)) / top).toFixed(1) })),
    text(0, base + 18, `code ${-(2 ** (bits - 1))}`), text(width, base + 18, `code ${2 ** (bits - 1) - 1}`, { "text-anchor": "end" }));
}

function sentence(name, word, factor, { bits, how }, report, calm, outlier) {
  const range = { tensor: "One dynamic range for the whole tensor", token: "A dynamic range for each token", static: "A static range, frozen while the outlier was as large as the largest other value" }[how];
  const against = calm.rms > 0 ? report.rms / calm.rms : 1;
  const effect = against > 1.15 ? `${say(against, 2)} times what it would be without the outlier` : "what it would be without the outlier";
  const own = report.clipped ? `The outlier itself is clipped: its error is ${say(report.outlierError)} of ${say(outlier)}.` : `The outlier itself is off by ${say(report.outlierError)}.`;
  return `${range}, ${bits} bits, on ${name}. One value, in the token ${word}, is ${say(factor, 2)} times as large as any other. The other values use ${report.used} of ${2 ** bits} levels, ` +
    `${share(report.zeros)} of them come back as zero, and their error is ${effect}. ${own}`;
}

function render({ model, el }) {
  const ordinary = floats(model.get("values")), [channels, place, reach] = [model.get("channels"), model.get("place"), model.get("reach")];
  const words = model.get("words"), name = model.get("name"), word = words[Math.floor(place / channels)];
  const loud = (factor) => { const x = ordinary.slice(); x[place] = Math.fround(reach * factor); return x; };
  const controls = [
    { kind: "slider", key: "at", label: "outlier", min: 0, max: STEPS, value: model.get("at"), text: (i) => `${say(factorAt(i), 2)} ×` },
    bitsControl(model.get("bits")),
    { kind: "choice", key: "how", label: "range", options: HOW, value: model.get("how") },
  ];
  const draw = (chosen, width) => {
    const { at, bits, how } = chosen, x = loud(factorAt(at)), still = Math.fround(reach);
    const report = outlierReport(x, channels, place, still, bits, how), calm = outlierReport(loud(1), channels, place, still, bits, how);
    return {
      picture: [tables(width, { words, channels, reach, place }, x, report.back), codes(width, report.counts, report.code, bits)],
      facts: [["levels the others use", `${report.used} of ${2 ** bits}`], ["others that became 0", share(report.zeros)],
        ["error of the others (RMS)", say(report.rms)], ["error of the outlier", say(report.outlierError)]],
      words: sentence(name, word, factorAt(at), chosen, report, calm, x[place]),
    };
  };
  return mount(el, { title: `One outlier among ${name}`, controls, draw });
}

export default { render };
