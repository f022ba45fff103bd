// The arithmetic of code books in double precision. Each function repeats one of qtoolkit.quantizers (codebook.py, clusters.py);
// tests/lab/widgets compares the two in a real browser.

/** Index of the cell of x: how many of the ascending boundaries are not above it. */
export function cellOf(x, boundaries) {
  let low = 0, high = boundaries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (boundaries[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Mean squared error of a code book, and the share of numbers in each cell. Value i stands for weights[i] numbers. */
export function codebookReport(values, weights, levels, boundaries) {
  const shares = Array.from(levels, () => 0);
  let error = 0, total = 0;
  values.forEach((x, i) => {
    const cell = cellOf(x, boundaries);
    shares[cell] += weights[i];
    error += weights[i] * (x - levels[cell]) ** 2;
    total += weights[i];
  });
  return { mse: error / total, shares: shares.map((share) => share / total) };
}

/** Where every number takes its nearest level: halfway between neighbors. */
export const halfway = (levels) => Array.from(levels).slice(1).map((level, i) => (levels[i] + level) / 2);

/** Running totals of weight, weight * value and weight * value^2, so that the sums over any run are two totals apart. */
function totals(values, weights) {
  const sums = [[0], [0], [0]];
  values.forEach((x, i) => sums.forEach((sum, power) => sum.push(sum[i] + weights[i] * x ** power)));
  return sums;
}

/** Sorted values: where the cells of ascending centroids begin, and the end. */
function cellStarts(values, centroids) {
  const starts = [0];
  let place = 0;
  for (const boundary of halfway(centroids)) {
    while (place < values.length && values[place] < boundary) place++;
    starts.push(place);
  }
  return [...starts, values.length];
}

/** Lloyd's algorithm on sorted values: the centroids and the squared error before every step, until no cell changes. */
export function lloydTrace(values, weights, start, steps) {
  const [weight, moment, square] = totals(values, weights), trace = [];
  let centroids = Array.from(start).sort((a, b) => a - b), before = null;
  for (let step = 0; step <= steps; step++) {
    const cells = cellStarts(values, centroids);
    const sums = centroids.map((_, j) => [weight, moment].map((sum) => sum[cells[j + 1]] - sum[cells[j]]));
    const error = centroids.reduce((rest, c, j) => rest + c * (c * sums[j][0] - 2 * sums[j][1]), square.at(-1));
    trace.push({ centroids, error });
    if (before && cells.every((cell, j) => cell === before[j])) break;
    before = cells;
    centroids = centroids.map((c, j) => (sums[j][0] > 0 ? sums[j][1] / sums[j][0] : c));
  }
  return trace;
}
