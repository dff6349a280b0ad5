// Two confusion matrices, their difference, and the faces behind a cell.

const round = (value, digits = 2) => String(Number(value.toFixed(digits))).replace("-", "−");
const sum = (values) => values.reduce((a, b) => a + b, 0);

function render({ model, el }) {
  const { matrices, codes, pixels, side, shown } = model.get("data");
  const faces = decode(pixels);
  const titles = matrices.map(({ title }) => [title, title]);
  const matrixOf = (name) => matrices.find(({ title }) => title === model.get(name));

  /** What a matrix says of a cell: count, row sum, percent of the row. Null where it lacks one of the two. */
  function read(matrix, truth, answer) {
    const [i, j] = [truth, answer].map((name) => matrix.expressions.indexOf(name));
    if (i < 0 || j < 0) return null;
    const [count, total] = [matrix.counts[i][j], sum(matrix.counts[i])];
    return { count, total, percent: matrix.printed?.[i][j] ?? (total ? (100 * count) / total : 0) };
  }

  function correct({ counts, unit }) {
    const [right, all] = [sum(counts.map((row, i) => row[i])), sum(counts.flat())];
    return `${right} of ${all} ${unit} right, ${round((100 * right) / all)}\u00a0%`;
  }

  function describe(matrix) {
    const cell = read(matrix, ...model.get("cell"));
    if (!cell) return `${matrix.title} does not have both`;
    return `${matrix.title}: ${cell.count} of ${cell.total} ${matrix.unit}, ${round(cell.percent)}\u00a0%`;
  }

  const measures = { percent: "percent of the truth", count: "count" };
  const [left, right] = ["left", "right"].map((name) =>
    choice(name === "left" ? "Left" : "Right", titles, (title) => act(`${name} is ${title}`, { [name]: title })),
  );
  const measure = radios("Show", Object.entries(measures), (value) => act(`Shown as ${measures[value]}`, { measure: value }));
  const difference = checkbox("difference, left less right", (on) =>
    act(on ? "Left less right" : "Side by side", { difference: on }),
  );
  const axes = make("p", {}, make("small", {}, "Rows are the truth, columns the answer."));
  const tables = make("div", { className: "eifn-matrices" });
  const title = make("p", { className: "eifn-title" });
  const cells = make("div", { className: "eifn-matrices" });
  const told = readout();

  /** A matrix as a grid: one cell can have the focus, the arrow keys go from cell to cell. */
  function grid(caption, expressions, value, top, signed = false) {
    const [truth, answer] = model.get("cell");
    const at = { truth: Math.max(expressions.indexOf(truth), 0), answer: Math.max(expressions.indexOf(answer), 0) };
    const head = (name, scope) => make("th", { scope, title: name }, codes[name] ?? name);
    const rows = expressions.map((row, i) => {
      const entries = expressions.map((column, j) => {
        const number = value(row, column);
        const selected = row === truth && column === answer;
        const cell = make("td", { role: "gridcell", tabIndex: i === at.truth && j === at.answer ? 0 : -1 });
        cell.append(make("data", { value: number }, (signed && number > 0 ? "+" : "") + round(number, signed ? 1 : 2)));
        cell.ariaSelected = String(selected);
        cell.ariaLabel = `${row} answered as ${column}: ${round(number)}`;
        cell.classList.toggle("eifn-zero", number === 0);
        cell.classList.toggle("eifn-right", i === j);
        cell.classList.toggle("eifn-less", number < 0);
        // The root lets rare mistakes be seen; the numbers say how rare.
        cell.style.setProperty("--share", Math.sqrt(Math.abs(number) / top) || 0);
        cell.onclick = () => select(row, column);
        return cell;
      });
      return make("tr", { role: "row" }, head(row, "row"), ...entries);
    });
    const table = make("table", { role: "grid", ariaLabel: caption });
    const heads = expressions.map((name) => head(name, "col"));
    table.append(make("tr", { role: "row" }, make("td", { role: "gridcell", className: "eifn-corner" }), ...heads), ...rows);
    table.onkeydown = (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const inside = (n) => Math.min(Math.max(n, 0), expressions.length - 1);
      select(expressions[inside(at.truth + step[0])], expressions[inside(at.answer + step[1])]);
    };
    return table;
  }

  function select(truth, answer) {
    act(truth === answer ? `${truth}, told right` : `${truth} answered as ${answer}`, { cell: [truth, answer] });
  }

  function panel(matrix) {
    const name = model.get("measure");
    const value = (truth, answer) => read(matrix, truth, answer)[name];
    const top = name === "percent" ? 100 : Math.max(...matrix.counts.flat());
    const caption = make("figcaption", {}, make("b", {}, matrix.title), make("br"), correct(matrix));
    return make("figure", {}, caption, grid(matrix.title, matrix.expressions, value, top));
  }

  function differencePanel(one, other) {
    const name = model.get("measure");
    const common = one.expressions.filter((expression) => other.expressions.includes(expression));
    const value = (truth, answer) => read(one, truth, answer)[name] - read(other, truth, answer)[name];
    const all = common.flatMap((truth) => common.map((answer) => Math.abs(value(truth, answer))));
    const missing = [...one.expressions, ...other.expressions].filter((expression) => !common.includes(expression));
    const note = missing.length ? ` Left out, since one of them lacks it: ${missing.join(", ")}.` : "";
    const unit = name === "percent" ? "percentage points" : "counts";
    const text = `${one.title} less ${other.title}`;
    const caption = make("figcaption", {}, make("b", {}, text), make("br"), `in ${unit}.${note}`);
    return make("figure", {}, caption, grid(text, common, value, Math.max(...all), true));
  }

  function thumbnail(index, label) {
    const canvas = make("canvas", { width: side, height: side, role: "img", ariaLabel: label });
    const image = new ImageData(side, side);
    const greys = faces.subarray(index * side * side, (index + 1) * side * side);
    greys.forEach((grey, n) => image.data.set([grey, grey, grey, 255], 4 * n));
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function behind(matrix) {
    const [truth, answer] = model.get("cell");
    const entries = (matrix.cells[`${truth} ${answer}`] ?? []).map(([index, who, ...probabilities]) => {
      const ranked = probabilities.map((p, k) => [p, matrix.expressions[k]]).sort((a, b) => b[0] - a[0]);
      const bars = ranked.slice(0, 3).map(([p, name]) => {
        const bar = make("span", { className: "eifn-bar" }, name, " ", make("data", { value: p }, p.toFixed(2)));
        bar.style.setProperty("--share", p);
        return bar;
      });
      return make("li", {}, thumbnail(index, `The ${shown} of ${who}`), make("span", {}, make("small", {}, who), ...bars));
    });
    const cell = read(matrix, truth, answer);
    const some = entries.length && cell.count > entries.length ? ` The ${entries.length} surest answers of ${cell.count}:` : "";
    const note = make("small", {}, cell && !cell.count ? "No such answer." : matrix.faces);
    return make("div", {}, make("p", {}, `${describe(matrix)}.${some}`), make("ul", {}, ...entries), note);
  }

  function draw(cause) {
    const [one, other] = ["left", "right"].map(matrixOf);
    left.control.value = one.title;
    right.control.value = other.title;
    check(measure, model.get("measure"));
    difference.control.checked = model.get("difference");

    const [truth, answer] = model.get("cell");
    const focus = [...tables.querySelectorAll("table")].findIndex((table) => table.contains(document.activeElement));
    const panels = model.get("difference") ? [differencePanel(one, other)] : [one, other].map(panel);
    tables.replaceChildren(...panels);
    if (focus >= 0) tables.querySelectorAll("table")[focus]?.querySelector("[tabindex='0']").focus();
    title.textContent = truth === answer ? `${truth}, told right` : `${truth} answered as ${answer}`;
    cells.replaceChildren(...(one === other ? [one] : [one, other]).map(behind));
    const about = cause === title.textContent ? describe : (matrix) => `${matrix.title}: ${correct(matrix)}`;
    told.textContent = cause
      ? `${cause}. ${[one, other].map(about).join("; ")}.`
      : "Choose a cell, with the mouse or the arrow keys.";
  }

  const act = follow(model, ["left", "right", "measure", "difference", "cell"], draw);
  const root = widget("Confusion explorer", row(left, right), row(measure, difference), axes, tables, title, cells, told);
  root.classList.add("eifn-confusion");
  el.append(root);
  draw();
}

export default { render };
