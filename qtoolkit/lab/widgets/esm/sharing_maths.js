// Blocks of neighboring weights that share a scale: the arithmetic of Affine.fit(w, Scheme(bits, granularity=...)), compared with torch in tests.

import { chooseQparams, dequantize, extent, quantize } from "./maths.js";

const FLOAT32_BITS = 32;

/** Quantize runs of `size` values, each with its own symmetric scale. `reached` counts the levels in the range of each channel (of `channel` values), or of each run if it is shorter. */
export function sharedReport(values, size, channel, bits) {
  const blocks = [];
  let error = 0, signal = 0;
  for (let start = 0; start < values.length; start += size) {
    const { lo, hi } = extent(values, start, start + size), params = chooseQparams(lo, hi, bits, "full");
    blocks.push({ lo, hi, params });
    for (let i = start; i < start + size; i++) {
      error += (values[i] - dequantize(quantize(values[i], params), params)) ** 2;
      signal += values[i] ** 2;
    }
  }
  const reached = [];
  const step = Math.min(channel, size);
  for (let start = 0; start < values.length; start += step) {
    const { lo, hi } = extent(values, start, start + step), { params } = blocks[Math.floor(start / size)];
    reached.push(quantize(hi, params) - quantize(lo, params) + 1);
  }
  return {
    blocks, reached, mse: error / values.length, sqnr: error > 0 ? 10 * Math.log10(signal / error) : null,
    bitsPerWeight: bits + FLOAT32_BITS / size,
  };
}
