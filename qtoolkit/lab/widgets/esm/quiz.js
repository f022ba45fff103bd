// Questions with several options. Every option, right or wrong, answers with its own explanation. Nothing is counted or sent anywhere.

import { h, uniqueId } from "./dom.js";

/** Text in which `code` is set as code. */
export const withCode = (words) => words.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));

function question(asked, number, count) {
  const name = uniqueId("question");
  const answer = h("div", { class: "qt-answer", role: "status" });
  const choose = (option, label) => {
    for (const other of list.children) other.className = "";
    label.className = option.correct ? "qt-correct" : "qt-incorrect";
    answer.className = `qt-answer ${label.className}`;
    answer.replaceChildren(h("strong", {}, option.correct ? "✓ Right. " : "✗ Not this one. "), ...withCode(option.explanation));
  };
  const list = h("div", { class: "qt-options" }, asked.options.map((option) => {
    const label = h("label", {}, h("input", { type: "radio", name, onchange: () => choose(option, label) }), h("span", {}, ...withCode(option.text)));
    return label;
  }));
  return h("fieldset", { class: "qt-question" }, h("legend", {}, h("span", { class: "qt-number" }, `Question ${number} of ${count}`), h("span", {}, ...withCode(asked.question))), list, answer);
}

function render({ model, el }) {
  const questions = model.get("questions");
  el.append(h("section", { class: "qt qt-quiz", "aria-label": "Check yourself" },
    questions.map((asked, i) => question(asked, i + 1, questions.length))));
}

export default { render };
