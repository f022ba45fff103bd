// k-means settles: from three starts, step by step, beside the best that is possible.

import { halfway, lloydTrace } from "./codebooks.js";
import { sketchWeights } from "./maths.js";
import { floats, mount, say } from "./dom.js";
import { codebookPicture, fallingCurves } from "./codebook_figures.js";

const STEPS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 40, 60, 100, 200, 300];

function settleWords(start, k, step, name, state, last, lost) {
  const excess = 100 * (state - 1), settled = step >= last ? ` It settled after ${last} steps.` : "";
  return `${k} centroids on ${name}, ${start} start, ${step === 0 ? "before the first step" : `after ${Math.min(step, last)} step${Math.min(step, last) === 1 ? "" : "s"}`}: ` +
    `the squared error is ${excess < 0.05 ? "within 0.1 % of" : `${say(excess, excess < 10 ? 2 : 3)} % above`} the least possible.${settled} ` +
    `The outermost number moves by ${say(lost, 2)} % of its size. Gray marks: the best centroids there are.`;
}

function render({ model, el }) {
  const values = [...floats(model.get("values"))], tail = model.get("tail"), inner = model.get("inner");
  const weights = sketchWeights(values, tail, inner);
  const packed = floats(model.get("tables")), starts = model.get("starts"), name = model.get("name");
  const data = { edges: [...floats(model.get("edges"))], counts: model.get("counts"), total: model.get("total"), unit: name };
  const widths = model.get("widths"), rows = starts.length + 1, runs = {};
  const run = (bits) => (runs[bits] ??= (() => {
    const k = 2 ** bits, at = widths.slice(0, widths.indexOf(bits)).reduce((sum, b) => sum + rows * 2 ** b, 0);
    const row = (i) => [...packed.slice(at + i * k, at + (i + 1) * k)];
    const best = lloydTrace(values, weights, row(rows - 1), 1)[0];
    return { best, traces: starts.map((_, i) => lloydTrace(values, weights, row(i), STEPS.at(-1))) };
  })());
  const controls = [
    { kind: "slider", key: "at", label: "steps", min: 0, max: STEPS.length - 1, value: 0, text: (i) => (STEPS[i] === 1 ? "1 step" : `${STEPS[i]} steps`) },
    { kind: "slider", key: "bits", label: "centroids", min: widths[0], max: widths.at(-1), value: model.get("bits"), text: (b) => `${2 ** b} centroids` },
    { kind: "choice", key: "start", label: "start", options: starts.map((start, i) => [i, start]), value: 0 },
  ];
  const draw = ({ at, bits, start }, width) => {
    const { best, traces } = run(bits), state = (trace, step) => trace[Math.min(step, trace.length - 1)];
    const curves = traces.map((trace) => STEPS.map((step) => Math.max(state(trace, step).error / best.error, 1)));
    const now = state(traces[start], STEPS[at]), { centroids } = now;
    const far = Math.abs(values[0]) > Math.abs(values.at(-1)) ? [values[0], centroids[0]] : [values.at(-1), centroids.at(-1)];
    const lost = Math.abs((100 * (far[0] - far[1])) / far[0]), last = traces[start].length - 1;
    return {
      picture: [codebookPicture(width, data, centroids, halfway(centroids), best.centroids),
        ...fallingCurves(width, starts, curves, STEPS, start, at, "Squared error against the steps of k-means, three starts; the line is the least possible")],
      facts: [["squared error", say(now.error)], ["least possible", say(best.error)], ["above it", `${say(100 * Math.max(now.error / best.error - 1, 0), 2)} %`],
        ["outermost number moves", `${say(lost, 2)} %`]],
      words: settleWords(starts[start], 2 ** bits, STEPS[at], name, curves[start][at], last, lost),
    };
  };
  return mount(el, { title: `k-means settles on ${name}`, controls, draw });
}

export default { render };
