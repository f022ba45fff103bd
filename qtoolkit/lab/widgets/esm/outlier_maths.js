// One outlier among ordinary values, under three ways to choose a range. outlierReport repeats DynamicRange (per tensor and per token) and
// StaticRange of qtoolkit.quantizers; tests/lab/widgets/test_outlier_widget.py compares them with torch in a real browser.

import { chooseQparams, dequantize, extent, quantize } from "./maths.js";

/** One scale and zero point for each token; with "tensor" and "static" all tokens share theirs. `still` is the outlier while the static range was frozen. */
export function rowParams(values, channels, place, still, bits, how) {
  const count = values.length / channels;
  const shared = how === "static" ? values.map((x, i) => (i === place ? still : x)) : values;
  const params = ({ lo, hi }) => chooseQparams(lo, hi, bits, "asymmetric");
  if (how === "token") return Array.from({ length: count }, (_, token) => params(extent(values, token * channels, (token + 1) * channels)));
  return new Array(count).fill(params(extent(shared)));
}

/** What a quantizer makes of `values` (Float32Array, tokens x channels): numbers read back, how often each code occurs, and errors of the ordinary values and of the outlier. */
export function outlierReport(values, channels, place, still, bits, how) {
  const rows = rowParams(values, channels, place, still, bits, how), { qmin } = rows[0];
  const counts = new Array(2 ** bits).fill(0), ordinary = new Set(), back = new Float32Array(values.length);
  let error = 0, zeros = 0;
  values.forEach((x, i) => {
    const params = rows[Math.floor(i / channels)], q = quantize(x, params);
    back[i] = dequantize(q, params);
    counts[q - qmin] += 1;
    if (i === place) return;
    ordinary.add(q);
    error += (x - back[i]) ** 2;
    zeros += q === params.zeroPoint;
  });
  const others = values.length - 1, own = rows[Math.floor(place / channels)], off = Math.abs(values[place] - back[place]);
  return { back, counts, code: quantize(values[place], own) - qmin, used: ordinary.size, rms: Math.sqrt(error / others), zeros: zeros / others, outlierError: off, clipped: off > own.scale };
}
