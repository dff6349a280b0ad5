// Starts a widget's module in a page without a kernel. Each copy of this script takes the next host on the page.
const host = document.querySelector(".eifn-host:not([data-started])");
host.dataset.started = "";

const { state, source } = JSON.parse(host.querySelector("script").textContent);
const listeners = {};
const model = {
  get: (name) => state[name],
  set(name, value) {
    const same = JSON.stringify(state[name]) === JSON.stringify(value);
    state[name] = value;
    if (!same) for (const listener of listeners[`change:${name}`] ?? []) listener();
  },
  on: (event, listener) => (listeners[event] ??= []).push(listener),
  save_changes() {}, // there is no Python to tell
};

// A data URL, because a page that was opened as a file may not import other files.
const module = await import(`data:text/javascript;charset=utf-8,${encodeURIComponent(source)}`);
host.replaceChildren();
module.default.render({ model, el: host });
