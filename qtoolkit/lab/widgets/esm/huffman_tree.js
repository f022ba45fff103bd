// Build the Huffman tree: one merge a step, forward and backward.

import { depthsAfter, entropyOf, huffmanMerges, leafOrder } from "./huffman_maths.js";
import { mount, s, say } from "./dom.js";
import { drawing, text } from "./figures.js";

const LEVEL = 34, TOP = 22;

/** Places of all nodes: leaves side by side at the bottom, a merged node above the higher of its two. */
function places(width, counts, steps) {
  const order = leafOrder(counts.length, steps), room = width / counts.length;
  const x = Array(counts.length), rise = Array(counts.length).fill(0);
  order.forEach((leaf, i) => { x[leaf] = (i + 0.5) * room; });
  for (const [left, right] of steps) { x.push((x[left] + x[right]) / 2); rise.push(Math.max(rise[left], rise[right]) + 1); }
  const base = TOP + LEVEL * rise[rise.length - 1];
  return { x, y: rise.map((r) => base - LEVEL * r), base, room };
}

function branch(x, y, from, to, fresh) {
  return s("path", { d: `M${x[from].toFixed(1)},${y[from]} V${y[to]} H${x[to].toFixed(1)}`, fill: "none", stroke: fresh ? "var(--qt-orange)" : "var(--qt-line)", "stroke-width": fresh ? 3 : 1.5 });
}

function tree(width, counts, names, steps, made) {
  const { x, y, base, room } = places(width, counts, steps), depth = depthsAfter(counts.length, steps, made);
  const most = Math.max(...counts), done = steps.slice(0, made), high = base + 118, small = room < 46;
  const leaf = (i) => [s("rect", { class: "qt-bar", x: (x[i] - room * 0.34).toFixed(1), width: (room * 0.68).toFixed(1), y: base + 8, height: Math.max(2, (44 * counts[i]) / most).toFixed(1) }),
    text(x[i].toFixed(1), base + 68, names[i], { "text-anchor": "middle", class: "qt-strong" }),
    text(x[i].toFixed(1), base + 84, small && counts[i] > 999 ? `${(counts[i] / 1000).toFixed(1)}k` : counts[i].toLocaleString("en-US"), { "text-anchor": "middle" }),
    text(x[i].toFixed(1), base + 104, small ? `${depth[i]} b` : depth[i] === 1 ? "1 bit" : `${depth[i]} bits`, { "text-anchor": "middle" })];
  return drawing(width, high, `Huffman tree after ${made} of ${steps.length} merges`,
    done.flatMap(([left, right, node], k) => [branch(x, y, left, node, k === made - 1), branch(x, y, right, node, k === made - 1)]),
    done.map(([, , node, weight], k) => [s("circle", { cx: x[node].toFixed(1), cy: y[node], r: 4, fill: k === made - 1 ? "var(--qt-orange)" : "var(--qt-blue)" }),
      text(x[node].toFixed(1), y[node] - 8, weight.toLocaleString("en-US"), { "text-anchor": "middle", class: k === made - 1 ? "qt-strong" : "" })]).flat(),
    counts.flatMap((_, i) => leaf(i)));
}

const called = (node, names, steps) => (node < names.length ? `the symbol ${names[node]}` : `the node of weight ${steps[node - names.length][3].toLocaleString("en-US")}`);

function story(name, source, names, counts, steps, made, mean, bound, fixed) {
  if (!made) return `${name}, ${source}: ${names.length} symbols, no merge yet. The lightest two are next: ${called(steps[0][0], names, steps)} and ${called(steps[0][1], names, steps)}.`;
  const [left, right, , weight] = steps[made - 1];
  const merge = `${name}, ${source}. Merge ${made} of ${steps.length}: ${called(left, names, steps)} and ${called(right, names, steps)} were the lightest two and became one node of weight ${weight.toLocaleString("en-US")}. Every symbol below it has one bit more.`;
  if (made < steps.length) return `${merge} ${steps.length + 1 - made} nodes are left.`;
  const depth = depthsAfter(counts.length, steps, made), gain = mean < fixed - 1e-9 ? `${say(100 * (1 - mean / fixed), 2)} % below` : "no better than";
  return `${merge} The tree is complete: codewords of ${Math.min(...depth)} to ${Math.max(...depth)} bits, ${say(mean)} bits a symbol on average, ${gain} the ${fixed} bits of a fixed width, and ${say(Math.max(mean - bound, 0), 2)} bits above the entropy.`;
}

function render({ model, el }) {
  const sources = model.get("sources"), all = model.get("counts"), names = model.get("symbols"), name = model.get("name");
  const last = names.length - 1, fixed = Math.ceil(Math.log2(names.length));
  const controls = [
    { kind: "slider", key: "at", label: "merges made", min: 0, max: last, value: model.get("at"), text: (v) => `${v} of ${last}` },
    ...(sources.length > 1 ? [{ kind: "choice", key: "source", label: "frequencies", options: sources.map((source, i) => [i, source]), value: 0 }] : []),
  ];
  const draw = ({ at, source = 0 }, width) => {
    const counts = all[source], steps = huffmanMerges(counts), total = counts.reduce((a, b) => a + b, 0), bound = entropyOf(counts);
    const mean = steps.slice(0, at).reduce((sum, step) => sum + step[3], 0) / total;
    return {
      picture: [tree(width, counts, names, steps, at)],
      facts: [[at < last ? "bits a symbol so far" : "bits a symbol, Huffman", say(mean)], ["entropy H", `${say(bound)} bits`], ["fixed width", `${fixed} bits`]],
      words: story(name, sources[source], names, counts, steps, at, mean, bound, fixed),
    };
  };
  return mount(el, { title: `Build the Huffman tree: ${name}`, controls, draw });
}

export default { render };
