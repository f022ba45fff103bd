// Sum the gradients: the places of a layer that carry one shared value, the gradient of each, and the slope that the loss really has.

import { floats, bytes, mount, s, say } from "./dom.js";
import { axisBelow, curve, drawing, linear, niceTicks, text } from "./figures.js";

const CELL = 9, SHADES = 5, RATES = [0.1, 0.2, 0.5, 1, 2], whole = (number) => number.toLocaleString("en-US");
const signed = (x, digits = 3) => `${x < 0 ? "−" : ""}${say(Math.abs(x), digits)}`;

/** Members, their gradients' sum and mean, and how many pull the value up: equation 3 for code `code`. */
export function gathered(codes, gradients, code) {
  const of = [...gradients].filter((_, i) => codes[i] === code), sum = of.reduce((a, b) => a + b, 0);
  return { members: of.length, sum, mean: of.length ? sum / of.length : 0, up: of.filter((g) => g < 0).length };
}

/** The loss at `offset` from the value, on a line between the two nearest of the measured losses at -reach..reach. */
export function lossAt(losses, reach, offset) {
  const at = Math.min(Math.max(((offset + reach) / (2 * reach)) * (losses.length - 1), 0), losses.length - 1), i = Math.min(Math.floor(at), losses.length - 2);
  return losses[i] + (at - i) * (losses[i + 1] - losses[i]);
}

/** All cells of one look are one path. look(i) gives [fill, opacity]. */
function cells(width, [rows, columns], label, look) {
  const wide = width / columns, groups = new Map();
  for (let i = 0; i < rows * columns; i++) {
    const key = JSON.stringify(look(i)), x = (i % columns) * wide, y = Math.floor(i / columns) * CELL;
    groups.set(key, `${groups.get(key) ?? ""}M${x.toFixed(1)} ${y}h${(wide - 0.6).toFixed(1)}v${CELL - 1}h${(0.6 - wide).toFixed(1)}z`);
  }
  return drawing(width, rows * CELL + 24, label, text(0, 14, label),
    s("g", { transform: "translate(0 22)" }, [...groups].map(([key, d]) => s("path", { d, fill: JSON.parse(key)[0], opacity: JSON.parse(key)[1] }))));
}

const codeMap = (width, shape, codes, code, count) => cells(width, shape, `shared value of each weight, ${shape[0]} outputs × ${shape[1]} inputs`,
  (i) => (codes[i] === code ? ["var(--qt-blue)", 1] : ["var(--qt-ink)", (0.06 + (0.2 * codes[i]) / count).toFixed(2)]));

function gradientMap(width, shape, codes, gradients, code) {
  const most = Math.max(...gradients.map(Math.abs)), shade = (g) => Math.ceil(SHADES * Math.sqrt(Math.abs(g) / most)) / SHADES;
  return cells(width, shape, "gradient of each: orange above 0, blue below",
    (i) => (codes[i] !== code ? ["var(--qt-ink)", 0.06] : [gradients[i] > 0 ? "var(--qt-orange)" : "var(--qt-blue)", Math.max(shade(gradients[i]), 0.3).toFixed(1)]));
}

function lossPicture(width, value, losses, reach, slope, to, how) {
  const base = 176, left = 46, now = lossAt(losses, reach, 0), low = Math.min(...losses), high = low + 1.15 * Math.min(Math.max(...losses) - low, 8 * (now - low) + 0.3 * now);
  const x = linear(value - reach, value + reach, left, width - 14), y = linear(low - 0.1 * (high - low), high, base, 24), top = Math.min(y(now), base);
  const points = losses.map((loss, i) => [value - reach + (2 * reach * i) / (losses.length - 1), loss]).filter(([, loss]) => loss <= high);
  const room = Math.min(reach, Math.abs((slope > 0 ? now - low + 0.1 * (high - low) : high - now) / (slope || 1e-9))), back = Math.min(reach, Math.abs((slope > 0 ? high - now : now - low + 0.1 * (high - low)) / (slope || 1e-9)));
  const tangent = [[value - room, now - slope * room], [value + back, now + slope * back]];
  return drawing(width, base + 44, "the loss against the shared value", text(4, 12, `loss; dashed, its slope: the ${how} of the gradients`),
    s("g", { class: "qt-axis" }, niceTicks(low, high, 4).flatMap((tick) => [s("line", { x1: left - 4, x2: left, y1: y(tick), y2: y(tick) }), text(left - 7, y(tick) + 4, say(tick), { "text-anchor": "end" })]), s("line", { x1: left, x2: left, y1: 24, y2: base })),
    s("polyline", { points: tangent.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "), fill: "none", stroke: "var(--qt-orange)", "stroke-width": 2, "stroke-dasharray": "6 4" }),
    curve(points, x, y, [to, lossAt(losses, reach, to - value)]), s("circle", { cx: x(value), cy: top, r: 4.5, fill: "none", stroke: "var(--qt-ink)", "stroke-width": 2 }),
    axisBelow(x, niceTicks(value - reach, value + reach, Math.max(4, width / 110)), base, [left, width - 14], "the shared value; ring: now, dot: after the step"));
}

function story(total, value, { members, sum, mean, up }, how, rate, to, before, after, data) {
  const slope = how === "sum" ? sum : mean, change = after - before, touching = how === "sum" ? "With this slope the dashed line touches the curve" : "With this slope the dashed line is too flat: the curve is steeper";
  return `The value ${signed(value)} stands in ${whole(members)} of ${whole(total)} places: ${whole(up)} of them ask for more, ${whole(members - up)} for less. The gradients add up to ${signed(sum)}; their mean is ${signed(mean)}. ${touching}. `
    + `A step of −${rate} × ${signed(slope)} takes the value from ${signed(value, 4)} to ${signed(to, 4)}, and the loss of ${data} from ${before.toFixed(4)} to ${after.toFixed(4)}${before.toFixed(4) === after.toFixed(4) ? ", no change that four digits show" : change > 0 ? ", up: the step was too long" : ""}.`;
}

function render({ model, el }) {
  const codes = bytes(model.get("codes")), gradients = floats(model.get("gradients")), shape = model.get("shape"), values = model.get("values"), reach = model.get("reach");
  const controls = [
    { kind: "choice", key: "code", label: "shared value", options: values.map((value, i) => [i + 1, signed(value, 2)]), value: 1 },
    { kind: "choice", key: "how", label: "its gradient is the", options: [["sum", "sum"], ["mean", "mean"]], value: "sum" },
    { kind: "slider", key: "rate", label: "learning rate", min: 0, max: RATES.length - 1, value: 2, text: (i) => String(RATES[i]) },
  ];
  const draw = ({ code, how, rate }, width) => {
    const found = gathered(codes, gradients, code), value = values[code - 1], losses = model.get("losses")[code - 1], slope = found[how];
    const to = value - Math.min(Math.max(RATES[rate] * slope, -reach), reach), before = lossAt(losses, reach, 0), after = lossAt(losses, reach, to - value);
    return {
      picture: [codeMap(width, shape, codes, code, values.length), gradientMap(width, shape, codes, gradients, code), lossPicture(width, value, losses, reach, slope, to, how)],
      facts: [["members", whole(found.members)], ["sum", signed(found.sum)], ["mean", signed(found.mean)], ["value after the step", signed(to, 4)]],
      words: story(codes.length, value, found, how, RATES[rate], to, before, after, model.get("data")),
    };
  };
  return mount(el, { title: "Sum the gradients", controls, draw });
}

export default { render };
