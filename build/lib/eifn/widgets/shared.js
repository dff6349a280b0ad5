// What the modules of all widgets share; `module` in host.py puts this text in front of each of them.

/** An element with these properties (of the DOM: className, ariaLabel, onclick, ...) and children. */
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** An element of an SVG picture with these attributes and children. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The outside of a widget. A form, so that the radio buttons of two copies on a page do not meet. */
function widget(label, ...parts) {
  const root = make("form", { className: "eifn-widget", ariaLabel: label }, ...parts);
  root.onsubmit = (event) => event.preventDefault();
  return root;
}

const row = (...children) => make("div", { className: "eifn-row" }, ...children);
const button = (label, act) => make("button", { type: "button", onclick: act }, label);

/** Says what changed, also to a screen reader. */
const readout = () => make("p", { className: "eifn-readout", role: "status" });

// Labelled inputs: each returns the label, whose `control` is the input. `act` gets the new value.

function slider(label, { min, max, step }, act) {
  const input = make("input", { type: "range", min, max, step });
  input.oninput = () => act(input.valueAsNumber);
  return make("label", {}, label, " ", input);
}

function checkbox(label, act) {
  const input = make("input", { type: "checkbox" });
  input.onchange = () => act(input.checked);
  return make("label", {}, input, " ", label);
}

/** A drop-down list. `options` are pairs: the value and what it is called. */
function choice(label, options, act) {
  const select = make("select", {}, ...options.map(([value, name]) => make("option", { value }, name)));
  select.onchange = () => act(select.value);
  return make("label", {}, label, " ", select);
}

/** Radio buttons with a legend. `options` are pairs: the value, and the text or element beside the button. */
function radios(legend, options, act) {
  const labels = options.map(([value, content]) => {
    const input = make("input", { type: "radio", name: legend, value });
    input.onchange = () => act(value);
    return make("label", {}, input, " ", content);
  });
  return make("fieldset", {}, make("legend", {}, legend), ...labels);
}

/** Check the radio button with this value. */
function check(fieldset, value) {
  for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === String(value);
}

/** A number in so many digits, with a true minus sign. */
const show = (value, digits = 4) => String(Number(value.toPrecision(digits))).replace("-", "−");

/** The bytes of a base64 text, as what NumPy's `tobytes` made them from: Uint8Array, Int8Array, ... */
function decode(text, Type = Uint8Array) {
  return new Type(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

/**
 * Calls draw(cause) after any of these traits changed, once however many did. Returns act(what, changes), which sets
 * traits for the reader: `what` is then the cause that draw gets, for the read-out.
 */
function follow(model, names, draw) {
  let cause = "";
  let scheduled = false;
  function schedule() {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      const what = cause || "Set from Python";
      cause = "";
      draw(what);
    });
  }
  for (const name of names) model.on(`change:${name}`, schedule);
  return function act(what, changes) {
    cause = what;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
    schedule();
  };
}
