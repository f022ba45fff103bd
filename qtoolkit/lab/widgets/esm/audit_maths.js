// Arithmetic of the audit: a size with parts left out, and the smallest point under a limit.

/** Bytes of the file when the parts of these boxes are not counted; a part that two boxes name is left out once. */
export function countedBytes(parts, forgotten) {
  const gone = new Set(forgotten.flat());
  return parts.reduce((sum, [part, size]) => sum + (gone.has(part) ? 0 : size), 0);
}

/** Index of the point of the largest ratio whose error is at most the limit, -1 if there is none. Points are [ratio, error, ...]. */
export function bestUnder(points, limit) {
  return points.reduce((best, [ratio, error], i) => (error <= limit + 1e-9 && (best < 0 || ratio > points[best][0]) ? i : best), -1);
}
