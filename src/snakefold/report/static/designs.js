"use strict";

/* The page of designs: what the filters leave of them, and the design whose address it is, #/<id>. */
(() => {
  const { node, colours } = snakefold;
  let rows = [], content = null, table = null, filters = null, wanted = false;
  let latest = 0, drawing = Promise.resolve();

  const known = (value) => value !== undefined && value !== null && value !== "";

  /** true, false, or null where it cannot be said. */
  const judged = (row, { rmsd, plddt }) => (known(row.sc_rmsd) && known(row.mean_plddt)
    ? row.sc_rmsd <= rmsd && row.mean_plddt >= plddt : null);

  function limit(label, name, value, step, unit) {
    const input = node("input", { type: "number", min: 0, step, id: name, value, "data-default": value });
    return [input, node("label", { for: name }, `${label} `, input, ` ${unit}`)];
  }

  /** The filters: `apply(test)` is called with what decides whether a row is shown. */
  function drawFilters(place, apply) {
    const search = node("input", { type: "search", id: "search", placeholder: "Search designs", "aria-label": "Search designs", autocomplete: "off" });
    const names = Object.keys(content.backbones);
    const backbone = node("select", { id: "of-backbone", "aria-label": "Backbone" }, node("option", { value: "" }, "every backbone"),
      names.map((name) => node("option", { value: name }, name)));
    const [rmsd, rmsdLabel] = limit("scRMSD at most", "max-rmsd", content.max_rmsd, "any", "Å");
    const [plddt, plddtLabel] = limit("pLDDT at least", "min-plddt", content.min_plddt, "any", "");
    const passing = node("input", { type: "checkbox", id: "passing" });
    const save = node("button", { type: "button", id: "save" }, "Save what is shown as FASTA");
    const said = node("span", { class: "quiet", role: "status", id: "said" });
    const all = node("button", { type: "reset" }, "Reset");
    const number = (input) => (input.value === "" ? Number(input.dataset.default) : Number(input.value));
    const limits = () => ({ rmsd: number(rmsd), plddt: number(plddt) });
    let drawn = null;

    function change() {
      const now = limits();
      const moved = !drawn || now.rmsd !== drawn.rmsd || now.plddt !== drawn.plddt;
      if (moved) for (const row of rows) row.passes = judged(row, now);
      drawn = now;
      apply(search.value, (row) => (!backbone.value || row.backbone === backbone.value) && (!passing.checked || row.passes === true), moved);
      const shown = table.shown(), passed = shown.filter((row) => row.passes === true).length;
      said.textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown, ${passed.toLocaleString("en")} pass`;
    }

    let waiting = 0;
    place.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(change, rows.length > 2000 ? 120 : 0); });
    place.addEventListener("submit", (event) => event.preventDefault());
    place.addEventListener("reset", () => setTimeout(change));
    save.addEventListener("click", () => {
      const text = table.shown().map((row) => `>${row.id}\n${row.sequence}\n`).join("");
      const link = node("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: "designs.fasta" });
      link.click();
      URL.revokeObjectURL(link.href);
    });
    place.append(search, ...(names.length > 1 ? [backbone] : []), rmsdLabel, plddtLabel, node("label", { for: "passing" }, passing, " only what passes"), all, save, said);
    return { limits, change };
  }

  /** One after the other, so that a plot of earlier rows never comes to lie over that of later ones. */
  function drawScatter() {
    const call = ++latest;
    document.body.dataset.plots = "drawing";
    drawing = drawing.catch(() => null).then(async () => {
      if (call !== latest || !wanted) return;
      const shown = table.shown().filter((row) => known(row.sc_rmsd) && known(row.mean_plddt));
      const { rmsd, plddt } = filters.limits();
      const place = document.getElementById("scatter");
      const line = { color: colours.colour("quiet"), width: 1, dash: "dot" };
      const group = (what, symbol, colour) => {
        const part = shown.filter((row) => row.passes === what);
        return {
          type: shown.length > 3000 ? "scattergl" : "scatter", mode: "markers", name: what ? "passes" : "does not pass",
          x: part.map((row) => row.sc_rmsd), y: part.map((row) => row.mean_plddt), text: part.map((row) => row.id),
          marker: { size: shown.length > 3000 ? 5 : 8, symbol, color: colours.colour(colour), opacity: 0.85 },
          hovertemplate: "%{text}<br>%{x:.2f} Å, pLDDT %{y:.1f}<extra></extra>",
        };
      };
      await snakefold.figure(place, [group(false, "x", "ink-soft"), group(true, "circle", "good")], {
        showlegend: true, legend: { orientation: "h", y: 1.12, x: 0 }, margin: { l: 48, r: 12, t: 30, b: 40 },
        xaxis: { title: { text: "scRMSD, Å" }, rangemode: "tozero" }, yaxis: { title: { text: "Mean pLDDT" } },
        shapes: [{ type: "line", x0: rmsd, x1: rmsd, y0: 0, y1: 1, yref: "paper", line }, { type: "line", y0: plddt, y1: plddt, x0: 0, x1: 1, xref: "paper", line }],
      }, { displayModeBar: false });
      document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
      place.removeAllListeners?.("plotly_click");
      place.on("plotly_click", (event) => { location.hash = `#/${event.points[0].text}`; });
      if (call === latest) document.body.dataset.plots = "ready";
    });
    return drawing;
  }

  /** The plot is three megabytes of library: not before somebody is about to see it. */
  function drawWhenSeen() {
    const watcher = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      wanted = true;
      drawScatter();
    }, { rootMargin: "200px" });
    watcher.observe(document.getElementById("scatter"));
  }

  /** The design of the address; without one, the first that is shown. */
  function chosen() {
    const id = location.hash.startsWith("#/") ? decodeURIComponent(location.hash.slice(2)) : "";
    return rows.find((row) => row.id === id) ?? table.shown()[0] ?? rows[0];
  }

  function showBackbone(asked) {
    const row = chosen();
    if (!row) return;
    const title = document.getElementById("backbone-title");
    title.replaceChildren("Backbone ", node("bdi", {}, row.backbone));
    table.mark(row);
    const shown = table.shown().filter((each) => each.backbone === row.backbone);
    snakefold.drawAlignment(document.getElementById("alignment-card"), row, shown, content.backbones[row.backbone]);
    snakefold.drawOverlay(document.getElementById("overlay-card"), row, asked);
    if (asked) { title.focus({ preventScroll: true }); title.scrollIntoView({ block: "start" }); }
  }

  snakefold.startDesigns = async (text) => {
    content = JSON.parse(new TextDecoder().decode(await snakefold.unpack(text)));
    const { columns } = content;
    rows = columns.id.map((_, place) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[place]])));
    document.getElementById("controls").append(...colours.controls());
    table = snakefold.drawDesignTable(rows, content.meanings);
    filters = drawFilters(document.getElementById("filters"), (search, test, moved) => {
      table.filter(search, test, moved);
      if (wanted) drawScatter();
      if (document.body.dataset.ready) showBackbone(false);
    });
    filters.change();
    if (rows.some((row) => known(row.sc_rmsd))) drawWhenSeen();
    else document.getElementById("scatter").closest("section").hidden = true;
    addEventListener("hashchange", () => showBackbone(true));
    colours.onChange(() => { if (wanted) drawScatter(); snakefold.recolourStructure(); });
    showBackbone(location.hash.startsWith("#/"));
    document.body.dataset.ready = "true";
    performance.mark("ready");
  };
})();
