// Huffman's algorithm, with the ties of qtoolkit.compression.huffman: lightest first, equal weights by number.

/** [[left, right, node, weight], ...]: symbols are 0 .. n-1, the k-th merge makes node n + k. */
export function huffmanMerges(counts) {
  const alive = counts.map((weight, node) => ({ weight, node }));
  const steps = [];
  while (alive.length > 1) {
    alive.sort((a, b) => a.weight - b.weight || a.node - b.node);
    const [a, b] = alive.splice(0, 2), node = counts.length + steps.length;
    steps.push([a.node, b.node, node, a.weight + b.weight]);
    alive.push({ weight: a.weight + b.weight, node });
  }
  return steps;
}

/** Length of every symbol's codeword after the first `made` merges: how many merged nodes it lies under. */
export function depthsAfter(count, steps, made) {
  const depth = Array(count + steps.length).fill(0);
  for (const [left, right, node] of steps.slice(0, made).reverse()) depth[left] = depth[right] = depth[node] + 1;
  return depth.slice(0, count);
}

/** Shannon's bound in bits a symbol. */
export function entropyOf(counts) {
  const total = counts.reduce((a, b) => a + b, 0);
  return counts.reduce((sum, c) => (c ? sum - (c / total) * Math.log2(c / total) : sum), 0);
}

/** The order of leaves in which no branches cross. */
export function leafOrder(count, steps) {
  const kids = new Map(steps.map(([left, right, node]) => [node, [left, right]]));
  const walk = (node) => (kids.has(node) ? kids.get(node).flatMap(walk) : [node]);
  return walk(steps.length ? steps[steps.length - 1][2] : 0);
}
