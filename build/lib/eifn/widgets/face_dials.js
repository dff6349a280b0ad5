// A face on dials. With a kernel Python draws it anew; without, the effects of the single dials are added up.

/** The pixels of each face in a sheet, where they stand one below the other. */
async function faces(url) {
  const image = make("img", { src: url });
  await image.decode();
  const canvas = make("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const length = image.width ** 2 * 4; // faces are square
  return Array.from({ length: data.length / length }, (_, n) => data.subarray(n * length, (n + 1) * length));
}

/** The two neighbours of a value on a scale of steps, and how much of each. */
function between(value, steps) {
  const low = Math.min(Math.floor(value * steps), steps - 1);
  const part = value * steps - low;
  return [[low, 1 - part], [low + 1, part]].filter(([, share]) => share > 0);
}

/** A face at rest, or that of a preset, plus what each other dial changes at rest; over the two nearest people. */
function blend(sheets, identity, dials, steps, preset) {
  const people = between(identity / (sheets.length - 1), sheets.length - 1);
  const sum = new Float32Array(sheets[0][0].length);
  const add = (pixels, share) => pixels.forEach((value, n) => (sum[n] += share * value));
  const first = 1 + dials.length * steps; // where the presets begin
  const turned = dials.map((value, dial) => (preset >= 0 && dial < dials.length - 1 ? 0 : value));
  for (const [person, share] of people) {
    const sheet = sheets[person];
    add(sheet[preset >= 0 ? first + preset : 0], share);
    turned.forEach((value, dial) => {
      for (const [step, part] of between(value, steps)) {
        if (!step) continue; // that is the resting face
        add(sheet[1 + dial * steps + step - 1], share * part);
        add(sheet[0], -share * part);
      }
    });
  }
  return Uint8ClampedArray.from(sum, Math.round);
}

/** Whether a setting is one of the embedded faces. */
function isEmbedded(identity, dials, steps, preset) {
  const turned = dials.filter((value) => value);
  const alone = turned.length < 2 && turned.every((value) => Number.isInteger(value * steps));
  return Number.isInteger(identity) && (alone || (preset >= 0 && !dials.at(-1)));
}

function render({ model, el }) {
  const { units, people, presets, sheets: urls, steps } = model.get("data");
  const names = Object.keys(units);
  const traits = ["identity", "entanglement", "intensities"];
  const start = Object.fromEntries(traits.map((name) => [name, model.get(name)]));
  const values = (intensities) => names.map((name) => intensities[name] ?? 0);
  const setting = () => [model.get("identity"), model.get("entanglement"), ...values(model.get("intensities"))];
  const presetValues = Object.values(presets).map((of) => values(of).join());
  let sheets = null; // until they are decoded

  const canvas = make("canvas", { role: "img" });
  const origin = make("figcaption");
  const told = readout();

  function who(identity) {
    const low = Math.floor(identity);
    if (low === identity) return people[low];
    const part = Math.round(100 * (identity - low));
    return `${100 - part} % ${people[low]} and ${part} % ${people[low + 1]}`;
  }

  function doing() {
    const on = names.filter((name) => model.get("intensities")[name]);
    return on.map((name) => `${name} at ${show(model.get("intensities")[name], 2)}`).join(", ") || "no unit on";
  }

  async function paint() {
    const now = setting();
    const [identity, entanglement, ...units] = now;
    const { setting: of, face } = model.get("drawn");
    let [pixels, exact] = [null, true];
    if (of.join() === now.join()) {
      pixels = (await faces(face))[0];
      if (setting().join() !== now.join()) return; // the dials went on meanwhile
    } else if (sheets) {
      const dials = [...units, entanglement];
      const preset = presetValues.indexOf(units.join());
      pixels = blend(sheets, identity, dials, steps, preset);
      exact = isEmbedded(identity, dials, steps, preset);
    } else return; // painted when the sheets are there
    const side = Math.sqrt(pixels.length / 4);
    canvas.width = canvas.height = side;
    canvas.getContext("2d").putImageData(new ImageData(Uint8ClampedArray.from(pixels), side, side), 0, 0);
    canvas.ariaLabel = `A drawn face: ${who(identity)}, entanglement ${show(entanglement, 2)}, ${doing()}`;
    origin.textContent = exact
      ? "Drawn with these dials."
      : "Put together in this page from what each dial changes alone; with Python it is drawn.";
  }

  function dial(name, about, kind, range, change) {
    const node = slider(make("span", {}, make("b", {}, name), ` ${about}`), range, change);
    const value = make("span", { ariaHidden: "true" });
    node.append(value);
    node.className = `eifn-dial eifn-${kind}`;
    return { node, set: (at, text) => Object.assign(node.control, { value: at, ariaValueText: (value.textContent = text) }) };
  }

  const whole = { min: 0, max: 1, step: 0.05 };
  const identity = dial("Identity", "", "identity", { ...whole, max: people.length - 1 }, (at) =>
    act(`Identity is ${who(at)}`, { identity: at }),
  );
  const entanglement = dial("Entanglement", "resting face imitates an expression", "fusion", whole, (at) =>
    act(`Entanglement is ${show(at, 2)}`, { entanglement: at }),
  );
  const dials = names.map((name) =>
    dial(name, units[name], "expression", whole, (at) =>
      act(`${name} ${units[name]} is ${show(at, 2)}`, { intensities: { ...model.get("intensities"), [name]: at } }),
    ),
  );
  const buttons = Object.entries(presets).map(([name, intensities]) =>
    button(name, () => act(`Units of ${name}`, { intensities })),
  );

  function draw(cause) {
    const [person, entangled, ...intensities] = setting();
    identity.set(person, who(person));
    entanglement.set(entangled, show(entangled, 2));
    dials.forEach(({ set }, n) => set(intensities[n], show(intensities[n], 2)));
    paint();
    told.textContent = cause
      ? `${cause}. The face: ${who(person)}, entanglement ${show(entangled, 2)}, ${doing()}.`
      : "Turn a dial: this line tells what the face is made of.";
  }

  const act = follow(model, traits, draw);
  model.on("change:drawn", paint);
  Promise.all(urls.map(faces)).then((decoded) => {
    sheets = decoded;
    root.dataset.ready = "";
    paint();
  });
  const reset = button("Reset", () => act("Reset", start));
  const side = make("div", {}, identity.node, entanglement.node, row(...buttons, reset), told);
  const head = make("div", { className: "eifn-head" }, make("figure", {}, canvas, origin), side);
  const root = widget("Face dials", head, make("div", { className: "eifn-units" }, ...dials.map(({ node }) => node)));
  root.classList.add("eifn-face");
  el.append(root);
  draw();
}

export default { render };
