// k-means in the plane in double precision, as qtoolkit.quantizers.vector does it, and the cells of its code words.

const gap2 = ([a, b], [c, d]) => (a - c) ** 2 + (b - d) ** 2;

/** Index of the nearest word of each point, the first on a tie. */
export const nearestWords = (points, words) =>
  points.map((p) => words.reduce((best, word, j) => { const gap = gap2(p, word); return gap < best[0] ? [gap, j] : best; }, [Infinity, 0])[1]);

/** Mean squared error of a number: two numbers to a point. */
export const planeError = (points, words, codes) => points.reduce((sum, p, i) => sum + gap2(p, words[codes[i]]), 0) / (2 * points.length);

/** Lloyd's algorithm: words, codes and error before the first step and after every step, until no code changes. */
export function planeTrace(points, start, steps) {
  const trace = [];
  let words = start, before = null;
  for (let step = 0; step <= steps; step++) {
    const codes = nearestWords(points, words);
    trace.push({ words, codes, error: planeError(points, words, codes) });
    if (before && codes.every((code, i) => code === before[i])) break;
    before = codes;
    const sums = words.map(() => [0, 0, 0]);
    points.forEach(([x, y], i) => { const sum = sums[codes[i]]; sum[0] += x; sum[1] += y; sum[2] += 1; });
    words = words.map((word, j) => (sums[j][2] ? [sums[j][0] / sums[j][2], sums[j][1] / sums[j][2]] : word));
  }
  return trace;
}

/** Corners of the part of the square -reach..reach that is nearer to word i than to any other. */
export function cellOfWord(words, i, reach) {
  let corners = [[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]];
  words.forEach((other, j) => {
    const side = (p) => gap2(p, other) - gap2(p, words[i]); // not negative on our side, and linear in p
    if (j === i || (other[0] === words[i][0] && other[1] === words[i][1])) return;
    corners = corners.flatMap((p, n) => {
      const q = corners[(n + 1) % corners.length], here = side(p), there = side(q), t = here / (here - there);
      const cut = (here >= 0) !== (there >= 0) ? [[p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]] : [];
      return here >= 0 ? [p, ...cut] : cut;
    });
  });
  return corners;
}
