// The arithmetic of qtoolkit.kernels.instructions and qtoolkit.kernels.roofline, repeated; tests compare the two.

const saturate16 = (x) => Math.min(Math.max(x, -32768), 32767);

/** One lane: four signed inputs and weights, and the sum so far. */
export function dotOfLane(inputs, weights, sum) {
  const u = inputs.map((x) => x + 128), products = u.map((value, i) => value * weights[i]);
  const pairs = [products[0] + products[1], products[2] + products[3]], kept = pairs.map(saturate16);
  const four = pairs[0] + pairs[1], columnSum = weights.reduce((a, b) => a + b, 0);
  return {
    u, products, pairs, kept, four, sum: (sum + four) | 0, bySteps: (sum + kept[0] + kept[1]) | 0,
    correction: 128 * columnSum, exact: inputs.reduce((total, x, i) => total + x * weights[i], 0),
  };
}

/** Multiply-adds and bytes of a linear layer, the roof over it, and the least time in microseconds. Rates in G a second. */
export function layerOnRoof(m, k, n, bits, peak, gigabytes) {
  const activation = bits === 32 ? 32 : 8, work = m * k * n;
  const nbytes = (k * n * bits + (m * k + m * n) * activation) / 8, intensity = work / nbytes;
  const roof = Math.min(peak, intensity * gigabytes);
  return { work, nbytes, intensity, roof, byBytes: intensity * gigabytes < peak, least: work / roof / 1e3 };
}
