// Which runs are shown, and which queries: the panel that the query browser and the map share.
(() => {
  "use strict";
  const { el, load, unpack, value, state, setState, SAME_STREET, city, count, percent } = IalBench;

  const TESTS = {
    right: { said: "right", test: (o) => (o & 127) === 1 },
    wrong: { said: "wrong", test: (o) => (o & 127) !== 1 },
    near: { said: "wrong, but on the right street", test: (o) => (o & 127) !== 1 && (o & SAME_STREET) !== 0 },
    far: { said: "wrong street", test: (o) => (o & 127) !== 1 && (o & SAME_STREET) === 0 },
    listed: { said: "right one further down", test: (o) => (o & 127) > 1 },
    missed: { said: "right one not listed", test: (o) => (o & 127) === 0 },
  };
  const AGREEMENT = { disagree: "methods disagree", "all-right": "all right", "all-wrong": "all wrong" };

  // The runs named in the address, else the best ones. Each has a number, an id, a label.
  function chosenRuns(most) {
    const all = value("index").runs;
    const wanted = state().get("runs");
    if (wanted) {
      const found = wanted.split(",").map((id) => all.find((r) => r.id === id)).filter(Boolean);
      if (found.length) return [...new Set(found)].slice(0, most);
    }
    const firsts = all.filter((r, i) => all.findIndex((other) => other.group === r.group) === i);
    const ranked = firsts.filter((r) => !r.oracle);
    return (ranked.length ? ranked : firsts).slice(0, Math.min(most, 3));
  }

  function places() {
    const c = city();
    const nb = c.neighbourhoods.indexOf(state().get("nb") ?? "");
    const st = state().get("st") ?? "";
    const street = c.streets.findIndex((s, i) => s === st && (nb < 0 || c.neighbourhoodOf[i] === nb));
    return { nb, street };
  }

  // The numbers of the queries that fit what the address asks for, in order.
  async function matching(runs) {
    const { nb, street } = places();
    const asked = state();
    const [where, ...columns] = await Promise.all([load("where"), ...runs.map((r) => load(`outcome-${r.number}`))]);
    const addresses = unpack(where.address);
    const outcomes = columns.map((c) => unpack(c.outcome));
    const tests = runs.map((r, j) => [outcomes[j], TESTS[asked.get(`is.${r.id}`)]?.test]).filter(([, test]) => test);
    const agreement = asked.get("agree");
    const c = city();
    const n = value("index").queries;
    const found = new Int32Array(n);
    let size = 0;
    for (let i = 0; i < n; i++) {
      if (street >= 0 ? c.streetOf[addresses[i]] !== street
        : nb >= 0 && c.neighbourhoodOf[c.streetOf[addresses[i]]] !== nb) continue;
      if (tests.some(([column, test]) => !test(column[i]))) continue;
      if (agreement) {
        let right = 0;
        for (const column of outcomes) right += (column[i] & 127) === 1;
        if (agreement === "disagree" && (right === 0 || right === outcomes.length)) continue;
        if (agreement === "all-right" && right < outcomes.length) continue;
        if (agreement === "all-wrong" && right > 0) continue;
      }
      found[size++] = i;
    }
    return found.subarray(0, size);
  }

  function option(text, chosen, label = text) {
    return el("option", { value: text, selected: text === chosen }, label);
  }

  function select(label, options, onchange, name) {
    return el("label", { class: "field" }, el("span", {}, label), el("select", { onchange, name }, options));
  }

  function testSelect(run, attributes) {
    const asked = state().get(`is.${run.id}`) ?? "";
    return el("select", {
      ...attributes, onchange: (event) => setState({ [`is.${run.id}`]: event.target.value, page: null, q: null }),
    }, option("", asked, "right or wrong"), Object.entries(TESTS).map(([key, t]) => option(key, asked, t.said)));
  }

  function runChoice(run, runs) {
    const shown = runs.includes(run);
    const box = el("input", {
      type: "checkbox", name: "run", checked: shown,
      onchange: () => {
        const next = value("index").runs.filter((r) => (r === run ? box.checked : runs.includes(r)));
        if (next.length) setState({ runs: next.map((r) => r.id).join(","), page: null, q: null });
        else box.checked = true; // one is always shown
      },
    });
    return el("li", {},
      el("label", {}, box, ` ${run.label} `, el("span", { class: "note" }, `${percent(run.right)} %`)),
      shown && testSelect(run, { "aria-label": `show queries where ${run.label} is` }));
  }

  function singleFields(run) {
    const runs = value("index").runs;
    const methods = select("method", runs.map((r) => option(r.id, run.id, `${r.label} (${percent(r.right)} %)`)),
      (event) => setState({ runs: event.target.value, page: null }), "run");
    return [methods, el("label", { class: "field" }, el("span", {}, "it is"), testSelect(run, { name: "is" }))];
  }

  function placeFields() {
    const c = city();
    const { nb, street } = places();
    const areas = select("neighbourhood", [
      el("option", { value: "" }, "all"),
      c.neighbourhoods.map((n, i) => el("option", { value: n, selected: i === nb }, n)),
    ], (event) => setState({ nb: event.target.value, st: null, page: null, q: null }), "nb");
    const streets = [];
    c.streets.forEach((name, i) => {
      if (nb >= 0 && c.neighbourhoodOf[i] !== nb) return;
      const label = nb >= 0 ? name : `${name}, ${c.neighbourhoods[c.neighbourhoodOf[i]]}`;
      streets.push(el("option", { value: i, selected: i === street }, label));
    });
    const field = select("street", [el("option", { value: "" }, "all"), streets], (event) => {
      const i = event.target.value;
      const changes = i === "" ? { st: null } : { st: c.streets[i], nb: c.neighbourhoods[c.neighbourhoodOf[i]] };
      setState({ ...changes, page: null, q: null });
    }, "st");
    return [areas, field];
  }

  // The panel as it stands for the present address.
  function panel(runs, { single = false, open = true } = {}) {
    const agree = state().get("agree") ?? "";
    const all = value("index").runs;
    return el("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      !single && el("details", { class: "runs", open },
        el("summary", {}, `Methods shown: ${runs.length} of ${count(all.length)}`),
        el("ul", {}, all.map((run) => runChoice(run, runs)))),
      el("div", { class: "fields" },
        single ? singleFields(runs[0]) : select("together", [option("", agree, "right or wrong"),
          Object.entries(AGREEMENT).map(([key, said]) => option(key, agree, said))],
        (event) => setState({ agree: event.target.value, page: null, q: null }), "agree"),
        placeFields(),
        el("button", { type: "button", class: "clear", onclick: clear }, "Show all queries")));
  }

  function clear() {
    const changes = { nb: null, st: null, agree: null, page: null, q: null };
    for (const key of state().keys()) if (key.startsWith("is.")) changes[key] = null;
    setState(changes);
  }

  // Puts `next` where `old` stands, and the focus where it was.
  function swap(old, next) {
    const controls = (root) => [...root.querySelectorAll("input, select, button, summary")];
    const at = controls(old).indexOf(document.activeElement);
    const opened = old.querySelector("details")?.open;
    old.replaceWith(next);
    if (opened !== undefined && next.querySelector("details")) next.querySelector("details").open = opened;
    if (at >= 0) controls(next)[at]?.focus();
    return next;
  }

  Object.assign(IalBench, { chosenRuns, matching, filterPanel: panel, swap });
})();
