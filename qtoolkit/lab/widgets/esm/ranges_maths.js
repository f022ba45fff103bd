// Two ways to judge a range. clipReport repeats fake_quantize and klDivergence repeats kl_divergence, both of qtoolkit.quantizers;
// tests/lab/widgets/test_ranges_widgets.py compares them with torch in a real browser.

import { chooseQparams, dequantize, quantize } from "./maths.js";

/** Squared errors of a restricted symmetric quantizer whose outermost levels are -T and T, from numbers inside and outside. Value i stands for weights[i] values. */
export function clipReport(values, weights, T, bits) {
  const params = chooseQparams(-T, T, bits, "restricted");
  let rounding = 0, clipping = 0, outside = 0, total = 0;
  values.forEach((x, i) => {
    const error = weights[i] * (x - dequantize(quantize(x, params), params)) ** 2, clipped = Math.abs(x) > T;
    if (clipped) { clipping += error; outside += weights[i]; } else rounding += error;
    total += weights[i];
  });
  return { rounding: rounding / total, clipping: clipping / total, mse: (rounding + clipping) / total, outside: outside / total, step: params.scale, params };
}

/** P, the first `kept` counts with all others folded into the last of them, and Q, those counts averaged over the bins that share one of `levels` codes; neither is normalized. */
export function klPair(counts, kept, levels) {
  const p = counts.slice(0, kept), mass = new Float64Array(levels), used = new Float64Array(levels);
  for (let i = kept; i < counts.length; i++) p[kept - 1] += counts[i];
  const code = (i) => Math.floor((i * levels) / kept);
  for (let i = 0; i < kept; i++) { mass[code(i)] += counts[i]; used[code(i)] += p[i] > 0; }
  return { p, q: p.map((count, i) => (count > 0 ? mass[code(i)] / used[code(i)] : 0)) };
}

/** KL(P || Q) in nats; infinite where P has mass and Q has none. */
export function klDivergence(counts, kept, levels) {
  const { p, q } = klPair(counts, kept, levels);
  let all = 0, rest = 0, sum = 0;
  for (let i = 0; i < kept; i++) { all += p[i]; rest += q[i]; }
  for (let i = 0; i < kept; i++) if (p[i] > 0) sum += (p[i] / all) * Math.log((p[i] / all) / (q[i] / rest));
  return Number.isNaN(sum) ? Infinity : sum;
}

/** [[kept, KL], ...] for every `stride`-th number of bins from `least` on, and the best of all. */
export function klSearch(counts, levels, least, stride = 1) {
  const points = [];
  for (let kept = Math.max(least, levels); kept <= counts.length; kept += stride) points.push([kept, klDivergence(counts, kept, levels)]);
  return { points, best: points.reduce((one, other) => (other[1] < one[1] ? other : one)) };
}
