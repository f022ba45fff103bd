// The arithmetic that a control drives. Each function repeats one of qtoolkit.quantizers.affine in float32, step by step, and
// tests/lab/widgets compares the two in a real browser, bit for bit.

const TINY = 2 ** -126;
const HUGE = (2 - 2 ** -23) * 2 ** 127;

export const clamp = (value, lo, hi) => Math.min(Math.max(value, lo), hi);

/** Round to the nearest integer, a tie to the even neighbor. */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** The codes of a scheme: mode is "full", "restricted" or "asymmetric" (signed codes, as in Scheme). */
export function codeRange(bits, mode) {
  return { qmin: -(2 ** (bits - 1)) + (mode === "restricted" ? 1 : 0), qmax: 2 ** (bits - 1) - 1 };
}

/** Scale and zero point that spread the codes over lo..hi, which is widened to contain 0. */
export function chooseQparams(lo, hi, bits, mode) {
  const { qmin, qmax } = codeRange(bits, mode);
  const steps = qmax - qmin;
  const low = Math.min(lo, 0), high = Math.max(hi, 0);
  const usable = (s) => Math.fround(clamp(s > 0 ? s : 1, TINY, Math.fround(HUGE / (steps + 1))));
  if (mode !== "asymmetric") return { scale: usable(Math.fround(Math.max(-low, high) / (steps / 2))), zeroPoint: 0, qmin, qmax };
  const scale = usable(Math.fround(Math.fround(high - low) / steps));
  return { scale, zeroPoint: clamp(qmin - roundHalfEven(Math.fround(low / scale)), qmin, qmax), qmin, qmax };
}

/** q = clamp(round(x / S) + Z, qmin, qmax). */
export function quantize(x, { scale, zeroPoint, qmin, qmax }) {
  return clamp(roundHalfEven(Math.fround(x / scale)) + zeroPoint, qmin, qmax);
}

/** x~ = S (q - Z). */
export const dequantize = (q, { scale, zeroPoint }) => Math.fround(scale * (q - zeroPoint));

/** Mean squared error, its ratio to the signal in dB, the codes that occur, and the share of values beyond the last levels. Value i stands for weights[i] values. */
export function quantizationReport(values, params, weights = values.map(() => 1)) {
  const used = new Set();
  let error = 0, signal = 0, clipped = 0, total = 0;
  const first = dequantize(params.qmin, params), last = dequantize(params.qmax, params), half = params.scale / 2;
  values.forEach((x, i) => {
    const q = quantize(x, params), weight = weights[i];
    used.add(q);
    error += weight * (x - dequantize(q, params)) ** 2;
    signal += weight * x * x;
    clipped += weight * (x < first - half || x > last + half);
    total += weight;
  });
  return { mse: error / total, sqnr: error > 0 && signal > 0 ? 10 * Math.log10(signal / error) : null, used, clipped: clipped / total };
}

/** All levels of a quantizer, ascending. */
export const levelsOf = (params) => Array.from({ length: params.qmax - params.qmin + 1 }, (_, i) => dequantize(params.qmin + i, params));

/** How many numbers each number of a sketch stands for: the `tail` outermost on either side for themselves, the others for `inner`. */
export const sketchWeights = (values, tail, inner) => values.map((_, i) => (i < tail || i >= values.length - tail ? 1 : inner));

/** The smallest and the largest of the values from `start` to `end`. */
export function extent(values, start = 0, end = values.length) {
  let lo = Infinity, hi = -Infinity;
  for (let i = start; i < end; i++) { lo = Math.min(lo, values[i]); hi = Math.max(hi, values[i]); }
  return { lo, hi };
}

/** Pixels 0..255 rounded to `bits` bits and back: neither rounding can tie, because the tops are odd. */
export function roundPixels(pixels, bits) {
  const top = 2 ** bits - 1;
  return Uint8Array.from(pixels, (p) => Math.round((Math.round((p * top) / 255) * 255) / top));
}

/** Index of the largest value, the first of equals. */
export const argmax = (values) => values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
