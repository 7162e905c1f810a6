// Two methods side by side: the paired difference with its interval, who is right where the other is wrong, and where.
(() => {
  "use strict";
  const { el, value, state, setState, percent, signed, count, city, fail } = IalBench;
  const SVG = "http://www.w3.org/2000/svg";
  const app = document.getElementById("app");
  const told = value("compare");

  function svg(name, attributes, ...children) {
    const node = document.createElementNS(SVG, name);
    for (const [key, v] of Object.entries(attributes)) node.setAttribute(key, v);
    node.append(...children);
    return node;
  }

  // The pair as seen from `a`: stored once, whichever comes first.
  function pairOf(metric, a, b) {
    const found = told.metrics[metric].pairs.find((p) => (p.a === a && p.b === b) || (p.a === b && p.b === a));
    if (found.a === a) return found;
    const ci95 = found.ci95 && [-found.ci95[1], -found.ci95[0]];
    return { ...found, a, b, difference: -found.difference, ci95, aAlone: found.bAlone, bAlone: found.aAlone };
  }

  function intervalDrawing(pair) {
    const reach = Math.max(0.05, ...[pair.difference, ...(pair.ci95 ?? [])].map(Math.abs)) * 1.15;
    const x = (v) => 300 + (280 * v) / reach;
    const drawing = svg("svg", { viewBox: "0 0 600 64", class: "interval-drawing", role: "img",
      "aria-label": "the difference and its interval on a line, with no difference in the middle" });
    drawing.append(svg("line", { x1: 20, x2: 580, y1: 36, y2: 36, class: "grid" }),
      svg("line", { x1: 300, x2: 300, y1: 8, y2: 46, class: "zero" }));
    for (const [v, text] of [[-reach, signed(-reach)], [0, "0"], [reach, signed(reach)]]) {
      drawing.append(svg("text", { x: x(v), y: 61, "text-anchor": v < 0 ? "start" : v > 0 ? "end" : "middle", class: "tick" }, text));
    }
    if (pair.ci95) {
      const [low, high] = pair.ci95.map(x);
      drawing.append(svg("rect", { x: low, y: 24, width: Math.max(high - low, 1), height: 12, class: "ci" }));
    }
    drawing.append(svg("circle", { cx: x(pair.difference), cy: 30, r: 6, class: "estimate" }));
    return drawing;
  }

  function pText(p) {
    return p === null || p === undefined ? "" : p >= 0.0001 ? p.toFixed(4) : p.toExponential(1);
  }

  function runsLink(a, b, filters) {
    const runs = value("index").runs;
    const first = (g) => runs.find((r) => r.group === told.groups[g].number);
    const [ra, rb] = [first(a), first(b)];
    if (!ra || !rb) return "queries.html";
    const parts = new URLSearchParams({ runs: `${ra.id},${rb.id}` });
    parts.set(`is.${ra.id}`, filters[0]);
    parts.set(`is.${rb.id}`, filters[1]);
    return `queries.html#${parts}`;
  }

  function confusion(pair, metric, names) {
    const seeds = told.groups[pair.a].seeds > 1 || told.groups[pair.b].seeds > 1;
    const linked = metric === "SSA-1" && !seeds;
    const n = value("index").queries;
    const cell = (number, filters) => {
      const text = [count(Math.round(number)), el("span", { class: "note" }, ` ${percent(number / n)} %`)];
      return el("td", { class: "number" }, linked ? el("a", { href: runsLink(pair.a, pair.b, filters) }, text) : text);
    };
    return el("div", { class: "scroll" }, el("table", { class: "plain confusion" },
      el("thead", {}, el("tr", {}, el("th", {}, ""), el("th", { scope: "col", class: "number" }, "B right"),
        el("th", { scope: "col", class: "number" }, "B wrong"))),
      el("tbody", {},
        el("tr", {}, el("th", { scope: "row" }, `A right`), cell(pair.both, ["right", "right"]), cell(pair.aAlone, ["right", "wrong"])),
        el("tr", {}, el("th", { scope: "row" }, `A wrong`), cell(pair.bAlone, ["wrong", "right"]), cell(pair.neither, ["wrong", "wrong"])))),
    el("p", { class: "note" }, `A is ${names[0]}, B is ${names[1]}. `,
      linked ? "The numbers lead to the queries." : "",
      seeds ? "Numbers are those expected of one seed each, drawn at random." : ""));
  }

  function byPlace(metric, a, b) {
    const c = city();
    const m = told.metrics[metric];
    const rows = new Map();
    told.queriesOfStreet.forEach((n, street) => {
      if (!n) return;
      const key = c.neighbourhoodOf[street];
      const row = rows.get(key) ?? { n: 0, a: 0, b: 0 };
      row.n += n;
      row.a += m.rightOfStreet[a][street];
      row.b += m.rightOfStreet[b][street];
      rows.set(key, row);
    });
    const head = [["neighbourhood", "text"], ["queries", "number"], ["A %", "number"], ["B %", "number"], ["A − B", "number"]];
    const number = (v, text) => el("td", { class: "number", "data-value": v }, text);
    return el("table", { class: "plain", "data-name": "places" },
      el("thead", {}, el("tr", {}, head.map(([t, kind]) =>
        el("th", { scope: "col", "data-sort": kind, class: kind === "number" ? "number" : null }, t)))),
      el("tbody", {}, [...rows].sort((x, y) => y[1].n - x[1].n).map(([nb, r]) => el("tr", {},
        el("th", { scope: "row" }, c.neighbourhoods[nb]), number(r.n, count(r.n)), number(r.a / r.n, percent(r.a / r.n)),
        number(r.b / r.n, percent(r.b / r.n)), number((r.a - r.b) / r.n, signed((r.a - r.b) / r.n))))));
  }

  function chosen() {
    const at = (key, other) => {
      const i = told.groups.findIndex((g) => String(g.number) === state().get(key));
      return i < 0 ? other : i;
    };
    const a = at("a", 0);
    const b = at("b", a === 1 ? 0 : 1);
    const metrics = Object.keys(told.metrics);
    const metric = metrics.includes(state().get("metric")) ? state().get("metric") : metrics[0];
    return { a, b: b === a ? (a === 0 ? 1 : 0) : b, metric, metrics };
  }

  function field(label, name, options) {
    return el("label", { class: "field" }, el("span", {}, label),
      el("select", { name, onchange: (event) => setState({ [name]: event.target.value }) }, options));
  }

  function draw() {
    const focused = document.activeElement?.name;
    app.removeAttribute("aria-busy");
    if (told.groups.length < 2 || !Object.keys(told.metrics).length) {
      app.replaceChildren(el("p", { class: "note" }, "Fewer than two methods have answers that can be compared."));
      return;
    }
    const { a, b, metric, metrics } = chosen();
    const pair = pairOf(metric, a, b);
    const names = [told.groups[a].label, told.groups[b].label];
    const groups = (i) => told.groups.map((g, j) => el("option", { value: g.number, selected: i === j }, g.label));
    const means = told.metrics[metric].means;
    const verdict = pair.pHolm === null ? "A single place gives no interval."
      : pair.separable ? "With the correction, they differ at the 5 % level."
        : "With the correction, the data cannot tell them apart at the 5 % level.";
    const places = byPlace(metric, a, b);
    app.replaceChildren(
      el("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, el("div", { class: "fields" },
        field("A", "a", groups(a)), field("B", "b", groups(b)),
        field("metric", "metric", metrics.map((m) => el("option", { value: m, selected: m === metric }, m))),
        el("button", { type: "button", onclick: () => setState({ a: told.groups[b].number, b: told.groups[a].number }) }, "Swap"))),
      el("section", {}, el("h2", {}, `A − B: ${signed(pair.difference)} points of ${metric}`),
        el("p", {}, `A, ${names[0]}: ${percent(means[a])} %. B, ${names[1]}: ${percent(means[b])} %. `,
          pair.ci95 ? `95 % interval of the difference: ${signed(pair.ci95[0])} to ${signed(pair.ci95[1])}. ` : "",
          pair.p === null ? "" : `p = ${pText(pair.p)}, with Holm's correction over all pairs ${pText(pair.pHolm)}. `,
          el("strong", {}, verdict)),
        intervalDrawing(pair),
        el("p", { class: "note" }, "Places get signs at random, both methods on the same queries.")),
      el("section", {}, el("h2", {}, "Right and wrong"), confusion(pair, metric, names)),
      el("section", { id: "places" }, el("h2", {}, "By neighbourhood"),
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "By neighbourhood" }, places)));
    IalTable.prepare(document.getElementById("places"));
    if (focused) app.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
  }

  try {
    window.addEventListener("hashchange", draw);
    draw();
  } catch (error) {
    fail(error);
  }
})();
