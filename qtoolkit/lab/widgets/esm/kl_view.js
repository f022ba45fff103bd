// What the entropy calibration compares: the histogram cut off at a threshold, and the same seen through few codes.

import { klDivergence, klPair, klSearch } from "./ranges_maths.js";
import { floats, mount, s, say } from "./dom.js";
import { axisBelow, drawing, linear, niceTicks, text } from "./figures.js";

const STRIDE = 16, BARS = 320;
const ZEROS = [["counted", "counted"], ["neighbor", "as many as the next bin"]];

/** The largest count of each run of bins that falls on one pixel or so. */
const thinned = (counts, bars) => {
  const width = Math.max(1, Math.ceil(counts.length / bars));
  return Array.from({ length: Math.ceil(counts.length / width) }, (_, i) => [i * width, Math.max(...counts.slice(i * width, (i + 1) * width))]);
};

function distributions(width, data, counts, kept, levels) {
  const { p, q } = klPair(counts, kept, levels), total = p.reduce((a, b) => a + b, 0), inside = q.reduce((a, b) => a + b, 0);
  const high = Math.max(...p) / total, low = 1 / data.total / 3, base = 126;
  const x = linear(0, data.top, 8, width - 8), y = linear(Math.log10(low), Math.log10(high), base, 22), bin = data.top / counts.length;
  const line = (values, sum) => thinned(values, BARS).map(([i, v]) => `${x(i * bin).toFixed(1)},${(v > 0 ? y(Math.log10(v / sum)) : base).toFixed(1)}`).join(" ");
  const all = thinned(counts, BARS).map(([i, v]) => `${x(i * bin).toFixed(1)},${(v > 0 ? Math.min(y(Math.log10(v / total)), base) : base).toFixed(1)}`).join(" ");
  const cut = x(kept * bin), tall = (count) => (count > 0 ? y(Math.log10(count / total)) : base);
  const needle = (at, count) => s("line", { class: "qt-folded", x1: at, x2: at, y1: base, y2: tall(count) });
  return drawing(width, 172, `Histogram of the magnitudes of ${data.name} with P and Q`,
    s("polygon", { class: "qt-ghost", points: `${x(0)},${base} ${all} ${x(data.top)},${base}` }),
    s("polygon", { class: "qt-p", points: `${x(0)},${base} ${line(p, total)} ${cut},${base}` }), needle(cut, p[kept - 1]), needle(x(0) + 2, p[0]),
    s("polyline", { class: "qt-line qt-second", points: line(q, inside) }), s("line", { class: "qt-clip", x1: cut, x2: cut, y1: 22, y2: base }),
    s("rect", { class: "qt-p", x: 8, y: 4, width: 14, height: 10 }), text(27, 13, "P"), s("line", { class: "qt-line qt-second", x1: 52, x2: 72, y1: 9, y2: 9 }), text(77, 13, "Q"),
    text(104, 13, "(share of a bin, logarithmic)"), axisBelow(x, niceTicks(0, data.top, width / 80), base, [8, width - 8], `magnitude of ${data.name}`));
}

function divergences(width, data, search, kept, now) {
  const finite = search.points.filter(([, v]) => Number.isFinite(v) && v > 0), bins = data.bins, base = 100;
  const logs = finite.map(([, v]) => Math.log10(v)), x = linear(0, data.top, 8, width - 8), y = linear(Math.min(...logs), Math.max(...logs), base, 24);
  const place = ([k, v]) => [x((k * data.top) / bins), y(Math.log10(v))];
  const dot = (point, kind, r) => (Number.isFinite(point[1]) && point[1] > 0 ? [s("circle", { class: kind, cx: place(point)[0], cy: place(point)[1], r })] : []);
  return drawing(width, 146, "KL divergence against the threshold",
    text(8, 14, `KL(P || Q), logarithmic, from ${say(10 ** Math.min(...logs))} to ${say(10 ** Math.max(...logs))} nats`, { class: "qt-label" }),
    s("polyline", { class: "qt-line qt-first", points: finite.map((point) => place(point).map((v) => v.toFixed(1)).join(",")).join(" ") }),
    dot(search.best, "qt-pick", 6), dot([kept, now], "qt-grip", 5), axisBelow(x, niceTicks(0, data.top, width / 80), base, [8, width - 8], "threshold T"));
}

function render({ model, el }) {
  const raw = [...floats(model.get("counts"))], bins = raw.length, least = model.get("least"), top = model.get("top");
  const data = { name: model.get("name"), bins, top, total: raw.reduce((a, b) => a + b, 0) };
  const neighbor = [raw[1], ...raw.slice(1)], known = {}, T = (kept) => (kept * top) / bins;
  const search = (levels, zeros) => (known[levels + zeros] ??= klSearch(zeros === "counted" ? raw : neighbor, levels, least, STRIDE / 4));
  const controls = [
    { kind: "slider", key: "cut", label: "threshold", min: least / STRIDE, max: bins / STRIDE, value: bins / STRIDE, text: (v) => `${v * STRIDE} bins, T = ${say(T(v * STRIDE))}` },
    { kind: "slider", key: "power", label: "codes for the magnitude", min: 2, max: 8, value: model.get("power"), text: (v) => String(2 ** v) },
    { kind: "choice", key: "zeros", label: "the bin at zero", options: ZEROS, value: model.get("zeros") },
  ];
  const draw = ({ cut, power, zeros }, width) => {
    const levels = 2 ** power, kept = Math.max(cut * STRIDE, levels), counts = zeros === "counted" ? raw : neighbor;
    const found = search(levels, zeros), now = klDivergence(counts, kept, levels), beyond = counts.slice(kept).reduce((a, b) => a + b, 0) / counts.reduce((a, b) => a + b, 0);
    const size = (v) => (Number.isFinite(v) ? say(v) : "infinite");
    return {
      picture: [distributions(width, data, counts, kept, levels), divergences(width, data, found, kept, now)],
      facts: [["KL here", size(now)], ["least KL", size(found.best[1])], ["least at T", say(T(found.best[0]))], ["folded into the last bin", `${say(100 * beyond, 2)} %`]],
      words: `T = ${say(T(kept))}: ${kept} of ${bins} bins are kept and share ${levels} codes, ${say(kept / levels)} bins each. ${say(100 * beyond, 2)} % of the counts lie beyond and are folded into the last bin of P; Q does not get them. ` +
        `KL(P || Q) = ${size(now)} nats${now <= found.best[1] * 1.0001 ? ", the least of all thresholds" : `; the least, ${size(found.best[1])}, is at T = ${say(T(found.best[0]))}`}. ` +
        (zeros === "counted" ? "The zeros are counted like every other value." : "The first bin counts only as much as the second, because a zero is exact at every T."),
    };
  };
  return mount(el, { title: `What KL sees in ${data.name}`, controls, draw });
}

export default { render };
