"use strict";

/* The table of targets, and which view is open: an address that ends in #/<id> is the target's; without the
   slash an id could be that of a section. */
(() => {
  const { node, number, BANDS } = snakefold;
  let run = { rows: [], rehearsal: false };

  const numeric = (title, name, digits, hint) => ({
    title, name, hint, className: "number", type: "num",
    value: (row) => row[name],
    show: (row) => number(row[name], digits),
  });

  function bar(row) {
    const shares = BANDS.map((item) => ({ ...item, share: row[`fraction_${item.name.replace("-", "_")}`] ?? 0 }));
    const text = shares.map((item) => `${item.label} ${Math.round(100 * item.share)} %`).join(", ");
    return node("span", { class: "bar", role: "img", "aria-label": text, title: text },
      shares.map((item) => node("i", { class: item.name, style: `width:${100 * item.share}%` })));
  }

  function identity(row) {
    const name = row.open
      ? node("a", { href: `#/${row.id}`, class: "name" }, row.id)
      : node("span", { class: "name" }, row.id);
    const said = row.header ? node("bdi", { class: "quiet line" }, row.header) : null;
    const same = row.duplicate_of ? node("span", { class: "tag" }, `same as ${row.duplicate_of}`) : null;
    return node("div", {}, name, same, said);
  }

  const state = (row) => (row.engine === "reuse" ? "from a collection" : row.stored ? "from the store" : row.state);

  const COLUMNS = [
    { title: "Target", name: "id", type: "string", value: (row) => row.id,
      find: (row) => `${row.id} ${row.header} ${row.duplicate_of}`, show: identity },
    numeric("Length", "length", 0, "Residues of all chains"),
    numeric("Chains", "chains", 0),
    { ...numeric("pLDDT", "mean_plddt", 1, "Mean over residues; the bar shows the share of each band"),
      show: (row) => node("div", { class: "plddt" }, number(row.mean_plddt, 1), bar(row)) },
    numeric("pTM", "ptm", 2),
    numeric("ipTM", "iptm", 2),
    numeric("PAE", "mean_pae", 1, "Mean predicted aligned error, Å"),
    numeric("MSA", "msa_depth", 0, "Rows of the MSA, query included"),
    numeric("Neff", "neff", 1, "Effective rows of the MSA"),
    numeric("Time, s", "seconds", 1),
    { title: "State", name: "state", type: "string", value: state,
      show: (row) => node("span", { class: "tag" }, state(row)) },
    { title: "Warnings", name: "warnings", type: "string", value: (row) => row.warnings,
      show: (row) => node("bdi", { class: "line warning", title: row.warnings }, row.warnings) },
  ];

  function render(column) {
    return (_, type, row) => {
      if (type === "display") return column.show(row);
      if (type === "filter") return (column.find ?? column.value)(row) ?? "";
      return column.value(row) ?? (column.type === "num" ? -Infinity : "");
    };
  }

  function draw() {
    const empty = (column) => run.rows.every((row) => (column.value(row) ?? "") === "");
    const columns = COLUMNS.filter((column) => column.name === "id" || !empty(column));
    const table = document.getElementById("targets-table");
    table.append(node("thead", {}, node("tr", {},
      columns.map((column) => node("th", { title: column.hint, scope: "col" }, column.title)))));
    new DataTable(table, {
      data: run.rows,
      columns: columns.map((column) => ({
        data: null, type: column.type, className: column.className ?? "", render: render(column),
      })),
      order: [],
      deferRender: true,
      autoWidth: false,
      pageLength: 25,
      lengthMenu: [25, 100, 500],
      paging: run.rows.length > 25,
      info: run.rows.length > 25,
      createdRow: (element, row) => { element.dataset.id = row.id; },
      layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: "paging" },
      language: {
        search: "", searchPlaceholder: "Search targets", emptyTable: "No target has a structure.",
        zeroRecords: "No target matches.", info: "_START_–_END_ of _TOTAL_", infoFiltered: "(of _MAX_)",
      },
    });
    table.closest(".scroll").querySelector("input").setAttribute("aria-label", "Search targets");
  }

  async function route() {
    const id = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
    const place = run.rows.findIndex((row) => row.open && row.id === id);
    const [overview, target] = ["overview", "target"].map((name) => document.getElementById(name));
    overview.hidden = place >= 0;
    target.hidden = place < 0;
    if (place >= 0) {
      const open = run.rows.filter((row) => row.open);
      const at = open.findIndex((row) => row.id === id);
      await snakefold.showTarget(target, run.rows[place], open[at - 1], open[at + 1]);
    } else {
      snakefold.closeTarget();
      if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
      if (run.rows.length) await snakefold.drawScatter(document.getElementById("scatter"), run.rows);
    }
  }

  snakefold.start = (content) => {
    run = content;
    document.getElementById("controls").append(...snakefold.colours.controls());
    draw();
    addEventListener("hashchange", route);
    snakefold.colours.onChange(route);
    route().then(() => { document.body.dataset.ready = "true"; });
  };
})();
