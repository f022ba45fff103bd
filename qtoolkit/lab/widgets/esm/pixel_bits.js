// One digit with fewer bits for each pixel, and what a network that was trained on all eight bits reads in it.

import { roundPixels } from "./maths.js";
import { mount } from "./dom.js";
import { bitsSlider, oneDigit, overall, readDigits, widthName } from "./digits.js";

function render({ model, el }) {
  const data = readDigits(model);
  const controls = [
    bitsSlider(data, "bits of a pixel"),
    { kind: "steps", key: "index", label: "digit", count: data.labels.length, value: 0 },
  ];
  const draw = ({ index, frame }, width) => {
    const bits = data.bits[frame], one = oneDigit(width, data, frame, index, roundPixels(data.picture(index), bits));
    const words = `With ${widthName(bits)} a pixel has ${2 ** bits} gray levels and a picture takes ${98 * bits} bytes. ` +
      `The network reads this ${data.labels[index]} as ${one.answer} (${Math.round(100 * one.probability)} %): ${one.right ? "right" : "wrong"}.${overall(data, frame)}`;
    return { picture: [one.node], facts: [["gray levels", 2 ** bits], ["bytes", 98 * bits]], words };
  };
  return mount(el, { title: model.get("title"), controls, draw });
}

export default { render };
