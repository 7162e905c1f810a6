// Tables that sort by a click on a heading, and whose columns can be chosen. The state is kept in the address.
(() => {
  "use strict";

  const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function cellValue(row, index, kind) {
    const cell = row.cells[index];
    if (!cell) return null;
    if (kind === "text") return cell.textContent.trim();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  // Rows are sorted within each body: what is not ranked stays below what is. Empty cells go last either way.
  function sortBy(table, header, descending) {
    const index = header.cellIndex;
    const kind = header.dataset.sort;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
      const keyed = rows.map((row, i) => ({ row, i, value: cellValue(row, index, kind) }));
      keyed.sort((a, b) => {
        if (a.value === null || b.value === null || a.value === "" || b.value === "") {
          const empty = (v) => (v === null || v === "" ? 1 : 0);
          return empty(a.value) - empty(b.value) || a.i - b.i;
        }
        const order = kind === "text" ? COLLATOR.compare(a.value, b.value) : a.value - b.value;
        return (descending ? -order : order) || a.i - b.i;
      });
      body.append(...keyed.map((k) => k.row));
    }
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  function makeSortable(table) {
    for (const header of table.tHead.rows[0].cells) {
      if (!header.dataset.sort) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const now = header.getAttribute("aria-sort");
        const first = header.dataset.sort === "number" && !("low" in header.dataset);
        const descending = now === null ? first : now === "ascending";
        sortBy(table, header, descending);
        if (table.id) remember({ [`sort.${table.dataset.name}`]: `${descending ? "-" : ""}${header.dataset.key}` });
      });
    }
  }

  function remember(changes) {
    const next = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) next.delete(key);
      else next.set(key, value);
    }
    history.replaceState(null, "", `#${next}`);
  }

  function show(table, index, shown) {
    for (const row of table.rows) {
      if (row.cells.length > 1 && row.cells[index]) row.cells[index].hidden = !shown;
    }
  }

  function makeChoosable(choices) {
    const table = document.getElementById(choices.dataset.columnsOf);
    const headers = [...table.tHead.rows[0].cells].filter((h) => h.dataset.key !== "method");
    const wanted = new URLSearchParams(location.hash.slice(1)).get(`columns.${table.dataset.name}`);
    const chosen = wanted === null ? null : new Set(wanted.split("|"));
    for (const header of headers) {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = chosen ? chosen.has(header.dataset.key) : !("hidden" in header.dataset);
      show(table, header.cellIndex, box.checked);
      box.addEventListener("change", () => {
        show(table, header.cellIndex, box.checked);
        const boxes = [...choices.querySelectorAll("input")];
        const shown = headers.filter((h, i) => boxes[i].checked).map((h) => h.dataset.key);
        remember({ [`columns.${table.dataset.name}`]: shown.join("|") });
      });
      const label = document.createElement("label");
      label.append(box, ` ${header.textContent}`);
      choices.append(label);
    }
  }

  function applySorting(table) {
    const wanted = new URLSearchParams(location.hash.slice(1)).get(`sort.${table.dataset.name}`);
    if (!wanted || !table.id) return;
    const key = wanted.replace(/^-/, "");
    const header = [...table.tHead.rows[0].cells].find((h) => h.dataset.key === key && h.dataset.sort);
    if (header) sortBy(table, header, wanted.startsWith("-"));
  }

  function prepare(root) {
    for (const choices of root.querySelectorAll("[data-columns-of]")) makeChoosable(choices);
    for (const table of root.querySelectorAll("table[data-name]")) {
      makeSortable(table);
      applySorting(table);
    }
  }

  prepare(document);
  window.IalTable = { prepare };
})();
