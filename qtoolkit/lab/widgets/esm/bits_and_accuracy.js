// Several digits at once: which answers change as the weights lose bits.

import { argmax } from "./maths.js";
import { h, mount } from "./dom.js";
import { digit, verdict } from "./figures.js";
import { bitsSlider, overall, readDigits, widthName } from "./digits.js";

function card(data, frame, i) {
  const scores = data.scores(frame, i), answer = argmax(scores), label = data.labels[i];
  const columns = scores.map((p, k) => h("span", { class: k === answer ? "qt-marked" : "", style: `height:${Math.max(100 * p, 3)}%` }));
  return h("li", {}, digit(data.picture(i), `a handwritten ${label}`, 84), h("span", { class: "qt-columns", "aria-hidden": "true" }, columns),
    verdict(`${answer} (${Math.round(100 * scores[answer])} %)`, answer === label));
}

function sentence(data, frame) {
  const answers = data.labels.map((_, i) => argmax(data.scores(frame, i)));
  const missed = data.labels.flatMap((label, i) => (answers[i] === label ? [] : [`a ${label} as ${answers[i]}`]));
  const right = data.labels.length - missed.length;
  return `Weights in ${widthName(data.bits[frame])}: ${right} of these ${data.labels.length} digits are read correctly` +
    (missed.length ? `; the network reads ${missed.join(", ")}.` : ".") + overall(data, frame);
}

function render({ model, el }) {
  const data = readDigits(model);
  const draw = ({ frame }) => ({
    picture: [h("ul", { class: "qt-cards" }, data.labels.map((_, i) => card(data, frame, i)))],
    words: sentence(data, frame),
  });
  return mount(el, { title: model.get("title"), controls: [bitsSlider(data, "bits of a weight")], draw });
}

export default { render };
