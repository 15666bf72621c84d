"use strict";

/* The table of targets. Only the rows in sight are in the document, however many there are. */
(() => {
  const { node, number, bytes, BANDS, band } = snakefold;
  const HEIGHT = 50;

  const STATES = {
    computed: "computed", stored: "from the store", reused: "from a collection", duplicate: "duplicate",
    failed: "failed", refused: "refused",
  };

  const numeric = (title, name, digits, hint, width = 56) => ({
    title, name, hint, width, className: "number", type: "num",
    value: (row) => row[name],
    show: (row) => number(row[name], digits),
  });

  function money(dollars) {
    if (dollars === null || dollars === undefined) return "–";
    return dollars === 0 ? "0" : dollars < 0.01 ? dollars.toPrecision(2) : dollars.toFixed(dollars < 10 ? 3 : 2);
  }

  /** pLDDT along the chain: a bar a point, as high as its value and in its band's colour. */
  function sparkline(row) {
    const shares = BANDS.map((item) => `${item.label} ${Math.round(100 * (row[`fraction_${item.name.replace("-", "_")}`] ?? 0))} %`);
    const values = row.profile ? Array.from(bytes(row.profile), (value) => value / 2) : [];
    const text = `pLDDT: ${shares.join(", ")}`;
    const paths = BANDS.map((item) => {
      const bars = values.flatMap((value, place) => (band(value).name === item.name
        ? [`M${place} 100V${(100 - value).toFixed(1)}h1.04V100z`] : []));
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", item.name);
      path.setAttribute("d", bars.join(""));
      return bars.length ? path : null;
    });
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of Object.entries({
      class: "bar", viewBox: `0 0 ${Math.max(values.length, 1)} 100`, preserveAspectRatio: "none", role: "img", "aria-label": text,
    })) picture.setAttribute(name, value);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = text;
    picture.append(title, ...paths.filter(Boolean));
    return picture;
  }

  function identity(row) {
    const name = row.open
      ? node("a", { href: `#/${row.id}`, class: "name line", title: row.id }, row.id)
      : node("span", { class: "name line", title: row.id }, row.id);
    return [name, row.header && node("bdi", { class: "quiet line", title: row.header }, row.header)];
  }

  function state(row) {
    const tag = node("span", { class: `tag state-${row.state}` }, STATES[row.state]);
    if (row.duplicate_of) return [tag, node("bdi", { class: "quiet line" }, `of ${row.duplicate_of}`)];
    const more = row.reason || row.rehearsal;
    return [tag, more && node("bdi", { class: "quiet line" }, more)];
  }

  /** Retries of its jobs count as well. */
  const noted = (row) => [row.history, row.warnings].filter(Boolean).join("; ");

  /** What the checks of a target's ligands say, in a word or two; nothing without a ligand. */
  function faults(row) {
    if (row.pose_clashes === undefined || row.pose_clashes === null) return [];
    const wrong = [row.pose_clashes > 0 && `${row.pose_clashes} clash${row.pose_clashes > 1 ? "es" : ""}`,
      row.pose_bonds_ok === false && "odd bonds", row.pose_chirality_ok === false && "chirality"].filter(Boolean);
    return wrong.length ? wrong : ["plausible"];
  }

  const pose = (row) => faults(row).join(", ");

  /** On two lines: a row of the table is no higher, and cut words say nothing. */
  function posed(row) {
    const [first, ...others] = faults(row);
    return [first && node("span", { class: "line", title: pose(row) }, first),
      others.length > 0 && node("span", { class: "line", title: pose(row) }, others.join(", "))];
  }

  const COLUMNS = [
    { title: "Target", name: "id", type: "string", width: matchMedia("(max-width: 620px)").matches ? 132 : 196, value: (row) => row.id,
      find: (row) => `${row.id} ${row.header ?? ""} ${row.duplicate_of ?? ""} ${row.reason ?? ""} ${noted(row)}`, show: identity },
    numeric("Length", "length", 0, "Residues of all chains", 66),
    { ...numeric("pLDDT", "mean_plddt", 1, "Mean over residues; the picture shows it along the chain", 172),
      show: (row) => (row.mean_plddt === undefined || row.mean_plddt === null ? "–" : [number(row.mean_plddt, 1), sparkline(row)]) },
    numeric("pTM", "ptm", 2),
    numeric("ipTM", "iptm", 2),
    numeric("PAE", "mean_pae", 1, "Mean predicted aligned error, Å"),
    numeric("MSA", "msa_depth", 0, "Rows of the MSA, query included", 60),
    numeric("Neff", "neff", 1, "Effective rows of the MSA", 60),
    numeric("Chains", "chains", 0, null, 62),
    { title: "Pose", name: "pose_clashes", type: "string", width: 182, hint: "Of the ligands: clashes with polymers, bonds and angles, other chirality than the input's",
      value: pose, show: posed },
    numeric("Time, s", "seconds", 1, "Seconds in this run", 68),
    { ...numeric("$", "dollars", 3, "Dollars in this run", 66), show: (row) => money(row.dollars) },
    { title: "State", name: "state", type: "string", width: 120, value: (row) => STATES[row.state], show: state },
    { title: "Warnings", name: "warnings", type: "string", width: 144, value: noted,
      show: (row) => noted(row) && node("bdi", { class: "line warning", title: noted(row) }, noted(row)) },
  ];

  const cell = (content) => node("div", {}, ...[content].flat());

  function render(column) {
    return (_, type, row) => {
      if (type === "display") return cell(column.show(row));
      if (type === "filter") return column.find ? column.find(row) : "";
      // What is missing comes last in the order that a column is sorted in first.
      return column.value(row) ?? (column.type !== "num" ? "" : column.sort ? Infinity : -Infinity);
    };
  }

  /** Rows in sight are numbered, for those who cannot see how many there are. */
  function announce(table, element) {
    const { start, recordsDisplay } = table.page.info();
    element.setAttribute("aria-rowcount", recordsDisplay + 1);
    table.rows({ page: "current", search: "applied", order: "applied" }).nodes().toArray()
      .forEach((line, place) => line.setAttribute("aria-rowindex", start + place + 2));
  }

  /** Rows of the report as objects: the file has them as columns. */
  snakefold.recordsOf = (columns) => columns.id.map((_, place) =>
    Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[place]])));

  /** The columns of every run, and before its state those that only its engines have. */
  function columnsOf(own) {
    const before = COLUMNS.findIndex((column) => column.name === "state");
    const said = (value) => (typeof value === "boolean" ? (value ? "yes" : "no") : String(value));
    const theirs = own.map((item) => ({ early: item.early, sort: item.sort, ...(item.number
      ? numeric(item.title ?? item.name, item.name, item.digits, item.meaning, item.title ? 78 : 96)
      : { title: item.title ?? item.name, name: item.name, hint: item.meaning, width: 120, type: "string", value: (row) => row[item.name],
          show: (row) => !empty(row[item.name]) && node("bdi", { class: "line" }, said(row[item.name])) }) }));
    const early = theirs.filter((column) => column.early), late = theirs.filter((column) => !column.early);
    return [...COLUMNS.slice(0, 1), ...early, ...COLUMNS.slice(1, before), ...late, ...COLUMNS.slice(before)];
  }

  const empty = (value) => [undefined, null, ""].includes(value);

  /** The head of a column; a long name of an engine's column may break after its underscores. */
  const head = (title) => title.split(/(?<=_)/).flatMap((part, place) => (place ? [node("wbr"), part] : [part]));

  /** Draw the table of `rows`, with columns of `own`, and return what the rest of the page does with it. */
  snakefold.drawTable = (rows, own) => {
    const has = (column) => rows.some((row) => !empty(column.value(row)));
    const columns = columnsOf(own).filter((column) => column.name === "id" || has(column));
    const element = document.getElementById("targets-table");
    element.append(
      node("caption", { class: "hidden" }, "Targets: one row for each record of the input"),
      node("thead", {}, node("tr", {}, columns.map((column) => node("th", { title: column.hint, scope: "col", class: column.title.includes("_") ? "broken" : null }, head(column.title))))));
    const sorted = columns.findIndex((column) => column.sort);
    const table = new DataTable(element, {
      data: rows,
      columns: columns.map((column) => ({
        data: null, type: column.type, className: column.className ?? "", render: render(column), width: `${column.width}px`,
        searchable: Boolean(column.find), orderSequence: column.type === "num" && !column.sort ? ["desc", "asc", ""] : ["asc", "desc", ""],
      })),
      order: sorted < 0 ? [] : [[sorted, "asc"]], autoWidth: false, deferRender: true,
      scrollX: true, scrollY: `${Math.min(rows.length, 12) * HEIGHT + 2}px`, scrollCollapse: true,
      scroller: { rowHeight: HEIGHT, displayBuffer: 4 },
      createdRow: (line, row) => { line.dataset.id = row.id; },
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: null },
      language: {
        emptyTable: "The run had no target.", zeroRecords: "No target matches.",
        info: "Rows _START_ to _END_ of _TOTAL_", infoEmpty: "No rows", infoFiltered: "(filtered from _MAX_)",
      },
    });
    const body = element.closest(".dt-scroll-body");
    body.tabIndex = 0;
    body.setAttribute("role", "region");
    body.setAttribute("aria-label", "Rows of targets: scroll with the arrow keys");
    table.on("draw", () => announce(table, element));
    announce(table, element);

    const listeners = [];
    const shown = () => table.rows({ search: "applied", order: "applied" }).data().toArray();

    return {
      /** Rows that the filters leave, as they are sorted. */
      shown,
      /** `test(row)` decides what is shown besides the search. */
      filter(text, test) {
        table.search.fixed("filters", (_, row) => test(row));
        table.search(text).draw();
        for (const listener of listeners) listener();
      },
      onFilter: (listener) => listeners.push(listener),
      /** Scroll to a row and mark it. Returns false if the filters hide it. */
      reveal(row) {
        const place = table.rows({ search: "applied", order: "applied" }).indexes().indexOf(rows.indexOf(row));
        if (place < 0) return false;
        document.getElementById("targets-title").scrollIntoView({ block: "start" });
        table.scroller.toPosition(Math.max(place - 3, 0), false);
        table.scroller.measure(false);
        // Before the next frame the table is told of the scrolling, and has drawn other rows if it has to.
        requestAnimationFrame(() => {
          const line = body.querySelector(`tr[data-id="${CSS.escape(row.id)}"]`);
          if (!line) return;
          body.querySelector("tr.found")?.classList.remove("found");
          line.classList.add("found");
          line.querySelector("a")?.focus({ preventScroll: true });
        });
        return true;
      },
      /** Heads and rows of at most `most` of those shown, for paper. */
      paper: (most) => node("table", { class: "targets" },
        node("thead", {}, node("tr", {}, columns.map((column) => node("th", { class: column.className }, column.title)))),
        node("tbody", {}, shown().slice(0, most).map((row) => node("tr", {}, columns.map((column) =>
          node("td", { class: column.className }, cell(column.show(row)))))))),
    };
  };
  snakefold.STATES = STATES;
  snakefold.noted = noted;
})();
