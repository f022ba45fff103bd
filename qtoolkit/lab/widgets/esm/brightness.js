// A digit under a lamp. What the networks read comes as frames; what a quantizer passes on of the pixels is computed here.

import { mount, say } from "./dom.js";
import { oneDigit, readDigits } from "./digits.js";

const RANGES = [["static", "static"], ["dynamic", "dynamic"]];
const times = (b) => (b < 1 ? `1/${say(1 / b)}` : `${say(b)}`);

/** Pixels 0..255 at brightness b as they are after the first quantizer: a static range ends at 255, a dynamic one is shown on a scale of its own. */
export const passedOn = (pixels, b, kind) => Uint8Array.from(pixels, (p) => (kind === "dynamic" ? p : Math.min(255, Math.round(p * b))));

/** The share of the inked pixels that lie beyond the range. */
export function saturatedShare(pixels, b, kind) {
  const ink = pixels.filter((p) => p > 0);
  return kind === "dynamic" || !ink.length ? 0 : ink.filter((p) => p * b > 255).length / ink.length;
}

function render({ model, el }) {
  const data = readDigits(model), steps = model.get("steps");
  const controls = [
    { kind: "slider", key: "at", label: "brightness", min: 0, max: steps.length - 1, value: steps.findIndex((b) => b >= 1), text: (i) => `${times(steps[i])} ×` },
    { kind: "choice", key: "kind", label: "range", options: RANGES, value: "static" },
    { kind: "steps", key: "index", label: "digit", count: data.labels.length, value: 0 },
  ];
  const draw = ({ at, kind, index }, width) => {
    const b = steps[at], pixels = data.picture(index), frame = (kind === "dynamic" ? steps.length : 0) + at;
    const one = oneDigit(width, data, frame, index, passedOn(pixels, b, kind)), lost = saturatedShare(pixels, b, kind);
    const range = kind === "dynamic" ? `The dynamic range follows: it ends at ${times(b)}, and nothing saturates.`
      : `The static range ends at 1: ${lost ? `${say(100 * lost, 2)} % of the inked pixels are cut to white.` : "nothing saturates."}`;
    return {
      picture: [one.node], facts: [["brightness", `${times(b)} ×`], ["saturated", `${say(100 * lost, 2)} %`]],
      words: `Brightness ${times(b)}. ${range} The network reads this ${data.labels[index]} as ${one.answer} (${Math.round(100 * one.probability)} %): ${one.right ? "right" : "wrong"}.`,
    };
  };
  return mount(el, { title: "A digit under a lamp", controls, draw });
}

export default { render };
