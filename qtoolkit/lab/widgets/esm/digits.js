// Digits and what a network says about them. What the network says needs torch: it comes as frames, one for each bit width.

import { argmax } from "./maths.js";
import { bytes, floats, h } from "./dom.js";
import { bars, digit, verdict } from "./figures.js";

const NAMES = [..."0123456789"];
const PIXELS = 784;
export const widthName = (bits) => (bits === 32 ? "float32" : bits === 1 ? "1 bit" : `${bits} bits`);

/** The traits as arrays: picture(i), label(i), and scores(frame, i), the ten probabilities. */
export function readDigits(model) {
  const images = bytes(model.get("images")), scores = floats(model.get("scores")), labels = model.get("labels");
  return {
    labels, bits: model.get("bits"), wrong: model.get("wrong"), total: model.get("total"),
    picture: (i) => images.slice(i * PIXELS, (i + 1) * PIXELS),
    scores: (frame, i) => [...scores.slice((frame * labels.length + i) * 10, (frame * labels.length + i + 1) * 10)],
  };
}

/** A slider over the bit widths, from the most bits to the fewest. */
export const bitsSlider = (data, label) =>
  ({ kind: "slider", key: "frame", label, min: 0, max: data.bits.length - 1, value: 0, text: (i) => widthName(data.bits[i]) });

/** "Of all 10,000 test digits it gets 180 wrong.", if the caller counted them. */
export const overall = (data, frame) => (data.total ? ` Of all ${data.total.toLocaleString("en-US")} test digits it gets ${data.wrong[frame].toLocaleString("en-US")} wrong.` : "");

/** One large digit beside the ten probabilities. */
export function oneDigit(width, data, frame, i, pixels) {
  const scores = data.scores(frame, i), answer = argmax(scores), label = data.labels[i], right = answer === label;
  const side = width < 480 ? 140 : 196, room = width < 480 ? width : width - side - 24;
  return {
    answer, right, probability: scores[answer],
    node: h("div", { class: "qt-one" }, h("div", {}, digit(pixels, `a handwritten ${label}`, side), h("p", { class: "qt-verdict" }, verdict(`read as ${answer}`, right))),
      bars(room, "Probability that the network gives to each digit", scores, NAMES, answer)),
  };
}
