// Bilinear fusion, one step at a time: four outer products and their running sum, signed square root, L2.

const PLACES = ["top left", "top right", "bottom left", "bottom right"];
const STEPS = [...PLACES, "signed square root", "L2 normalization"];
const LIMIT = 10000;
const MAPS = { identity_map: ["identity", "i"], expression_map: ["expression", "e"] };

/** The table of pairs after each step: four running sums of outer products, their signed root, that over its length. */
function fuse(identity, expression) {
  const tables = [];
  let table = identity.map(() => expression.map(() => 0));
  for (let place = 0; place < PLACES.length; place++) {
    table = table.map((row, i) => row.map((sum, j) => sum + at(identity, i, place) * at(expression, j, place)));
    tables.push(table);
  }
  const root = table.map((row) => row.map((value) => Math.sign(value) * Math.sqrt(Math.abs(value))));
  const length = Math.hypot(...root.flat());
  const unit = root.map((row) => row.map((value) => (length ? value / length : 0)));
  return { tables: [...tables, root, unit], length };
}

const called = (step) => `Step ${step} of ${STEPS.length}, ${STEPS[step - 1]}`;
const at = (map, channel, place) => map[channel][place >> 1][place & 1];
const factor = (value) => (value < 0 ? `(${show(value)})` : show(value));

function render({ model, el }) {
  const inputs = row();
  const steps = slider("Step", { min: 1, max: STEPS.length, step: 1 }, go);
  const title = make("p", { className: "eifn-title" });
  const table = make("table", { className: "eifn-steps" });
  const told = readout();
  const act = follow(model, ["identity_map", "expression_map", "step"], draw);
  const start = structuredClone([model.get("identity_map"), model.get("expression_map")]);

  let shown = null; // the numbers on the page, to tell what changed

  function go(step) {
    const to = Math.min(Math.max(step, 1), STEPS.length);
    act(called(to), { step: to });
  }

  function multiply() {
    const maps = [model.get("identity_map"), model.get("expression_map")];
    if (Math.max(...maps.flat(3).map(Math.abs)) * 10 > LIMIT) {
      told.textContent = `Nothing done: values end at ${LIMIT}.`;
      return;
    }
    // Rounded, so that 0.7 becomes 7 and not 7.000000000000001.
    const [identity_map, expression_map] = maps.map((map) =>
      map.map((rows) => rows.map((row) => row.map((value) => Number((value * 10).toPrecision(12))))),
    );
    act("Both maps × 10", { identity_map, expression_map });
  }

  function edit(input, name, channel, place) {
    const value = input.valueAsNumber;
    if (!input.validity.valid || Number.isNaN(value)) return; // not yet a number: wait for the rest
    const map = structuredClone(model.get(name));
    map[channel][place >> 1][place & 1] = value;
    act(`${input.ariaLabel} is ${show(value)}`, { [name]: map });
  }

  function finish(input, name, channel, place) {
    const kept = at(model.get(name), channel, place);
    if (input.valueAsNumber === kept) return;
    input.value = kept;
    told.textContent = `${input.ariaLabel}: a number from −${LIMIT} to ${LIMIT} is needed. ${show(kept)} is kept.`;
  }

  function number(name, channel, place) {
    const [kind, letter] = MAPS[name];
    const label = `${kind} channel ${letter}${channel}, ${PLACES[place]}`;
    const input = make("input", { type: "number", step: "any", min: -LIMIT, max: LIMIT, ariaLabel: label });
    input.oninput = () => edit(input, name, channel, place);
    input.onchange = () => finish(input, name, channel, place);
    return input;
  }

  function build() {
    const maps = Object.entries(MAPS).map(([name, [kind, letter]]) => {
      const channels = model.get(name).map((_, channel) => {
        const grid = make("span", { className: "eifn-grid" }, ...PLACES.map((_, place) => number(name, channel, place)));
        return make("span", { className: "eifn-channel" }, make("b", {}, `${letter}${channel}`), grid);
      });
      return make("fieldset", { className: `eifn-${kind}` }, make("legend", {}, `${kind} map`), ...channels);
    });
    inputs.replaceChildren(...maps);
  }

  function fill(name) {
    const fields = inputs.querySelectorAll(`.eifn-${MAPS[name][0]} input`);
    const values = model.get(name).flat(2);
    fields.forEach((field, n) => {
      if (field.valueAsNumber !== values[n]) field.value = values[n];
      field.classList.toggle("eifn-here", n % PLACES.length === model.get("step") - 1);
    });
  }

  function head(name, channel, step) {
    const [kind, letter] = MAPS[name];
    const value = step < PLACES.length ? [" = ", make("b", {}, show(at(model.get(name), channel, step)))] : [];
    const scope = kind === "identity" ? "row" : "col";
    return make("th", { scope, className: `eifn-${kind}` }, `${letter}${channel}`, ...value);
  }

  function arithmetic(i, j, step, { tables, length }) {
    const before = step > 0 ? tables[step - 1][i][j] : 0;
    if (step < PLACES.length) {
      const [a, b] = [at(model.get("identity_map"), i, step), at(model.get("expression_map"), j, step)];
      const product = `${factor(a)} × ${factor(b)}`;
      return step > 0 ? `${show(before)} + ${product} =` : `${product} =`;
    }
    if (step === PLACES.length) return `${before < 0 ? "−" : ""}√${show(Math.abs(before))} =`;
    return length ? `${show(before)} ÷ ${show(length)} =` : "";
  }

  function describe(step, { tables, length }) {
    if (step < PLACES.length) return "the outer product there is added to the sum F.";
    if (step === PLACES.length) return "y = sign(F) √|F|, entry by entry.";
    if (!length) return "y has length 0, so z stays 0.";
    const squares = tables[step - 1].flat().filter((value) => value).map((value) => `${factor(value)}²`);
    return `z = y ÷ ‖y‖, with ‖y‖ = √(${squares.join(" + ")}) = ${show(length)}.`;
  }

  function draw(cause) {
    const channels = Object.keys(MAPS).map((name) => model.get(name).length).join();
    if (inputs.dataset.channels !== channels) build(); // only then: it would take the focus from a field
    inputs.dataset.channels = channels;
    Object.keys(MAPS).forEach(fill);

    const step = model.get("step") - 1;
    const fused = fuse(model.get("identity_map"), model.get("expression_map"));
    const values = fused.tables[step];
    const top = Math.max(...values.flat().map(Math.abs)) || 1;
    steps.control.value = step + 1;
    steps.control.ariaValueText = called(step + 1);
    title.textContent = `${called(step + 1)}: ${describe(step, fused)}`;

    const corner = make("td", {}, ["F", "F", "F", "F", "y", "z"][step]);
    const columns = make("tr", {}, corner, ...values[0].map((_, j) => head("expression_map", j, step)));
    const rows = values.map((row, i) => {
      const cells = row.map((value, j) => {
        const result = make("data", { value }, show(value));
        const cell = make("td", {}, make("small", {}, arithmetic(i, j, step, fused)), " ", result);
        cell.style.setProperty("--share", Math.abs(value) / top);
        return cell;
      });
      return make("tr", {}, head("identity_map", i, step), ...cells);
    });
    table.replaceChildren(make("thead", {}, columns), make("tbody", {}, ...rows));
    tell(cause, values);
  }

  function tell(cause, values) {
    const now = values.flatMap((row, i) => row.map((value, j) => [`i${i}·e${j}`, show(value)]));
    if (shown) {
      const changes = now
        .filter(([pair, value]) => shown.get(pair) !== value)
        .map(([pair, value]) => `${pair} ${shown.has(pair) ? `${shown.get(pair)} → ` : ""}${value}`);
      const effect = changes.length ? `Changed: ${changes.join(", ")}.` : "No entry changed.";
      told.textContent = `${cause}. ${effect}`;
    } else told.textContent = "Take a step or edit a number: this line tells what changes.";
    shown = new Map(now);
  }

  const controls = row(
    button("Back", () => go(model.get("step") - 1)),
    button("Next", () => go(model.get("step") + 1)),
    steps,
    button("Both maps × 10", multiply),
    button("Reset", () => act("Reset", { identity_map: start[0], expression_map: start[1], step: 1 })),
  );
  el.append(widget("Bilinear stepper", inputs, controls, title, table, told));
  draw();
}

export default { render };
