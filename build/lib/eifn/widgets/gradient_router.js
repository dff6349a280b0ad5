// Gradients of the three losses on their way back into the modules of EIFN, scaled by λ, with wires to cut.

const LOSSES = ["identity", "center", "expression"];
const KINDS = ["identity", "centers", "expression"]; // the colour of each
const SIGNS = ["λ2\u00a0× identity", "λ2λ1\u00a0× center", "λ3\u00a0× expression"];
const VARIANTS = { efn: "EFN", "eifn-star": "EIFN*", eifn: "EIFN" };
const SEVERED = {
  efn: { "identity loss > identity classifier": "λ2 = 0", "center loss > identity layers": "λ2 = 0" },
  "eifn-star": { "fusion > identity extractor": "cut by EIFN*" },
  eifn: {},
};

// Where things stand in the picture: x, y, width, height. Losses are at the top, and gradients flow down.
const BOXES = {
  "identity loss": [6, 6, 84, 42],
  "center loss": [106, 6, 84, 42],
  "expression loss": [224, 6, 132, 42],
  "identity classifier": [6, 100, 84, 50],
  "expression classifier": [224, 100, 132, 50],
  "identity layers": [6, 202, 184, 50],
  fusion: [224, 202, 132, 50],
  "identity extractor": [6, 330, 184, 50],
  "expression extractor": [224, 330, 132, 50],
};
// Each wire: the losses on it, and for each the line from x, y to x, y and the place of its number.
const LINES = {
  "identity loss > identity classifier": [[0, 48, 48, 48, 98, 60, 78]],
  "identity classifier > identity layers": [[0, 48, 150, 48, 200, 60, 180]],
  "center loss > identity layers": [[1, 148, 48, 148, 200, 160, 130]],
  "identity layers > identity extractor": [[0, 48, 252, 48, 328, 60, 308], [1, 112, 252, 112, 328, 124, 308]],
  "expression loss > expression classifier": [[2, 290, 48, 290, 98, 300, 78]],
  "expression classifier > fusion": [[2, 290, 150, 290, 200, 0, 0]],
  "fusion > identity extractor": [[2, 246, 252, 172, 328, 172, 284]],
  "fusion > expression extractor": [[2, 290, 252, 290, 328, 300, 308]],
};
/** The wires that lead on from a wire, away from the losses. */
const onward = (wire) => Object.keys(LINES).filter((next) => next.startsWith(`${wire.split(" > ")[1]} > `));
const arrow = (wire) => wire.replace(">", "→");

/** A cross on a line that comes from the left and ends in the origin, so far before its end. */
const cross = (back) => `M${-back - 6}-6L${6 - back} 6M${-back - 6} 6L${6 - back}-6`;

/** Which of the losses arrive at the end of each wire. */
function arrivals(severed) {
  const reached = {};
  const visit = (wire, losses) => {
    reached[wire] = severed.has(wire) ? [] : LINES[wire].map(([loss]) => loss).filter((loss) => losses.includes(loss));
    for (const next of onward(wire)) visit(next, reached[wire].concat(reached[next] ?? []));
  };
  LOSSES.forEach((loss, n) => onward(` > ${loss} loss`).forEach((wire) => visit(wire, [n])));
  return reached;
}

// λ1 on a slider: 0, then ten places for each factor of ten, from 0.0001 to 10.
const toWeight = (place) => (place ? Number((10 ** (place / 10 - 4.1)).toPrecision(2)) : 0);
const toPlace = (weight) => (weight < 1e-4 ? 0 : Math.round(10 * Math.log10(weight)) + 41);
const brief = (value) => show(value, 3);

function render({ model, el }) {
  const { products, modules, wires, weights: paper } = model.get("data");
  const names = modules.map((module) => module.replace("_", " "));

  /** For each module: the weighted norm of each loss that arrives, that of their sum, and how they agree. */
  function gradients() {
    const variant = model.get("variant");
    const [center, identity, expression] = ["center", "identity", "expression"].map((name) => model.get(`${name}_weight`));
    const share = variant === "efn" ? 0 : identity;
    const weights = [share, share * center, expression];
    const severed = new Set([...Object.keys(SEVERED[variant]), ...model.get("cuts")]);
    const reached = arrivals(severed);
    const into = names.map((name, m) => {
      const arriving = wires.filter((wire) => wire.endsWith(`> ${name}`)).flatMap((wire) => reached[wire]);
      const factors = weights.map((weight, loss) => (arriving.includes(loss) ? weight : 0));
      const gram = products[variant][m];
      const product = (a, b) => a.reduce((sum, x, i) => sum + b.reduce((part, y, j) => part + x * y * gram[i][j], 0), 0);
      const length = (vector) => Math.sqrt(Math.max(product(vector, vector), 0));
      const alone = factors.map((factor, loss) => length(factors.map((_, n) => (n === loss ? factor : 0))));
      const branches = [[factors[0], factors[1], 0], [0, 0, factors[2]]];
      const cosine = product(...branches) / (length(branches[0]) * length(branches[1]));
      return { name, alone, total: length(factors), cosine };
    });
    return { into, reached, severed, variant };
  }

  // The picture.
  const picture = svg("svg", { viewBox: "0 0 360 386", role: "img" });
  const strands = {};
  for (const wire of wires) {
    strands[wire] = LINES[wire].map(([loss, x1, y1, x2, y2, x, y]) => {
      const line = svg("line", { x1, y1, x2, y2, class: `eifn-${KINDS[loss]}` });
      const head = svg("path", { class: `eifn-${KINDS[loss]}` });
      const number = svg("text", { x, y, class: `eifn-${KINDS[loss]}` });
      const hit = svg("line", { x1, y1, x2, y2, class: "eifn-hit" });
      hit.onclick = () => toggle(wire);
      picture.append(line, head, number, hit);
      return { loss, line, head, number, ends: [x1, y1, x2, y2] };
    });
  }
  const boxes = Object.fromEntries(
    Object.entries(BOXES).map(([name, [x, y, width, height]]) => {
      const kind = name === "fusion" ? "fusion" : name === "center loss" ? "centers" : name.split(" ")[0];
      const isModule = names.includes(name);
      const middle = { x: x + width / 2, class: `eifn-${kind}` };
      const words = name.split(" ");
      const lines = width < 100 ? words : [name];
      const total = svg("text", { ...middle, y: y + height - 7, class: "eifn-total" });
      const place = isModule ? 22 - 5 * lines.length : height / 2 + 11 - 7 * lines.length; // of the first line
      const box = svg("g", {}, svg("rect", { x, y, width, height, rx: 5, class: `eifn-${kind}` }));
      box.append(...lines.map((line, n) => svg("text", { ...middle, y: y + place + n * 13 }, line)), total);
      picture.append(box);
      return [name, { box, total }];
    }),
  );

  function paint({ into, reached, severed, variant }) {
    const of = Object.fromEntries(into.map((one) => [one.name, one]));
    for (const wire of wires) {
      const end = wire.split(" > ")[1];
      for (const { loss, line, head, number, ends } of strands[wire]) {
        // The fusion has no parameters; its wire is as strong as the stronger of the two that go on.
        const norm = of[end] ? of[end].alone[loss] : Math.max(...into.slice(0, 2).map(({ alone }) => alone[loss]));
        const shown = reached[wire].includes(loss) && norm > 0;
        const width = shown ? Math.min(Math.max(4.5 + 1.5 * Math.log10(norm), 1.2), 9) : 1;
        line.setAttribute("stroke-width", width);
        line.classList.toggle("eifn-dead", !shown);
        line.classList.toggle("eifn-cut", severed.has(wire));
        const [x1, y1, x2, y2] = ends;
        const angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
        head.setAttribute("transform", `translate(${x2} ${y2}) rotate(${angle})`);
        const half = 3 + width / 2;
        head.setAttribute("d", severed.has(wire) ? cross(Math.hypot(x2 - x1, y2 - y1) / 2) : shown ? `M1 0L-9 ${half}V${-half}Z` : "");
        head.classList.toggle("eifn-cut", severed.has(wire));
        number.textContent = of[end] ? (shown ? brief(norm) : "0") : "";
      }
    }
    for (const { name, alone, total } of into) {
      const label = BOXES[name][2] < 100 ? "" : "together "; // where there is room for it
      boxes[name].total.textContent = total ? label + brief(total) : "no gradient";
      boxes[name].box.classList.toggle("eifn-dead", !total);
    }
    picture.ariaLabel = `${VARIANTS[variant]}: three losses, five modules and the fusion; the numbers are in the table`;
  }

  // The numbers.
  const table = make("table");
  const agreement = make("p");

  function count({ into }) {
    const heads = ["into", ...SIGNS, "together"].map((title, n) =>
      make("th", { scope: "col", className: n && n < 4 ? `eifn-${KINDS[n - 1]}` : "" }, title),
    );
    const rows = into.map(({ name, alone, total }) => {
      const cells = [...alone, total].map((value) => make("td", {}, make("data", { value }, value ? brief(value) : "0")));
      return make("tr", {}, make("th", { scope: "row", className: `eifn-${name.split(" ")[0]}` }, name), ...cells);
    });
    table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    const { cosine } = into[0];
    agreement.replaceChildren(
      ...(Number.isFinite(cosine)
        ? [
            "In the identity extractor the identity and the expression gradient meet at a cosine of ",
            make("data", { value: cosine }, brief(cosine)),
            ": 1 is the same way, 0 at right angles, −1 against each other.",
          ]
        : ["The identity and the expression gradient meet nowhere."]),
    );
  }

  // The controls.
  const known = Object.keys(VARIANTS).filter((name) => name in products);
  const variants = radios("Variant", known.map((name) => [name, VARIANTS[name]]), (variant) =>
    act(VARIANTS[variant], { variant }),
  );
  const dials = [
    ["center_weight", "λ1", "center", { min: 0, max: 51, step: 1 }, toWeight, toPlace],
    ["identity_weight", "λ2", "identity", { min: 0, max: 10, step: 0.1 }, Number, Number],
    ["expression_weight", "λ3", "expression", { min: 0, max: 10, step: 0.1 }, Number, Number],
  ].map(([name, symbol, kind, range, read, write]) => {
    const className = `eifn-${kind === "center" ? "centers" : kind}`;
    const text = make("span", { className }, make("b", {}, symbol), ` ${kind}`);
    const label = slider(text, range, (at) => act(`${symbol} is ${brief(read(at))}`, { [name]: read(at) }));
    const value = make("span", { ariaHidden: "true" });
    label.append(value);
    return { name, label, value, write };
  });
  const presets = Object.entries(paper).map(([database, { center, identity, expression }]) =>
    button(`λ of ${database}`, () =>
      act(`λ of ${database}`, { center_weight: center, identity_weight: identity, expression_weight: expression }),
    ),
  );
  const switches = Object.fromEntries(wires.map((wire) => [wire, checkbox(arrow(wire), () => toggle(wire))]));
  const cutting = make("fieldset", { className: "eifn-cuts" }, make("legend", {}, "Cut a wire"), ...Object.values(switches));

  function toggle(wire) {
    const reason = SEVERED[model.get("variant")][wire];
    if (reason) {
      told.textContent = `Nothing done: in ${VARIANTS[model.get("variant")]} nothing flows there (${reason}).`;
      return;
    }
    const cuts = model.get("cuts");
    const isCut = cuts.includes(wire);
    const now = wires.filter((one) => cuts.includes(one) !== (one === wire));
    act(`${isCut ? "Mended" : "Cut"}: ${arrow(wire)}`, { cuts: now });
  }

  let before = null; // the gradients at the last read-out

  function tell(cause, { into, variant }) {
    if (before) {
      const changes = into.flatMap(({ name, total }, m) => {
        const [was, is] = [before[m].total, total].map((value) => (value ? brief(value) : "no gradient"));
        return was === is ? [] : [`${name} ${was} → ${is}`];
      });
      const asStar = variant === "eifn" && model.get("cuts").join() === "fusion > identity extractor";
      const effect = changes.length ? `Together: ${changes.join(", ")}.` : "No module gets another gradient.";
      told.textContent = `${cause}. ${effect}${asStar ? " This is the routing of EIFN*." : ""}`;
    } else told.textContent = "Choose a variant, move a λ or cut a wire: this line tells which gradients change.";
    before = into;
  }

  function draw(cause) {
    const now = gradients();
    check(variants, now.variant);
    for (const { name, label, value, write } of dials) {
      const weight = model.get(name);
      const off = now.variant === "efn" && name !== "expression_weight";
      label.control.value = write(weight);
      label.control.disabled = off;
      label.control.ariaValueText = off ? "counts as 0 in EFN" : brief(weight);
      value.textContent = off ? "off" : brief(weight);
    }
    for (const wire of wires) {
      const severed = wire in SEVERED[now.variant];
      switches[wire].control.checked = now.severed.has(wire);
      switches[wire].control.disabled = severed;
    }
    paint(now);
    count(now);
    tell(cause, now);
  }

  const traits = ["variant", ...dials.map(({ name }) => name), "cuts"];
  const act = follow(model, traits, draw);
  const told = readout();
  const start = Object.fromEntries(traits.map((name) => [name, model.get(name)]));
  const reset = button("Reset", () => act("Reset", start));
  const caption = make(
    "figcaption",
    {},
    "Gradients flow down, from the losses. Width: the logarithm of the norm. A click on a wire cuts it.",
  );
  const side = make("div", {}, variants, ...dials.map(({ label }) => label), row(...presets, reset), cutting);
  const below = make("div", { className: "eifn-wide" }, table, agreement, told);
  const root = widget("Gradient router", make("figure", {}, picture, caption), side, below);
  root.classList.add("eifn-router");
  el.append(root);
  draw();
}

export default { render };
