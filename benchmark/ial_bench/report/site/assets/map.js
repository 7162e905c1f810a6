// The city map: streets, the queries coloured by what one method made of them, and the answers to a chosen one.
(() => {
  "use strict";
  const { el, load, unpack, value, state, setState, query, card, kindOf, kindOfAnswer, OUTCOMES, chosenRuns, matching,
    filterPanel, swap, count, fail, Plane, View } = IalBench;
  const ORDER = ["right", "listed", "street", "wrong"];
  const DRAWN = { right: "●", listed: "○", street: "□", wrong: "✕" };
  const SLICES = 64;
  const MOST_ARROWS = 3000;
  const NEAR_PX = 14;

  const app = document.getElementById("app");
  const canvas = el("canvas", { tabindex: "0", role: "application",
    "aria-label": "map: arrow keys move, plus and minus zoom, 0 shows all, n and p go through the queries" });
  const status = el("p", { class: "status", role: "status", "aria-live": "polite" });
  const panel = el("div", { class: "chosen" });
  const arrows = el("input", { type: "checkbox", onchange: () => setState({ lines: arrows.checked ? 1 : null }) });
  let filters = el("div");
  let turn = 0;
  let colours = {};
  let view;
  const shown = { found: new Int32Array(0), outcome: null, first: null, chosen: null };
  const plane = {};

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of [...ORDER, "ink", "road", "faint", "paper", "truth"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  async function prepare() {
    const index = value("index");
    const [points, lines] = await Promise.all([load("points"), index.hasLines ? load("lines") : null]);
    const lat = unpack(points.lat);
    const lon = unpack(points.lon);
    plane.plane = new Plane(lat, lon);
    plane.queries = plane.plane.project(lat, lon);
    plane.candidates = plane.plane.project(unpack(points.candidateLat), unpack(points.candidateLon));
    if (lines) {
      plane.lines = plane.plane.project(unpack(lines.lat), unpack(lines.lon));
      plane.starts = unpack(lines.starts);
      plane.lineAddress = unpack(lines.address);
    }
  }

  function tracePath(context, line) {
    for (let i = plane.starts[line]; i < plane.starts[line + 1]; i++) {
      const [x, y] = view.toScreen(plane.lines.x[i], plane.lines.y[i]);
      if (i === plane.starts[line]) context.moveTo(x, y);
      else context.lineTo(x, y);
    }
  }

  function paintStreets(context) {
    if (!plane.lines) {
      context.fillStyle = colours.road;
      for (let i = 0; i < plane.candidates.x.length; i++) {
        const [x, y] = view.toScreen(plane.candidates.x[i], plane.candidates.y[i]);
        context.fillRect(x - 2, y - 2, 4, 4);
      }
      return;
    }
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = colours.road;
    context.lineWidth = Math.min(Math.max(8 * view.scale, 1), 14);
    context.beginPath();
    for (let line = 0; line < plane.lineAddress.length; line++) tracePath(context, line);
    context.stroke();
  }

  function inView(x, y) {
    return x > -20 && y > -20 && x < view.width + 20 && y < view.height + 20;
  }

  // Queries. Far out a pixel or two each, in an order that no outcome is favoured by where many fall on one pixel;
  // close up a mark that does not depend on colour, the wrong ones on top.
  function paintQueries(context) {
    const { found, outcome } = shown;
    const spread = Math.sqrt((view.width * view.height) / Math.max(found.length, 1)) * (view.scale / view.home.scale);
    const size = Math.min(Math.max(spread / 4, 1.5), 9);
    const slices = size < 4 ? SLICES : 1;
    const buckets = Array.from({ length: slices * ORDER.length }, () => []);
    for (const i of found) {
      const [x, y] = view.toScreen(plane.queries.x[i], plane.queries.y[i]);
      if (!inView(x, y)) continue;
      const slice = (Math.imul(i, 2654435761) >>> 16) % slices;
      buckets[slice * ORDER.length + ORDER.indexOf(kindOf(outcome[i]))].push(x, y);
    }
    context.lineWidth = Math.max(1.5, size / 4);
    buckets.forEach((points, bucket) => {
      const kind = ORDER[bucket % ORDER.length];
      context.fillStyle = context.strokeStyle = colours[kind];
      if (size < 4) {
        for (let j = 0; j < points.length; j += 2) {
          context.fillRect(points[j] - size / 2, points[j + 1] - size / 2, size, size);
        }
        return;
      }
      context.beginPath();
      for (let j = 0; j < points.length; j += 2) traceMark(context, kind, points[j], points[j + 1], size / 2);
      if (kind === "right") context.fill();
      else context.stroke();
    });
  }

  function traceMark(context, kind, x, y, r) {
    if (kind === "wrong") {
      context.moveTo(x - r, y - r);
      context.lineTo(x + r, y + r);
      context.moveTo(x - r, y + r);
      context.lineTo(x + r, y - r);
    } else if (kind === "street") {
      context.rect(x - r, y - r, 2 * r, 2 * r);
    } else {
      context.moveTo(x + r, y);
      context.arc(x, y, r, 0, 2 * Math.PI);
    }
  }

  // From each wrong query to the address it was given.
  function paintArrows(context) {
    const { found, outcome, first } = shown;
    context.strokeStyle = colours.wrong;
    context.globalAlpha = 0.45;
    context.lineWidth = 1;
    context.beginPath();
    let drawn = 0;
    for (const i of found) {
      if (kindOf(outcome[i]) === "right" || first[i] < 0) continue;
      const [x, y] = view.toScreen(plane.queries.x[i], plane.queries.y[i]);
      if (!inView(x, y)) continue;
      if (++drawn > MOST_ARROWS) break;
      context.moveTo(x, y);
      context.lineTo(...view.toScreen(plane.candidates.x[first[i]], plane.candidates.y[first[i]]));
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  function paintAddress(context, address, colour, width) {
    if (!plane.lines) return;
    context.strokeStyle = colour;
    context.lineWidth = Math.max(width, Math.min(10 * view.scale, 16));
    context.beginPath();
    for (let line = 0; line < plane.lineAddress.length; line++) {
      if (plane.lineAddress[line] === address) tracePath(context, line);
    }
    context.stroke();
  }

  function paintChosen(context) {
    const q = shown.chosen;
    if (!q) return;
    const here = view.toScreen(plane.queries.x[q.i], plane.queries.y[q.i]);
    const answer = q.answers[0];
    const places = answer.list.map((a) => a.candidate).filter((c) => c >= 0);
    const at = (c) => view.toScreen(plane.candidates.x[c], plane.candidates.y[c]);
    const aimed = answer.position ? plane.plane.point(...answer.position) : null;
    const to = aimed ? view.toScreen(aimed.x, aimed.y) : places.length ? at(places[0]) : null;
    if (to) {
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.setLineDash([6, 4]);
      context.beginPath();
      context.moveTo(...here);
      context.lineTo(...to);
      context.stroke();
      context.setLineDash([]);
    }
    context.font = "bold 12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    places.map((c, j) => [c, j]).reverse().forEach(([c, j]) => {
      const [x, y] = at(c);
      context.fillStyle = colours[kindOfAnswer(q, c)];
      context.beginPath();
      context.arc(x, y, 10, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = colours.paper;
      context.fillText(j + 1, x, y);
    });
    context.textBaseline = "alphabetic";
    context.fillStyle = colours.ink;
    context.strokeStyle = colours.paper;
    context.lineWidth = 3;
    context.beginPath();
    context.arc(...here, 7, 0, 2 * Math.PI);
    context.stroke();
    context.fill();
    paintHeading(context, q, here);
  }

  function paintHeading(context, q, [x, y]) {
    if (Number.isNaN(q.heading)) return;
    const a = (q.heading * Math.PI) / 180;
    context.strokeStyle = colours.ink;
    context.lineWidth = 2.5;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + 22 * Math.sin(a), y - 22 * Math.cos(a));
    context.stroke();
  }

  function paint(context) {
    if (!plane.queries || !shown.outcome) return;
    paintStreets(context);
    if (shown.chosen) paintAddress(context, shown.chosen.address, colours.truth, 4);
    if (shown.first) paintArrows(context);
    paintQueries(context);
    paintChosen(context);
    view.paintScale(context, colours.ink);
  }

  function pick(px, py) {
    let best = NEAR_PX ** 2;
    let nearest = null;
    for (const i of shown.found) {
      const [x, y] = view.toScreen(plane.queries.x[i], plane.queries.y[i]);
      const apart = (x - px) ** 2 + (y - py) ** 2;
      if (apart < best) [best, nearest] = [apart, i];
    }
    setState({ q: nearest === null ? null : nearest + 1 });
  }

  // n and p: the next and the previous query of those that fit.
  function step(by) {
    const { found, chosen } = shown;
    if (!found.length) return;
    const at = chosen ? found.findIndex((i) => i >= chosen.i) : by > 0 ? -1 : found.length;
    const next = found[(at + by + found.length) % found.length];
    setState({ q: next + 1 });
  }

  async function draw(first) {
    const mine = ++turn;
    const [run] = chosenRuns(1);
    filters = swap(filters, filterPanel([run], { single: true }));
    arrows.checked = state().get("lines") === "1";
    const asked = Math.floor(Number(state().get("q"))) - 1;
    const i = state().has("q") && asked >= 0 && asked < value("index").queries ? asked : null;
    const [found, outcome, firsts, q] = await Promise.all([
      matching([run]), load(`outcome-${run.number}`), arrows.checked ? load(`first-${run.number}`) : null,
      i === null ? null : query(i, [run]),
    ]);
    if (mine !== turn) return;
    Object.assign(shown, { found, outcome: unpack(outcome.outcome), first: firsts && unpack(firsts.first), chosen: q });
    status.textContent = `${count(found.length)} of ${count(value("index").queries)} queries`;
    const here = q && new URLSearchParams({ runs: run.id, q: q.i + 1 });
    panel.replaceChildren(...(q ? [card(q, [el("a", { href: `queries.html#${here}` }, "in the query browser")], true),
      el("button", { type: "button", onclick: () => setState({ q: null }) }, "Close")]
      : [el("p", { class: "note" }, "Click a query to see its photo and the answers.")]));
    if (first) view.fit(plane.queries.x, plane.queries.y);
    if (q && (first || !inSight(q.i))) reveal(q);
    view.redraw();
    app.removeAttribute("aria-busy");
    performance.mark("ial-shown");
  }

  function inSight(i) {
    const [x, y] = view.toScreen(plane.queries.x[i], plane.queries.y[i]);
    return x > 20 && y > 20 && x < view.width - 20 && y < view.height - 20;
  }

  // Moves so that a query and its first answer are seen.
  function reveal(q) {
    const c = q.answers[0].list[0].candidate;
    const xs = [plane.queries.x[q.i], c >= 0 ? plane.candidates.x[c] : plane.queries.x[q.i]];
    const ys = [plane.queries.y[q.i], c >= 0 ? plane.candidates.y[c] : plane.queries.y[q.i]];
    if (xs.some(Number.isNaN) || ys.some(Number.isNaN)) return;
    const [w, h] = [Math.abs(xs[0] - xs[1]), Math.abs(ys[0] - ys[1])];
    const scale = Math.min((0.6 * view.width) / Math.max(w, 150), (0.6 * view.height) / Math.max(h, 150));
    view.move({ x: (xs[0] + xs[1]) / 2, y: (ys[0] + ys[1]) / 2, scale });
  }

  function legend() {
    return el("ul", { class: "legend" }, ORDER.map((kind) =>
      el("li", { class: kind }, el("span", { class: "mark" }, DRAWN[kind]), ` ${OUTCOMES[kind].said}`)));
  }

  async function start() {
    readColours();
    const button = (label, text, action) => el("button", { type: "button", "aria-label": label, onclick: action }, text);
    const buttons = el("div", { class: "zoom" }, button("zoom in", "+", () => view.zoom(1.5)),
      button("zoom out", "−", () => view.zoom(1 / 1.5)), button("show all", "⤢", () => view.goHome()));
    app.append(filters, el("div", { class: "bar-line" }, status, el("label", {}, arrows, " lines from wrong queries to their answers")),
      el("div", { class: "map" }, el("div", { class: "canvas" }, canvas, buttons), panel), legend());
    view = new View(canvas, paint, pick);
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "n") step(1);
      if (event.key === "p") step(-1);
    });
    await prepare();
    await draw(true);
  }

  const recolour = () => {
    readColours();
    view?.redraw();
  };
  document.addEventListener("themechange", recolour);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  window.addEventListener("hashchange", () => draw(false).catch(fail));
  start().catch(fail);
})();
