// What all pages of a dataset share: its data, loaded when asked for; the state in the address; elements.
"use strict";

const IalBench = (() => {
  const MOST_CHUNKS = 240; // of queries and answers kept in memory
  const values = new Map();
  const loading = new Map();
  const chunks = [];

  // Called by every file of data.
  function put(key, value) {
    values.set(key, value);
  }

  // The value of data/KEY.js, loaded once. A chunk that is not looked at any more is forgotten.
  function load(key) {
    if (values.has(key)) return Promise.resolve(values.get(key));
    if (!loading.has(key)) {
      loading.set(key, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `data/${key}.js`;
        script.onload = () => {
          script.remove();
          loading.delete(key);
          if (!values.has(key)) return reject(new Error(`data/${key}.js is damaged`));
          if (/-\d+$/.test(key) && /^(queries|answers)-/.test(key)) forget(key);
          return resolve(values.get(key));
        };
        script.onerror = () => {
          script.remove();
          loading.delete(key);
          reject(new Error(`data/${key}.js is missing from the report`));
        };
        document.head.append(script);
      }));
    }
    return loading.get(key);
  }

  function forget(newest) {
    chunks.push(newest);
    while (chunks.length > MOST_CHUNKS) values.delete(chunks.shift());
  }

  const ARRAYS = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };

  // Packed numbers as a typed array. Unpacked once.
  function unpack(packed) {
    if (!packed.array) {
      const text = atob(packed.data);
      const bytes = new Uint8Array(text.length);
      for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
      packed.array = new ARRAYS[packed.kind](bytes.buffer);
      delete packed.data;
    }
    return packed.array;
  }

  // An element. Texts become text, never markup; false, null and undefined are left out.
  function el(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key in node && typeof value === "boolean") node[key] = value;
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
    return node;
  }

  // What stands behind the # of the page's address, as a Map; the order of keys is kept.
  function state() {
    return new Map(new URLSearchParams(location.hash.slice(1)));
  }

  // Sets some of it; empty values are taken out. The page is told by the event "hashchange".
  function setState(changes, { replace = false } = {}) {
    const next = state();
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") next.delete(key);
      else next.set(key, String(value));
    }
    const hash = `#${new URLSearchParams([...next])}`;
    if (hash === location.hash || (hash === "#" && !location.hash)) return;
    if (replace) location.replace(hash);
    else location.hash = hash;
  }

  const count = (n) => n.toLocaleString("en-US");
  const percent = (fraction, digits = 1) => (100 * fraction).toFixed(digits);
  const signed = (fraction) => `${fraction < 0 ? "−" : "+"}${Math.abs(100 * fraction).toFixed(1)}`;

  // Shows an error in the page instead of leaving it empty.
  function fail(error) {
    const app = document.getElementById("app");
    app.removeAttribute("aria-busy");
    app.prepend(el("p", { class: "problem", role: "alert" }, `This part of the report cannot be shown: ${error.message}.`));
  }

  return { put, load, unpack, el, state, setState, count, percent, signed, fail, value: (key) => values.get(key) };
})();
