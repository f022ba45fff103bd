// Walk through one vpdpbusd: 64 bytes as cells above, one lane in numbers below.

import { dotOfLane } from "./kernel_maths.js";
import { mount, s } from "./dom.js";
import { drawing, text } from "./figures.js";

const NAMES = ["spread", "multiply", "add in fours", "accumulate", "correct"];
const count = (value) => value.toLocaleString("en-US").replace("-", "−");
const signed = (value) => (value < 0 ? `− ${count(-value)}` : `+ ${count(value)}`);
const middle = { "text-anchor": "middle" };

/** A row of cells: 64 bytes, or 16 sums. A deeper color is a larger size. */
function register(label, y, width, values, most, lane, color) {
  const left = 38, cell = (width - left) / values.length, per = values.length / 16;
  return [text(0, y + 13, label),
    ...values.map((value, i) => s("rect", { class: "qt-cell", x: (left + i * cell).toFixed(1), y, width: Math.max(cell - 0.8, 1).toFixed(1), height: 17, fill: `var(--qt-${color})`, "fill-opacity": (0.08 + (0.92 * Math.min(Math.abs(value), most)) / most).toFixed(2) })),
    s("rect", { x: (left + lane * per * cell - 1).toFixed(1), y: y - 2, width: (per * cell + 1).toFixed(1), height: 21, fill: "none", stroke: "var(--qt-ink)", "stroke-width": 2 })];
}

function column(i, width, x, report, weight, step) {
  const at = ((i + 0.5) * width) / 4;
  return [text(at, 106, step ? `${report.u[i]}` : `${count(x)} + 128 = ${report.u[i]}`, middle),
    text(at, 126, `× ${count(weight)}`, middle),
    ...(step > 0 ? [text(at, 146, `= ${count(report.products[i])}`, { ...middle, class: step === 1 ? "qt-strong" : "" })] : [])];
}

/** Pairs as a machine without VNNI adds them, cut off at 16 bits. */
function pair(i, width, report) {
  const at = ((i + 0.5) * width) / 2, lost = report.kept[i] !== report.pairs[i];
  return [s("path", { d: `M${at - width / 7},152 v6 H${at + width / 7} v-6`, fill: "none", stroke: "var(--qt-line)" }),
    text(at, 173, `pair: ${count(report.pairs[i])}`, middle),
    lost ? text(at, 190, `in 16 bits: ${count(report.kept[i])}`, { ...middle, class: "qt-strong", fill: "var(--qt-orange)" }) : text(at, 190, "fits 16 bits", middle)];
}

function results(report, sum, step, width) {
  const lines = [];
  if (step >= 2) lines.push(`vpdpbusd: four products are ${count(report.four)}`);
  if (step >= 3) lines.push(`sum: ${count(sum)} ${signed(report.four)} = ${count(report.sum)}`, `by saturating pairs: ${count(report.bySteps)}`);
  if (step >= 4) lines.push(`without offset: ${count(report.four)} ${signed(-report.correction)} = ${count(report.exact)}`);
  return lines.map((line, i) => text(width / 2, 216 + 20 * i, line, { ...middle, class: i === lines.length - 1 ? "qt-strong" : "" }));
}

const STORIES = [
  (r, i) => `Four inputs, each raised by 128 to make it unsigned, are copied into all 16 lanes: 64 bytes. Lane ${i + 1} holds its own four weights, signed.`,
  (r) => `Each unsigned byte is multiplied by the signed byte below it: ${r.products.map(count).join(", ")}. The other 15 lanes do the same at this moment.`,
  (r) => `The four products are added at full width: ${count(r.four)}.`,
  (r) => `The four are added to the lane's 32-bit sum, which is now ${count(r.sum)}.`,
  (r) => `128 times the sum of the four weights, ${count(r.correction)}, is what the offset brought in. Without it this step adds ${count(r.exact)}, the product of the signed inputs. The kernel subtracts it once, at the end.`,
];

function outcome(report, step) {
  if (step < 2) return "";
  const lost = report.pairs.filter((value, i) => value !== report.kept[i]).length;
  if (!lost) return " Both pairs fit 16 bits, so the saturating instruction of older machines agrees.";
  return ` ${lost === 1 ? "One pair does" : "Both pairs do"} not fit 16 bits: the saturating instruction of older machines is off by ${count(Math.abs(report.sum - report.bySteps))}.`;
}

function render({ model, el }) {
  const given = model.get("inputs"), weight = model.get("weight"), sums = model.get("sums");
  const controls = [
    { kind: "slider", key: "step", label: "step", min: 0, max: 4, value: 0, text: (v) => `${v + 1} of 5: ${NAMES[v]}` },
    { kind: "slider", key: "lane", label: "lane", min: 0, max: 15, value: model.get("lane"), text: (v) => `${v + 1} of 16` },
    { kind: "slider", key: "x", label: "first input", min: -128, max: 127, value: given[0], text: (v) => count(v) },
  ];
  const draw = ({ step, lane, x }, width) => {
    const inputs = [x, ...given.slice(1)], all = weight.map((four, i) => dotOfLane(inputs, four, sums[i])), report = all[lane];
    const now = all.map((each, i) => (step < 3 ? sums[i] : each.sum)), most = Math.max(1, ...all.map((each) => Math.abs(each.sum)), ...sums.map(Math.abs));
    const picture = drawing(width, 290, `Registers of 64 bytes, lane ${lane + 1} in detail`,
      register("u8", 4, width, all.flatMap((each) => each.u), 255, lane, "blue"),
      register("s8", 30, width, weight.flat(), 127, lane, "orange"),
      register("sums", 56, width, now, most, lane, "green"),
      inputs.flatMap((value, i) => column(i, width, value, report, weight[lane][i], step)),
      step >= 2 ? [0, 1].flatMap((i) => pair(i, width, report)) : [], results(report, sums[lane], step, width));
    return { picture: [picture], words: `Step ${step + 1}, lane ${lane + 1}. ${STORIES[step](report, lane)}${outcome(report, step)}` };
  };
  return mount(el, { title: "Walk through one vpdpbusd", controls, draw });
}

export default { render };
