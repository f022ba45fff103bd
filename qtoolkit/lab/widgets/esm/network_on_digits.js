// Step through digits: the picture, the ten probabilities, right or wrong, at every bit width of the weights.

import { mount } from "./dom.js";
import { bitsSlider, oneDigit, overall, readDigits, widthName } from "./digits.js";

function render({ model, el }) {
  const data = readDigits(model);
  const controls = [{ kind: "steps", key: "index", label: "digit", count: data.labels.length, value: 0 }];
  if (data.bits.length > 1) controls.push(bitsSlider(data, "bits of a weight"));
  const draw = ({ index, frame = 0 }, width) => {
    const one = oneDigit(width, data, frame, index, data.picture(index));
    const words = `Weights in ${widthName(data.bits[frame])}. The network reads this ${data.labels[index]} as ${one.answer} ` +
      `(${Math.round(100 * one.probability)} %): ${one.right ? "right" : "wrong"}.${overall(data, frame)}`;
    return { picture: [one.node], words };
  };
  return mount(el, { title: model.get("title"), controls, draw });
}

export default { render };
