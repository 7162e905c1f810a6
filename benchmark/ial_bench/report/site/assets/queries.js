// The query browser: filters, pages of cards, links to each of them. What is shown follows from the page's address.
(() => {
  "use strict";
  const { el, value, state, setState, query, card, chosenRuns, matching, filterPanel, swap, count, fail } = IalBench;
  const SIZES = [10, 20, 50];
  const MOST_RUNS = 12;

  const app = document.getElementById("app");
  let filters = el("div");
  const status = el("p", { class: "status", role: "status", "aria-live": "polite" });
  const list = el("div", { class: "cards" });
  const pagers = [el("nav", { class: "pager", "aria-label": "Pages of queries" }),
    el("nav", { class: "pager", "aria-label": "Pages of queries, below" })];
  let turn = 0;
  let pages = 1;

  function pageSize() {
    const asked = Number(state().get("size"));
    return SIZES.includes(asked) ? asked : SIZES[0];
  }

  function pageNumber() {
    return Math.min(Math.max(1, Math.floor(Number(state().get("page")) || 1)), pages);
  }

  function go(page) {
    setState({ page: page === 1 ? null : page, q: null });
    window.scrollTo(0, 0);
  }

  function drawPagers() {
    const page = pageNumber();
    for (const pager of pagers) {
      const focused = [...pager.children].indexOf(document.activeElement);
      pager.replaceChildren(
        el("button", { type: "button", disabled: page <= 1, onclick: () => go(1) }, "First"),
        el("button", { type: "button", disabled: page <= 1, onclick: () => go(page - 1), class: "previous" }, "Previous"),
        el("label", {}, "page ", el("input", {
          type: "number", min: 1, max: pages, value: page, "aria-label": "page",
          onchange: (event) => go(Math.min(Math.max(1, Math.floor(Number(event.target.value) || 1)), pages)),
        }), ` of ${count(pages)}`),
        el("button", { type: "button", disabled: page >= pages, onclick: () => go(page + 1), class: "next" }, "Next"),
        el("button", { type: "button", disabled: page >= pages, onclick: () => go(pages) }, "Last"),
        el("label", {}, el("select", {
          "aria-label": "queries a page", onchange: (event) => setState({ size: event.target.value, page: null, q: null }),
        }, SIZES.map((s) => el("option", { value: s, selected: s === pageSize() }, `${s} a page`)))));
      if (focused >= 0 && !pager.children[focused].disabled) pager.children[focused].focus();
    }
  }

  function links(i) {
    const here = state();
    const own = new URLSearchParams();
    if (here.has("runs")) own.set("runs", here.get("runs"));
    own.set("q", i + 1);
    const only = el("a", { href: `#${own}` }, "link to this query");
    const onMap = el("a", { href: `map.html#${own}` }, "on the map");
    return [only, " · ", onMap];
  }

  // The single query that the address names, counted from 1; null where it names none.
  function single() {
    const asked = state().get("q");
    if (asked === null || asked === undefined) return null;
    const i = Math.floor(Number(asked)) - 1;
    return i >= 0 && i < value("index").queries ? i : null;
  }

  async function draw() {
    const mine = ++turn;
    const runs = chosenRuns(MOST_RUNS);
    filters = swap(filters, filterPanel(runs, { open: window.innerWidth > 700 }));
    app.setAttribute("aria-busy", "true");
    const one = single();
    const found = one === null ? await matching(runs) : Int32Array.of(one);
    if (mine !== turn) return;
    pages = Math.max(1, Math.ceil(found.length / pageSize()));
    const start = (pageNumber() - 1) * pageSize();
    const shown = [...found.subarray(start, start + pageSize())];
    const queries = await Promise.all(shown.map((i) => query(i, runs)));
    if (mine !== turn) return; // another page was asked for meanwhile
    const all = value("index").queries;
    status.replaceChildren(one === null
      ? `${count(found.length)} of ${count(all)} queries`
      : `Query ${count(one + 1)} of ${count(all)} alone. `,
    one === null ? "" : el("a", { href: `#${backAddress()}` }, "Show all"));
    list.replaceChildren(...queries.map((q, n) => card(q, links(q.i), n < 4)));
    if (!queries.length) list.append(el("p", { class: "empty" }, "No query is like that. Take a filter back."));
    for (const pager of pagers) pager.hidden = one !== null;
    drawPagers();
    app.removeAttribute("aria-busy");
    performance.mark("ial-shown");
  }

  function backAddress() {
    const back = new URLSearchParams([...state()]);
    back.delete("q");
    return back.toString() || "page=1";
  }

  function keys(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || single() !== null) return;
    if (event.key === "ArrowRight" && pageNumber() < pages) go(pageNumber() + 1);
    if (event.key === "ArrowLeft" && pageNumber() > 1) go(pageNumber() - 1);
  }

  app.append(filters, el("div", { class: "bar-line" }, status, pagers[0]), list, pagers[1]);
  window.addEventListener("hashchange", () => draw().catch(fail));
  document.addEventListener("keydown", keys);
  draw().catch(fail);
})();
