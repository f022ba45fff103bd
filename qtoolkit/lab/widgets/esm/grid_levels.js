// The levels of every grid on the same numbers: where they lie, which cells they make, what error that leaves.

import { codebookReport } from "./codebooks.js";
import { sketchWeights } from "./maths.js";
import { floats, mount, say } from "./dom.js";
import { codebookPicture, logDots } from "./codebook_figures.js";

/** The traits as arrays: source(i) -> {values, weights, edges, counts, total}, table(source, bits, grid) -> {levels, boundaries}. */
function readGrids(model) {
  const numbers = floats(model.get("values")), packed = floats(model.get("tables")), sizes = model.get("sizes"), lengths = model.get("lengths");
  const names = model.get("grids"), widths = model.get("widths"), starts = [];
  sizes.reduce((at, size) => (starts.push(at), at + 2 * size - 1), 0);
  const source = (i) => {
    const first = lengths.slice(0, i).reduce((a, b) => a + b, 0), values = [...numbers.slice(first, first + lengths[i])];
    return { values, weights: sketchWeights(values, model.get("tail"), model.get("inners")[i]),
      edges: model.get("edges"), counts: model.get("counts")[i], total: model.get("totals")[i], unit: "number / root mean square" };
  };
  const table = (i, bits, grid) => {
    const place = (i * widths.length + widths.indexOf(bits)) * names.length + grid, at = starts[place], size = sizes[place];
    return { levels: [...packed.slice(at, at + size)], boundaries: [...packed.slice(at + size, at + 2 * size - 1)] };
  };
  return { names, widths, sources: model.get("sources"), source, table };
}

function gridWords(name, source, bits, levels, outside, report, errors, names) {
  const best = errors.indexOf(Math.min(...errors)), used = report.shares.filter((share) => share > 0).length;
  const place = outside ? ` ${outside} of them lie outside the picture.` : "";
  const verdict = names[best] === name ? "No other grid here has a smaller error." : `The smallest error here, ${say(errors[best])}, has ${names[best]}.`;
  return `${name} at ${bits} bits on ${source}: ${levels.length} levels, ${used} in use.${place} ` +
    `The busiest level holds ${say(100 * Math.max(...report.shares), 2)} % of the numbers. Relative mean squared error: ${say(report.mse)}. ${verdict}`;
}

function render({ model, el }) {
  const data = readGrids(model), read = data.sources.map((_, i) => data.source(i));
  const controls = [
    { kind: "choice", key: "grid", label: "grid", options: data.names.map((name, i) => [i, name]), value: model.get("grid") },
    { kind: "slider", key: "bits", label: "bits", min: Math.min(...data.widths), max: Math.max(...data.widths), value: model.get("bits"), text: (v) => `${v} bits` },
    { kind: "choice", key: "source", label: "numbers", options: data.sources.map((name, i) => [i, name]), value: model.get("source") },
  ];
  const draw = ({ grid, bits, source }, width) => {
    const numbers = read[source], reports = data.names.map((_, i) => {
      const { levels, boundaries } = data.table(source, bits, i);
      return codebookReport(numbers.values, numbers.weights, levels, boundaries);
    });
    const { levels, boundaries } = data.table(source, bits, grid), errors = reports.map((report) => report.mse);
    const outside = levels.filter((level) => level < numbers.edges[0] || level > numbers.edges.at(-1)).length;
    return {
      picture: [codebookPicture(width, numbers, levels, boundaries), logDots(width, "Relative mean squared error of every grid, logarithmic", data.names, errors, grid)],
      facts: [["levels", levels.length], ["relative MSE", say(errors[grid])], ["signal / noise", `${say(-10 * Math.log10(errors[grid]))} dB`],
        ["busiest level", `${say(100 * Math.max(...reports[grid].shares), 2)} %`]],
      words: gridWords(data.names[grid], data.sources[source], bits, levels, outside, reports[grid], errors, data.names),
    };
  };
  return mount(el, { title: "The levels of every grid on the same numbers", controls, draw });
}

export default { render };
