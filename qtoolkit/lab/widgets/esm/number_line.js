// A quantizer as a ruler under the numbers that it has to measure.

import { chooseQparams, dequantize, levelsOf, quantizationReport, sketchWeights } from "./maths.js";
import { bitsControl, floats, mount, s, say } from "./dom.js";
import { axisBelow, curve, drawing, histogram, levelMarks, linear, niceTicks, text } from "./figures.js";

const MODES = [["full", "symmetric"], ["restricted", "restricted"], ["asymmetric", "asymmetric"]];
const CLIPS = Array.from({ length: 19 }, (_, i) => 10 + 5 * i);
const percent = (share) => (share > 0 && share < 0.001 ? "under 0.1 %" : `${say(100 * share, 2)} %`);

/** Parameters for the data's range, shortened to `clip` percent at both ends. */
export const paramsFor = (lo, hi, { bits, clip, mode }) => chooseQparams(Math.fround((lo * clip) / 100), Math.fround((hi * clip) / 100), bits, mode);

function ruler(width, { edges, counts, total, name }, params, report) {
  const levels = levelsOf(params).map((value, i) => ({ value, used: report.used.has(params.qmin + i) }));
  const [first, last] = [levels[0].value, levels.at(-1).value];
  const lo = Math.min(edges[0], first), hi = Math.max(edges.at(-1), last), pad = 0.02 * (hi - lo), base = 128;
  const x = linear(lo - pad, hi + pad, 8, width - 8);
  return drawing(width, 196, `Histogram of ${name}, above the levels of the quantizer`,
    s("rect", { class: "qt-range", x: x(first), y: 6, width: Math.max(x(last) - x(first), 1), height: base + 14 }),
    histogram(x, edges, counts, base, 112, total), levelMarks(x, levels, base + 3),
    axisBelow(x, niceTicks(lo, hi, width / 80), base + 24, [8, width - 8], name));
}

function errorCurve(width, errors, clip, now) {
  const top = Math.max(...errors.map(([, error]) => error)), base = 92, left = 8;
  const x = linear(10, 100, left, width - 8), y = linear(0, top, base, 24);
  return drawing(width, 134, "Mean squared error against the length of the ruler",
    text(left, 14, `mean squared error, from 0 to ${say(top)}`, { class: "qt-label" }), curve(errors, x, y, [clip, now]),
    axisBelow(x, [20, 40, 60, 80, 100], base, [left, width - 8], "length of the ruler (% of the widest)"));
}

function sentence(name, { bits, clip, mode }, params, report) {
  const codes = params.qmax - params.qmin + 1, kind = MODES.find(([key]) => key === mode)[1];
  const noise = report.sqnr === null ? "The error is zero." : `The mean squared error is ${say(report.mse)}, the signal is ${say(report.sqnr)} dB above the noise.`;
  return `A ${bits}-bit ${kind} quantizer on ${name}, its ruler ${clip} % as long as the widest: ${codes} levels, ${say(params.scale)} apart, ` +
    `from ${say(dequantize(params.qmin, params))} to ${say(dequantize(params.qmax, params))}. The number 0 has code ${params.zeroPoint}. ` +
    `${report.used.size} of the ${codes} codes occur; ${percent(report.clipped)} of the numbers are clipped. ${noise}`;
}

function render({ model, el }) {
  const values = floats(model.get("values")), tail = model.get("tail"), inner = model.get("inner");
  const weights = sketchWeights(values, tail, inner), lo = values[0], hi = values.at(-1);
  const data = { edges: [...floats(model.get("edges"))], counts: model.get("counts"), total: model.get("total"), name: model.get("name") };
  const controls = [
    bitsControl(model.get("bits")),
    { kind: "slider", key: "clip", label: "length of the ruler", min: 10, max: 100, step: 5, value: model.get("clip"), text: (v) => `${v} %` },
    { kind: "choice", key: "mode", label: "quantizer", options: MODES, value: model.get("mode") },
  ];
  const draw = (chosen, width) => {
    const params = paramsFor(lo, hi, chosen), report = quantizationReport(values, params, weights);
    const errors = CLIPS.map((clip) => [clip, quantizationReport(values, paramsFor(lo, hi, { ...chosen, clip }), weights).mse]);
    return {
      picture: [ruler(width, data, params, report), errorCurve(width, errors, chosen.clip, report.mse)],
      facts: [
        ["scale S", say(params.scale)], ["zero point Z", params.zeroPoint], ["codes used", `${report.used.size} of ${params.qmax - params.qmin + 1}`],
        ["clipped", percent(report.clipped)], ["MSE", say(report.mse)], ["SQNR", report.sqnr === null ? "no error" : `${say(report.sqnr)} dB`],
      ],
      words: sentence(data.name, chosen, params, report),
    };
  };
  return mount(el, { title: `A ruler for ${data.name}`, controls, draw });
}

export default { render };
