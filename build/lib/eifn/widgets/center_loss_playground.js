// Center loss on free points in a plane: softmax and center loss move the points, the paper's rule the centers.

const POINTS = 120;
const LIMIT = 1000; // steps
const RATE = 0.1; // of points and classifier; times the largest λ1 it is 1, a jump onto the center
const LETTERS = "ABCDEFGH";
// One shape a class, about 2 wide, around the origin.
const SHAPES = [
  "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  "M-.9-.9H.9V.9H-.9Z",
  "M0-1.2L1.1.8H-1.1Z",
  "M0-1.3L1.1 0 0 1.3-1.1 0Z",
  "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
  "M0 1.2L1.1-.8H-1.1Z",
  "M0-1.3L.36-.45 1.24-.4.56.17.78 1.05 0 .56-.78 1.05-.56.17-1.24-.4-.36-.45Z",
  "M-1 0L-.5-.9H.5L1 0 .5.9H-.5Z",
];
const EXTENT = 2.8; // the plane is shown from -2.8 to 2.8, or as far as points ever went

/** Random numbers from 0 to 1 that are the same in every browser: the generator known as mulberry32. */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Points around their classes' places on a circle, a classifier that knows nothing yet, centers at zero. */
function begin(classes, seed) {
  const random = generator(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const points = Array.from({ length: POINTS }, (_, i) => {
    const angle = (2 * Math.PI * (i % classes)) / classes;
    return [Math.cos(angle) + 0.6 * normal(), Math.sin(angle) + 0.6 * normal()];
  });
  const weights = Array.from({ length: classes }, () => [0.5 * normal(), 0.5 * normal()]);
  const centers = weights.map(() => [0, 0]);
  const world = { classes, seed, random, points, weights, centers, batch: [], counts: centers.map(() => 0), step: 0, extent: EXTENT, past: [], events: [] };
  note(world);
  return world;
}

function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** One step on a random batch; every gradient is taken before anything moves. */
function advance(world, centerWeight, alpha, batchSize) {
  const { points, weights, centers, random } = world;
  const order = points.map((_, i) => i);
  for (let i = 0; i < batchSize; i++) {
    const j = i + Math.floor(random() * (POINTS - i));
    [order[i], order[j]] = [order[j], order[i]];
  }
  const batch = order.slice(0, batchSize);
  const slopes = weights.map(() => [0, 0]);
  const pulls = centers.map(() => [0, 0]);
  const counts = centers.map(() => 0);
  const moved = batch.map((i) => {
    const [point, label] = [points[i], i % world.classes];
    const errors = softmax(weights.map((row) => row[0] * point[0] + row[1] * point[1]));
    errors[label] -= 1; // probabilities less the truth: the gradient at the logits
    counts[label] += 1;
    return point.map((value, d) => {
      errors.forEach((error, k) => (slopes[k][d] += (error * value) / batchSize));
      pulls[label][d] += centers[label][d] - value;
      const fromSoftmax = errors.reduce((sum, error, k) => sum + error * weights[k][d], 0);
      return value - RATE * (fromSoftmax + centerWeight * (value - centers[label][d]));
    });
  });
  batch.forEach((i, n) => (points[i] = moved[n]));
  weights.forEach((row, k) => row.forEach((_, d) => (row[d] -= RATE * slopes[k][d])));
  // Wen et al.: the 1 keeps the center of a class that is hardly in the batch from jumping.
  centers.forEach((center, k) => center.forEach((_, d) => (center[d] -= (alpha * pulls[k][d]) / (1 + counts[k]))));
  Object.assign(world, { batch, counts, step: world.step + 1 });
  note(world);
}

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const rootMeanSquare = (values) => Math.hypot(...values) / Math.sqrt(values.length);

function mean(points) {
  return [0, 1].map((d) => points.reduce((sum, point) => sum + point[d], 0) / points.length);
}

function measure({ classes, points, weights, centers }) {
  const members = centers.map((_, k) => points.filter((_, i) => i % classes === k));
  const means = members.map(mean);
  const spreads = members.map((group, k) => rootMeanSquare(group.map((point) => distance(point, means[k]))));
  const pairs = means.flatMap((a, j) => means.slice(j + 1).map((b, n) => [distance(a, b), j, j + 1 + n]));
  const [gap, ...closest] = pairs.reduce((a, b) => (b[0] < a[0] ? b : a));
  const right = points.filter((point, i) => {
    const logits = weights.map((row) => row[0] * point[0] + row[1] * point[1]);
    return logits.indexOf(Math.max(...logits)) === i % classes;
  });
  return {
    spread: rootMeanSquare(points.map((point, i) => distance(point, means[i % classes]))),
    spreads,
    gap,
    closest,
    lag: rootMeanSquare(means.map((place, k) => distance(place, centers[k]))),
    size: rootMeanSquare(points.map((point) => distance(point, mean(points)))),
    right: right.length / POINTS,
  };
}

const VERDICTS = {
  collapsed: "everything has collapsed to one place",
  tight: "every class has collapsed to a point of its own",
  mixed: "classes overlap",
  apart: "classes are apart, but wide",
};

function judge({ size, spread, gap }, sizeAtStart) {
  if (size < sizeAtStart / 4) return "collapsed";
  if (gap < spread) return "mixed";
  return spread < gap / 10 ? "tight" : "apart";
}

/** Keeps the measures of every step, and when the verdict changed. */
function note(world) {
  const now = measure(world);
  world.past.push(now);
  world.extent = Math.max(world.extent, 1.05 * Math.max(...world.points.flat().map(Math.abs)));
  const verdict = judge(now, world.past[0].size);
  if (world.events.at(-1)?.verdict !== verdict) world.events.push({ step: world.step, verdict });
}

const percent = (share) => `${Math.round(100 * share)} %`;
const brief = (value) => show(value, 3);

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

// λ1 on a slider: 0, then ten places for each factor of ten, from 0.0001 to 10.
const toWeight = (place) => (place ? Number((10 ** (place / 10 - 4.1)).toPrecision(2)) : 0);
const toPlace = (weight) => (weight < 1e-4 ? 0 : Math.round(10 * Math.log10(weight)) + 41);
const DIALS = {
  center_weight: { symbol: "λ1", about: "weight of the center loss", min: 0, max: 51, step: 1 },
  alpha: { symbol: "α", about: "rate of the centers", min: 0, max: 1, step: 0.05 },
  classes: { symbol: "Classes", about: "", min: 2, max: 8, step: 1 },
  batch_size: { symbol: "Batch", about: "points in a step", min: 1, max: POINTS, step: 1 },
};
const CAPTION =
  "Blue: the points, one shape a class; outlined: those of the last batch. Green: the centers, and the distances that " +
  "the center loss shortens. Dashed: where the classifier looks for each class.";

function render({ model, el }) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const start = Object.fromEntries(Object.keys(DIALS).map((name) => [name, model.get(name)]));

  let world = null;
  let frame = 0; // of the animation, 0 while it rests
  let before = 0; // the trait `step` when the animation began; it follows when that ends
  let told = null; // the measures at the last read-out

  const [rays, spokes, marks, middles] = ["eifn-rays", "", "", ""].map((name) => svg("g", { class: name }));
  const plane = svg("svg", { role: "img", class: "eifn-plane" });
  plane.append(svg("g", { transform: "scale(1 -1)" }, rays, spokes, marks, middles)); // y goes up

  function populate() {
    const labels = world.points.map((_, i) => i % world.classes);
    spokes.replaceChildren(...labels.map(() => svg("line")));
    marks.replaceChildren(...labels.map((label) => svg("path", { d: SHAPES[label] })));
    rays.replaceChildren(...world.weights.map(() => svg("line", { x1: 0, y1: 0 })));
    middles.replaceChildren(
      ...world.centers.map((_, k) =>
        svg("g", {}, svg("circle", { r: 0.17 }), svg("text", { transform: "scale(1 -1)", dy: 0.1 }, LETTERS[k])),
      ),
    );
  }

  /** Puts everything in its place; the coordinates in the picture are the embeddings themselves. */
  function place() {
    const batch = new Set(world.batch);
    const { extent, step } = world;
    setAttributes(plane, { viewBox: [-extent, -extent, 2 * extent, 2 * extent].join(" ") });
    world.points.forEach(([x, y], i) => {
      const [x2, y2] = world.centers[i % world.classes];
      setAttributes(spokes.children[i], { x1: x, y1: y, x2, y2 });
      setAttributes(marks.children[i], { transform: `translate(${x} ${y}) scale(0.075 -0.075)` });
      marks.children[i].classList.toggle("eifn-here", batch.has(i));
    });
    world.weights.forEach(([x2, y2], k) => setAttributes(rays.children[k], { x2, y2 }));
    world.centers.forEach(([x, y], k) => setAttributes(middles.children[k], { transform: `translate(${x} ${y})` }));
    plane.ariaLabel = `${POINTS} points of ${world.classes} classes, and their centers, after ${step} steps`;
  }

  const [WIDTH, HEIGHT] = [300, 110];
  const [gapLine, spreadLine] = ["eifn-gap", "eifn-spread"].map((name) => svg("polyline", { class: name }));
  const axis = svg("line", { x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT });
  const [scale, span] = [svg("text", { y: 10 }), svg("text", { y: HEIGHT + 15 })];
  const curves = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 18}`, role: "img", class: "eifn-curves" });
  curves.append(axis, gapLine, spreadLine, scale, span);

  function plot() {
    const steps = Math.max(100, world.step);
    const top = Math.max(...world.past.flatMap(({ spread, gap }) => [spread, gap]));
    const line = (name) =>
      world.past.map((one, n) => [(n / steps) * WIDTH, HEIGHT - (one[name] / top) * (HEIGHT - 16)].map((at) => at.toFixed(1)));
    setAttributes(spreadLine, { points: line("spread").join(" ") });
    setAttributes(gapLine, { points: line("gap").join(" ") });
    scale.textContent = brief(top);
    span.textContent = `steps 0 to ${steps}`;
    curves.ariaLabel = `Spread and distance of the closest classes in steps 0 to ${world.step}`;
  }

  const numbers = make("dl");
  const events = make("p", { className: "eifn-events" });
  const table = make("table");

  function count() {
    const now = world.past[world.step];
    const [j, k] = now.closest.map((one) => LETTERS[one]);
    const rows = [
      ["eifn-spread eifn-identity", "spread within classes", now.spread, brief],
      ["eifn-gap eifn-centers", `closest classes, ${j} and ${k}`, now.gap, brief],
      ["", "centers behind their classes", now.lag, brief],
      ["", "points told right", now.right, percent],
    ];
    numbers.replaceChildren(
      ...rows.map(([className, title, value, form]) =>
        make("div", { className }, make("dt", {}, title), make("dd", {}, make("data", { value }, form(value)))),
      ),
    );
    const last = world.events.slice(-4).map(({ step, verdict }) => `from step ${step}, ${VERDICTS[verdict]}`);
    events.textContent = `${world.events.length > 4 ? "Lately" : "So far"}: ${last.join("; ")}.`;
    const heads = ["class", "in the batch", "center x", "center y", "spread"].map((title) => make("th", { scope: "col" }, title));
    const body = world.centers.map((center, c) => {
      const values = [world.counts[c], ...center, now.spreads[c]];
      const cells = values.map((value) => make("td", {}, make("data", { value }, brief(value))));
      return make("tr", {}, make("th", { scope: "row", className: "eifn-centers" }, LETTERS[c]), ...cells);
    });
    table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
  }

  const dials = Object.entries(DIALS).map(([name, { symbol, about, ...range }]) => {
    const label = slider(make("small", {}, make("b", {}, symbol), " ", about), range, (at) => {
      const value = name === "center_weight" ? toWeight(at) : at;
      act(`${symbol} is ${value}`, { [name]: value, ...(name === "classes" && { step: 0 }) });
    });
    const value = make("span", { ariaHidden: "true" }); // the slider itself says its value
    label.append(value);
    return { name, label, value };
  });

  function settings() {
    for (const { name, label, value } of dials) {
      const now = model.get(name);
      label.control.value = name === "center_weight" ? toPlace(now) : now;
      label.control.ariaValueText = brief(now);
      value.textContent = brief(now);
    }
    run.textContent = frame ? "Pause" : "Run";
  }

  const one = () => advance(world, model.get("center_weight"), model.get("alpha"), model.get("batch_size"));

  function animate() {
    one();
    place();
    plot();
    count();
    if (world.step < LIMIT && root.isConnected) frame = requestAnimationFrame(animate);
    else halt(`Stopped after ${LIMIT} steps, the most`);
  }

  function halt(what) {
    cancelAnimationFrame(frame);
    frame = 0;
    act(what, { step: world.step });
  }

  function toggle() {
    if (frame) return halt("Paused");
    if (calm.matches || world.step >= LIMIT) return go(100);
    before = model.get("step");
    told = world.past[world.step];
    status.textContent = "Running.";
    frame = requestAnimationFrame(animate);
    settings();
  }

  function go(steps) {
    if (frame) return halt("Paused");
    const to = Math.min(world.step + steps, LIMIT);
    act(to === world.step ? `Nothing done: ${LIMIT} steps are the most` : steps > 1 ? `${to - world.step} steps` : "One step", { step: to });
  }

  function draw(cause) {
    const [classes, seed, step] = ["classes", "seed", "step"].map((name) => model.get(name));
    const anew = !world || world.classes !== classes || world.seed !== seed;
    if (frame && !anew && step === before) return settings(); // a slider moved while it runs
    cancelAnimationFrame(frame);
    frame = 0;
    if (anew || world.step > step) {
      world = begin(classes, seed);
      told = null;
      populate();
    }
    while (world.step < step) one();
    settings();
    place();
    plot();
    count();
    tell(cause);
  }

  function tell(cause) {
    const now = world.past[world.step];
    const change = (name) => (told && brief(told[name]) !== brief(now[name]) ? `${brief(told[name])} → ` : "") + brief(now[name]);
    status.textContent =
      `${cause}. Step ${world.step}: ${VERDICTS[judge(now, world.past[0].size)]}. ` +
      `Spread within classes ${change("spread")}, closest classes ${change("gap")} apart.`;
    told = now;
  }

  const act = follow(model, [...Object.keys(DIALS), "seed", "step"], draw);
  const run = button("Run", toggle);
  const reset = button("Reset", () => {
    cancelAnimationFrame(frame);
    frame = 0;
    world = null;
    act("Reset", { ...start, step: 0 });
  });
  const status = readout();
  const side = make(
    "div",
    { className: "eifn-side" },
    ...dials.map(({ label }) => label),
    row(button("Step", () => go(1)), run, reset),
    numbers,
    curves,
  );
  const root = widget(
    "Center loss playground",
    make("figure", {}, plane, make("figcaption", {}, CAPTION)),
    side,
    events,
    make("details", {}, make("summary", {}, "Numbers of each class"), table),
    status,
  );
  root.classList.add("eifn-playground");
  el.append(root);
  draw("Press Step or Run");
}

export default { render };
