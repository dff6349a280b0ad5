// The fusion of a network, opened up: face, location, sum, evidence, answer. Everything is computed from `data`.

const PLACES = ["top left", "top right", "bottom left", "bottom right"];
const TITLES = { efn: "EFN", "eifn-star": "EIFN*", eifn: "EIFN" };
const KINDS = ["identity", "expression"];
const TRAITS = "face identity variant location locations signed_sqrt l2 expression pair".split(" ");
const TOP = 8; // channels in a table
const STRONGEST = 6; // pairs in the table of evidence
const REGIONS = 8; // a side
const FUSION = [204, 121, 167]; // --fusion-fill, for the canvas

/** A network as the page needs it: what its classifier weighs, and what it made of each face. */
function unpack(network) {
  const weight = decode(network.weight, Int8Array);
  const channels = Math.sqrt(weight.length / network.bias.length);
  const maps = decode(network.maps, Uint16Array);
  const [decoded, peaks] = [decode(network.regions), decode(network.peaks)];
  const size = (REGIONS * REGIONS) / 2; // bytes, two regions in each
  const at = (face, kind, channel) => (face * KINDS.length + kind) * channels + channel;
  return {
    channels,
    bias: network.bias,
    weight: (expression, pair) => weight[expression * channels ** 2 + pair] * network.weight_scale[expression],
    /** The identity map (kind 0) or expression map (1) of a face: for each channel, its values at the locations. */
    map(face, kind) {
      const value = (start) => PLACES.map((_, place) => maps[4 * start + place] * network.map_scale[face][kind]);
      return Array.from({ length: channels }, (_, channel) => value(at(face, kind, channel)));
    },
    /** What excites a channel: each region from 0 to 1, and the share of its activity that the strongest is worth. */
    excites(face, kind, channel) {
      const start = at(face, kind, channel);
      const bytes = [...decoded.subarray(start * size, (start + 1) * size)];
      const regions = bytes.flatMap((byte) => [byte >> 4, byte & 15]).map((step) => step / 15);
      return { regions, peak: peaks[start] / 100 };
    },
  };
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);
const descending = (values) => [...values.keys()].sort((a, b) => values[b] - values[a] || a - b);

/** The sum of the outer products, and what is chosen of root and L2: a value for each pair. */
function fuse(identity, expression, { locations, signed_sqrt, l2 }) {
  const product = (i, e) => total(i.slice(0, locations).map((value, place) => value * e[place]));
  let values = identity.flatMap((i) => expression.map((e) => product(i, e)));
  if (signed_sqrt) values = values.map((value) => Math.sign(value) * Math.sqrt(Math.abs(value)));
  const length = l2 ? Math.hypot(...values) : 1;
  return length ? values.map((value) => value / length) : values;
}

function classify(network, fused) {
  const evidence = (k) => total(fused.map((value, pair) => value * network.weight(k, pair)));
  const logits = network.bias.map((bias, k) => bias + evidence(k));
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - top));
  return { logits, probabilities: powers.map((power) => power / total(powers)) };
}

const percent = (share) => `${Math.round(100 * share)} %`;
/** For narrow tables of values >= 0: two digits, at most three decimals; from 10 000 on in thousands. */
function short(value) {
  if (value >= 1e4) return `${Math.round(value / 1e3)}k`;
  return value >= 100 ? String(Math.round(value)) : show(Number(value.toFixed(3)), 2);
}

function signed(value) {
  const size = Math.abs(value).toFixed(2);
  return (size === "0.00" ? "" : value < 0 ? "−" : "+") + size;
}

const code = (expression) => expression[0].toUpperCase() + expression[1];

/** Where a region is, in words. */
function where(region) {
  const side = (place, words) => words[place < 3 ? 0 : place < 5 ? 1 : 2];
  const height = side(Math.floor(region / REGIONS), ["upper ", "", "lower "]);
  return height + side(region % REGIONS, ["left", "middle", "right"]);
}

function heading(number, text) {
  return make("p", { className: "eifn-title" }, `${number} · ${text}`);
}

function heat(value, top, text = short(value)) {
  const cell = make("td", {}, make("data", { value }, text));
  cell.style.setProperty("--share", top ? Math.abs(value) / top : 0);
  return cell;
}

/** A table of pairs: identity channels down, expression channels across. */
function fillPairs(table, corner, [down, across], heads, value) {
  const values = down.map((i) => across.map((e) => value(i, e)));
  const top = Math.max(...values.flat());
  const head = (kind, channel) => {
    const about = heads ? [" ", make("small", {}, short(heads[kind][channel]))] : [];
    const scope = kind ? "col" : "row";
    return make("th", { scope, className: `eifn-${KINDS[kind]}` }, `${KINDS[kind][0]}${channel}`, ...about);
  };
  table.replaceChildren(
    make("thead", {}, make("tr", {}, make("td", {}, corner), ...across.map((e) => head(1, e)))),
    make("tbody", {}, ...down.map((i, n) => make("tr", {}, head(0, i), ...values[n].map((v) => heat(v, top))))),
  );
}

function render({ model, el }) {
  const { database, expressions, faces, networks, error } = model.get("data");
  const nets = networks.map((network) => unpack(network));
  const { channels } = nets[0];
  const split = (pair) => [Math.floor(pair / channels), pair % channels];
  const act = follow(model, TRAITS, draw);
  const start = Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));
  const called = (row) => faces.find((face) => face.row === row).name;

  // 1: what is looked at, and the answer.
  const portrait = ({ picture, name }) => make("span", {}, make("img", { src: picture, alt: "" }), name);
  const portraits = faces.map((f) => [f.row, portrait(f)]);
  const face = radios("Face", portraits, (row) => act(`Face: ${called(row)}`, { face: row }));
  face.classList.add("eifn-portraits");
  const answers = networks.map(() => make("span"));
  const title = ({ variant }, n) => make("span", {}, make("b", {}, TITLES[variant]), " ", answers[n]);
  const titled = networks.map((each, n) => [each.variant, title(each, n)]);
  const network = radios("Network", titled, (variant) => act(`Network: ${TITLES[variant]}`, { variant }));
  const people = [["", "this face"], ...faces.map((f) => [f.row, f.name])];
  const identity = choice("Identity map of", people, (text) => {
    const row = text ? Number(text) : null;
    act(text ? `Identity map of ${called(row)}` : "Its own identity map", { identity: row });
  });
  identity.classList.add("eifn-identity");
  const note = make("p", { className: "eifn-note" });
  const bars = expressions.map((name) => {
    const [now, own] = [make("i", { className: "eifn-now" }), make("i", { className: "eifn-own" })];
    const [nowText, ownText] = [make("data"), make("data")];
    const label = make("th", { scope: "row" }, name);
    const line = make("tr", {}, label, make("td", {}, now, own), make("td", {}, nowText), make("td", {}, ownText));
    return { line, label, now, own, nowText, ownText };
  });
  const column = (text) => make("th", { scope: "col" }, text);
  const answer = make(
    "table",
    { className: "eifn-answer" },
    make("thead", {}, make("tr", {}, make("td", {}, "✓ true"), make("td"), column("now"), column("as trained"))),
    make("tbody", {}, ...bars.map(({ line }) => line)),
  );

  // 2: one location.
  const location = radios("Location", PLACES.map((place) => [place, make("span", {}, place)]), (place) =>
    act(`Location: ${place}`, { location: place }),
  );
  const looked = make("img");
  const quarters = make("div", { className: "eifn-places" }, looked, ...location.querySelectorAll("label"));
  location.append(quarters);
  const products = make("table", { className: "eifn-pairs" });

  // 3: all of them.
  const locations = slider("Locations added", { min: 1, max: PLACES.length, step: 1 }, (count) =>
    act(`Locations added: ${count}`, { locations: count }),
  );
  const count = make("span");
  locations.append(count);
  const onOff = (on) => (on ? "on" : "off");
  const root = checkbox("signed square root", (on) => act(`Signed square root ${onOff(on)}`, { signed_sqrt: on }));
  const norm = checkbox("L2 normalization", (on) => act(`L2 normalization ${onOff(on)}`, { l2: on }));
  const all = make("canvas", { width: channels, height: channels, role: "img" });
  const corner = make("i");
  corner.style.width = corner.style.height = `${100 * Math.min(1, TOP / channels)}%`;
  const caption =
    `All ${channels} × ${channels} pairs, the most active channels first. The table is the framed corner.`;
  const matrix = make("figure", {}, make("div", {}, all, corner), make("figcaption", {}, caption));
  const pooled = make("table", { className: "eifn-pairs" });

  // 4: what the pairs say.
  const named = expressions.map((name) => [name, name]);
  const expression = choice("Evidence for", named, (name) => act(`Evidence for ${name}`, { expression: name }));
  const evidence = make("table", { className: "eifn-evidence" });
  const listTitle = make("p");
  const list = make("ol");
  const sentence = make("p");
  const channel = KINDS.map((kind, n) => {
    const label = choice(`${kind} channel`, [], (value) => {
      const pair = [...chosen];
      pair[n] = Number(value);
      pick(pair);
    });
    label.classList.add(`eifn-${kind}`);
    return label;
  });
  const views = KINDS.map(() => make("figure"));

  const told = readout();
  let chosen = null; // the pair on the page
  let shown = null; // the facts on the page, to tell what changed

  function pick(pair) {
    act(`Pair i${pair[0]} · e${pair[1]}`, { pair });
  }

  function draw(cause) {
    const state = Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));
    const index = (row) => faces.findIndex((f) => f.row === row);
    const who = [index(state.identity ?? state.face), index(state.face)]; // whose identity map, whose expression map
    const swapped = who[0] !== who[1];
    const whole = { locations: PLACES.length, signed_sqrt: true, l2: true };
    const results = nets.map((net) => {
      const maps = who.map((person, kind) => net.map(person, kind));
      const fused = fuse(...maps, state);
      const own = classify(net, fuse(net.map(who[1], 0), maps[1], whole));
      return { net, maps, fused, own, ...classify(net, fused) };
    });
    const now = results[networks.findIndex(({ variant }) => variant === state.variant)];

    drawAnswer(state, results, now, swapped);
    const here = drawLocation(state, now, faces[who[1]]);
    drawSum(state, now);
    const pair = drawEvidence(state, now, who);
    tell(cause, now, here, pair);
  }

  function drawAnswer(state, results, now, swapped) {
    const truth = faces.find((f) => f.row === state.face).expression;
    check(face, state.face);
    for (const input of face.querySelectorAll("input")) {
      input.parentElement.classList.toggle("eifn-donor", swapped && input.value === String(state.identity));
    }
    check(network, state.variant);
    identity.control.value = swapped ? state.identity : "";
    results.forEach(({ probabilities }, n) => {
      const best = descending(probabilities)[0];
      answers[n].textContent = `${expressions[best]} ${percent(probabilities[best])}`;
    });
    bars.forEach((bar, k) => {
      bar.label.textContent = expressions[k] === truth ? `✓ ${expressions[k]}` : expressions[k];
      bar.label.ariaLabel = expressions[k] === truth ? `${expressions[k]}, the true one` : expressions[k];
      for (const [node, text, value] of [
        [bar.now, bar.nowText, now.probabilities[k]],
        [bar.own, bar.ownText, now.own.probabilities[k]],
      ]) {
        node.style.width = `${100 * value}%`;
        text.value = value;
        text.textContent = percent(value);
      }
    });
    const usual = state.locations === PLACES.length && state.signed_sqrt && state.l2;
    const notes = [];
    if (swapped) {
      notes.push(`The expression map of ${called(state.face)} meets the identity map of ${called(state.identity)}.`);
    }
    if (!usual) notes.push("Trained with all four locations, root and L2, the network never saw what it gets here.");
    note.textContent = notes.join(" ") || "As trained: nothing is swapped, left out or switched off.";
  }

  function drawLocation(state, { maps }, { picture, name }) {
    check(location, state.location);
    Object.assign(looked, { src: picture, alt: `Face of ${name}, in four quarters` });
    const place = PLACES.indexOf(state.location);
    const descriptors = maps.map((map) => map.map((values) => values[place]));
    const order = descriptors.map((values) => descending(values).slice(0, TOP));
    fillPairs(products, "i ⊗ e", order, descriptors, (i, e) => descriptors[0][i] * descriptors[1][e]);
    return order.map(([first], kind) => `${KINDS[kind][0]}${first} (${short(descriptors[kind][first])})`);
  }

  function drawSum(state, { maps, fused }) {
    locations.control.value = state.locations;
    count.textContent = `${state.locations} of ${PLACES.length}`;
    locations.control.ariaValueText = `${count.textContent}, up to the ${PLACES[state.locations - 1]}`;
    root.control.checked = state.signed_sqrt;
    norm.control.checked = state.l2;
    const order = maps.map((map) => descending(map.map(total)));
    const value = (i, e) => fused[i * channels + e];
    fillPairs(pooled, symbol(state), order.map((sorted) => sorted.slice(0, TOP)), null, value);

    const context = all.getContext("2d");
    const image = context.createImageData(channels, channels);
    const top = Math.max(...fused);
    order[0].forEach((i, y) =>
      order[1].forEach((e, x) => {
        const alpha = top ? (255 * value(i, e)) / top : 0;
        image.data.set([...FUSION, alpha], 4 * (y * channels + x));
      }),
    );
    context.putImageData(image, 0, 0);
    const active = fused.filter((v) => v > 0).length;
    all.ariaLabel = `${active} of ${channels ** 2} pairs are above 0; the largest is ${short(top)}.`;
  }

  function drawEvidence(state, { net, maps, fused, logits }, who) {
    const k = expressions.indexOf(state.expression);
    const gives = (pair) => expressions.map((_, e) => fused[pair] * net.weight(e, pair)); // to each expression
    const strongest = descending(fused.map((value, pair) => Math.abs(value * net.weight(k, pair)))).slice(0, STRONGEST);
    const pair = state.pair ? state.pair[0] * channels + state.pair[1] : strongest[0];
    chosen = split(pair);
    expression.control.value = state.expression;

    const listed = strongest.includes(pair) ? strongest : [...strongest, pair];
    drawTable(k, pair, listed, gives, logits, net.bias);
    listTitle.textContent = `Strongest for or against ${state.expression}:`;
    const inWords = (n) => `identity channel ${split(n)[0]} with expression channel ${split(n)[1]}`;
    list.replaceChildren(...strongest.map((n) => make("li", {}, `${inWords(n)}: ${signed(gives(n)[k])}`)));
    const given = gives(pair);
    const says = (e) => `${expressions[e]} (${signed(given[e])})`;
    sentence.textContent =
      `The pair i${chosen[0]} · e${chosen[1]} fuses to ${symbol(state)} = ${short(fused[pair])}; ` +
      `times the weight ${signed(net.weight(k, pair))} that is ${signed(given[k])} for ${state.expression}. ` +
      `It speaks most for ${says(descending(given)[0])} and most against ${says(descending(given.map((value) => -value))[0])}.`;

    KINDS.forEach((kind, n) => {
      const activity = maps[n].map(total);
      const name = (c) => `${kind[0]}${c} (${short(activity[c])})`;
      const options = descending(activity).map((c) => make("option", { value: c }, name(c)));
      channel[n].control.replaceChildren(...options);
      channel[n].control.value = chosen[n];
      drawView(views[n], channel[n], kind, faces[who[n]], chosen[n], net.excites(who[n], n, chosen[n]));
    });
    return `i${chosen[0]} · e${chosen[1]} (${signed(given[k])} for ${state.expression})`;
  }

  /** Pairs and what they give to each expression; below them all that is missing to the logit. */
  function drawTable(k, pair, listed, gives, logits, bias) {
    const top = Math.max(...listed.flatMap(gives).map(Math.abs));
    const line = (head, values, share) => {
      const cells = values.map((value) => heat(value, share, signed(value)));
      cells.forEach((cell, e) => values[e] < 0 && cell.style.setProperty("--fill", "var(--line)"));
      return make("tr", {}, make("th", { scope: "row" }, head), ...cells);
    };
    const radio = (n) => {
      const [i, e] = split(n);
      const ariaLabel = `identity channel ${i} with expression channel ${e}`;
      const input = make("input", { type: "radio", name: "Pair", value: n, checked: n === pair, ariaLabel });
      input.onchange = () => pick([i, e]);
      const word = (kind, c) => make("span", { className: `eifn-${kind}` }, `${kind[0]}${c}`);
      return make("label", {}, input, word("identity", i), "·", word("expression", e));
    };
    const others = logits.map((logit, e) => logit - bias[e] - total(listed.map((n) => gives(n)[e])));
    const heads = expressions.map((name) => make("th", { scope: "col", title: name, ariaLabel: name }, code(name)));
    heads[k].classList.add("eifn-fusion");
    const focused = evidence.contains(document.activeElement); // the new rows would lose it
    evidence.replaceChildren(
      make("thead", {}, make("tr", {}, make("td", {}, "pair"), ...heads)),
      make(
        "tbody",
        {},
        ...listed.map((n) => line(radio(n), gives(n), top)),
        line(`other ${channels ** 2 - listed.length}`, others, 0),
        line("bias", bias, 0),
        line("logit", logits, 0),
      ),
    );
    if (focused) evidence.querySelector("input:checked").focus();
  }

  function drawView(view, select, kind, { picture, name }, c, { regions, peak }) {
    const strongest = where(descending(regions)[0]);
    const effect = peak
      ? `covering the ${strongest} takes away ${percent(peak)} of it`
      : "covering any region of the face leaves it as it is, or raises it";
    const text = `${kind} channel ${c} on ${name}: ${effect}.`;
    const size = 64 / REGIONS;
    const cells = regions.map((share, n) =>
      svg("rect", {
        x: (n % REGIONS) * size,
        y: Math.floor(n / REGIONS) * size,
        width: size,
        height: size,
        fill: `var(--${kind}-fill)`,
        "fill-opacity": (0.75 * share).toFixed(3),
      }),
    );
    const image = svg("svg", { viewBox: "0 0 64 64", role: "img", "aria-label": text });
    image.append(svg("image", { href: picture, width: 64, height: 64 }), ...cells);
    if (!view.contains(select)) view.append(select); // once: moved again, it would lose the focus
    for (const old of [...view.children].slice(1)) old.remove();
    view.append(image, make("figcaption", {}, text[0].toUpperCase() + text.slice(1)));
  }

  function symbol({ signed_sqrt, l2 }) {
    if (signed_sqrt) return l2 ? "z" : "y";
    return l2 ? "F ÷ ‖F‖" : "F";
  }

  function tell(cause, { fused, probabilities }, here, pair) {
    const facts = [
      ...descending(probabilities).map((k) => [expressions[k], percent(probabilities[k])]),
      ["most active identity channel", here[0]],
      ["most active expression channel", here[1]],
      ["largest entry", short(Math.max(...fused))],
      ["pair", pair],
    ];
    if (shown) {
      const changes = facts
        .filter(([name, value]) => shown.get(name) !== value)
        .map(([name, value]) => `${name} ${shown.get(name)} → ${value}`);
      told.textContent = `${cause}. ${changes.length ? `${changes.slice(0, 5).join(", ")}.` : "No number changed."}`;
    } else told.textContent = "Change something: this line tells what it does.";
    shown = new Map(facts);
  }

  const embedded =
    `Faces of ${database}. Embedded in this page: maps in 16 bits, weights of the classifier in 8, ` +
    `regions in 15 steps; a probability is within ${show(100 * error, 2)} percentage points of the network's. ` +
    `A region is a square of 16 × 16 pixels, covered in the mean colour of the face.`;
  const inspector = widget(
    "Fusion inspector",
    heading(1, "a face, a network, an answer"),
    face,
    row(network, identity),
    answer,
    note,
    heading(2, "one location: two descriptors and their products"),
    make("div", { className: "eifn-split" }, location, products),
    heading(3, "all locations: the sum, its root, its length"),
    row(locations, root, norm),
    make("div", { className: "eifn-split" }, matrix, pooled),
    heading(4, "evidence: what each pair of channels says"),
    row(expression),
    evidence,
    make("div", { className: "eifn-split" }, ...views, make("div", {}, listTitle, list, sentence)),
    row(button("Reset", () => act("Reset", start))),
    make("p", { className: "eifn-note" }, embedded),
    told,
  );
  inspector.classList.add("eifn-inspector");
  el.append(inspector);
  draw("");
}

export default { render };
