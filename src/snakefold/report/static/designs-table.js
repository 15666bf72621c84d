"use strict";

/* The table of designs. Only the rows in sight are in the document, however many there are. */
(() => {
  const { node, number } = snakefold;
  const HEIGHT = 36;
  const known = (value) => value !== undefined && value !== null && value !== "";
  const percent = (value) => (known(value) ? `${(100 * value).toFixed(0)} %` : "–");

  const PASSES = new Map([[true, ["✓", "passes", "pass"]], [false, ["✗", "does not pass", "quiet"]], [null, ["–", "not known", "quiet"]]]);

  function verdict(row) {
    const [mark, text, kind] = PASSES.get(row.passes);
    return [node("span", { class: kind, "aria-hidden": "true", title: text }, mark), node("span", { class: "hidden" }, text)];
  }

  const numeric = (title, name, digits, width = 66) => ({ title, name, width, number: true, value: (row) => row[name], show: (row) => number(row[name], digits) });
  const share = (title, name, width = 72) => ({ title, name, width, number: true, value: (row) => row[name], show: (row) => percent(row[name]) });

  const COLUMNS = [
    { title: "Design", name: "id", width: 220, value: (row) => row.id,
      show: (row) => node("a", { href: `#/${row.id}`, class: "name line", title: row.id }, row.id) },
    { title: "Passes", name: "passes", width: 62, number: true, value: (row) => (row.passes === null ? null : Number(row.passes)), show: verdict },
    numeric("scRMSD, Å", "sc_rmsd", 2, 78), numeric("designed, Å", "sc_rmsd_designed", 2, 84), numeric("motif, Å", "sc_rmsd_motif", 2),
    numeric("scTM", "sc_tm", 3), numeric("control TM", "control_tm", 3, 84), numeric("pLDDT", "mean_plddt", 1), numeric("pTM", "ptm", 2), numeric("ipTM", "iptm", 2),
    share("Recovery", "recovery"), numeric("Score", "score", 3), share("Identity", "identity"),
    share("Nearest", "nearest_identity"), share("covers", "nearest_coverage", 62),
    { title: "Nearest sequence", name: "nearest", width: 150, value: (row) => row.nearest ?? "",
      show: (row) => known(row.nearest) && node("bdi", { class: "line", title: `${row.nearest}, chain ${row.nearest_chain}` }, row.nearest) },
    numeric("T", "temperature", 2, 48),
    { title: "Target", name: "open", width: 62, still: true, value: (row) => row.open,
      show: (row) => (row.open ? node("a", { href: `index.html#/${row.id}`, "aria-label": `Page of ${row.id}` }, "page") : "–") },
  ];

  function render(column) {
    return (_, type, row) => {
      if (type === "display") return node("div", {}, ...[column.show(row)].flat().filter(Boolean));
      if (type === "filter") return column.name === "id" ? `${row.id} ${row.nearest ?? ""}` : "";
      return column.value(row) ?? (column.number ? -Infinity : "");
    };
  }

  /** Rows in sight are numbered, for those who cannot see how many there are. */
  function announce(table, element) {
    const { start, recordsDisplay } = table.page.info();
    element.setAttribute("aria-rowcount", recordsDisplay + 1);
    table.rows({ page: "current", search: "applied", order: "applied" }).nodes().toArray()
      .forEach((line, place) => line.setAttribute("aria-rowindex", start + place + 2));
  }

  /** Draw the table; what the rest of the page does with it is returned. `meanings` of columns, by name. */
  snakefold.drawDesignTable = (rows, meanings) => {
    const says = (row, name) => known(row[name]) && row[name] !== 0 && !(name === "sc_rmsd_designed" && row[name] === row.sc_rmsd);
    const columns = COLUMNS.filter(({ name }) => ["id", "passes"].includes(name) || rows.some((row) => says(row, name)));
    const element = document.getElementById("designs-table");
    let marked = null;
    element.append(
      node("caption", { class: "hidden" }, "Designs: one row for each"),
      node("thead", {}, node("tr", {}, columns.map((column) => node("th", { title: meanings[column.name], scope: "col" }, column.title)))));
    const table = new DataTable(element, {
      data: rows,
      columns: columns.map((column) => ({
        data: null, type: column.number ? "num" : "string", className: column.number ? "number" : "", render: render(column), width: `${column.width}px`,
        searchable: column.name === "id", orderable: !column.still, orderSequence: ["asc", "desc", ""],
      })),
      order: [], autoWidth: false, deferRender: true,
      scrollX: true, scrollY: `${Math.min(Math.max(rows.length, 1), 12) * HEIGHT + 2}px`, scrollCollapse: true,
      scroller: { rowHeight: HEIGHT, displayBuffer: 4 },
      createdRow: (line, row) => { line.dataset.id = row.id; line.classList.toggle("found", row.id === marked); },
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: null },
      language: { emptyTable: "There is no design.", zeroRecords: "No design matches.", info: "Rows _START_ to _END_ of _TOTAL_", infoEmpty: "No rows", infoFiltered: "(filtered from _MAX_)" },
    });
    const body = element.closest(".dt-scroll-body");
    body.tabIndex = 0;
    body.setAttribute("role", "region");
    body.setAttribute("aria-label", "Rows of designs: scroll with the arrow keys");
    table.on("draw", () => announce(table, element));

    return {
      /** Rows that the filters leave, as they are sorted. */
      shown: () => table.rows({ search: "applied", order: "applied" }).data().toArray(),
      /** `test(row)` decides what is shown besides the search; `changed`: what passes has changed. */
      filter(text, test, changed) {
        if (changed) table.rows().invalidate("data");
        table.search.fixed("filters", (_, row) => test(row));
        table.search(text).draw();
      },
      /** Mark the row of a design. */
      mark(row) {
        marked = row.id;
        body.querySelector("tr.found")?.classList.remove("found");
        body.querySelector(`tr[data-id="${CSS.escape(row.id)}"]`)?.classList.add("found");
      },
    };
  };
})();
