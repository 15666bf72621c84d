"use strict";

/* Starts the page, and shows what its address says: #/<id> is a target, anything else the overview. Without the
   slash an id could be that of a section. */
(() => {
  const { colours, node } = snakefold;
  const PRINTED = 200;
  let rows = [], table = null, filters = null, drawn = false, wanted = false;
  let latest = 0, drawing = Promise.resolve();

  /** Show the row of a target, whatever the filters hide. */
  function reveal(row) {
    if (table.reveal(row)) return;
    filters.clear();
    table.reveal(row);
  }

  /** One after the other, so that plots of earlier rows never come to lie over those of later ones. */
  function drawPlots() {
    const call = ++latest;
    document.body.dataset.plots = "drawing";
    drawing = drawing.catch(() => null).then(async () => {
      if (call !== latest || !wanted || document.getElementById("overview").hidden) return;
      drawn = true;
      await snakefold.drawOverviewPlots(table.shown(), { reveal, plddt: filters.plddt });
      if (call === latest) document.body.dataset.plots = "ready";
    });
    return drawing;
  }

  /** Plots are three megabytes of library: not before somebody is about to see them. */
  function drawWhenSeen() {
    const watcher = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      wanted = true;
      drawPlots();
    }, { rootMargin: "200px" });
    watcher.observe(document.getElementById("plots"));
  }

  function print() {
    const all = table.shown();
    document.getElementById("printed").replaceChildren(table.paper(PRINTED),
      all.length > PRINTED ? node("p", { class: "quiet" }, `The first ${PRINTED} of ${all.length} rows. metrics.tsv has all.`) : "");
  }

  async function route() {
    const id = location.hash.startsWith("#/") ? decodeURIComponent(location.hash.slice(2)) : "";
    const row = rows.find((item) => item.open && item.id === id);
    const [overview, target] = ["overview", "target"].map((name) => document.getElementById(name));
    overview.hidden = Boolean(row);
    target.hidden = !row;
    const banner = document.querySelector("p.rehearsal");
    // Where some targets are a rehearsal and others are not, the page of one that is real does not say so.
    if (banner) banner.hidden = Boolean(row) && !row.rehearsal && rows.some((item) => item.rehearsal);
    if (row) {
      const open = table.shown().filter((item) => item.open);
      const at = open.indexOf(row);
      await snakefold.showTarget(target, row, open[at - 1], at < 0 ? undefined : open[at + 1]);
      return;
    }
    snakefold.closeTarget();
    if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
    if (drawn) await drawPlots();
  }

  /** A page of a run that is going on asks a script beside it, which is written with every newer page. */
  function askForNewer() {
    const place = document.getElementById("provisional");
    if (!place) return;
    snakefold.latest = (stamp, report) => {
      if (stamp === place.dataset.stamp) return;
      const link = node("a", { href: report || location.href }, report ? "The run has ended: open its report." : "There are newer results: load them.");
      if (!report) link.addEventListener("click", (event) => { event.preventDefault(); location.reload(); });
      document.getElementById("newer").replaceChildren(link);
    };
    const ask = () => {
      const script = node("script", { src: `assets/latest.js?${Date.now()}` });
      script.addEventListener("load", () => script.remove());
      script.addEventListener("error", () => script.remove());
      document.head.append(script);
    };
    setInterval(ask, 10_000);
    ask();
  }

  snakefold.start = (content) => {
    askForNewer();
    rows = snakefold.recordsOf(content.columns);
    snakefold.meanings = content.meanings;
    document.getElementById("controls").append(...colours.controls());
    table = snakefold.drawTable(rows, content.own);
    filters = snakefold.drawFilters(document.getElementById("filters"), table, rows);
    table.onFilter(() => { if (drawn) drawPlots(); });
    if (rows.some((row) => row.mean_plddt !== undefined && row.mean_plddt !== null)) drawWhenSeen();
    else document.getElementById("plots").hidden = true;
    addEventListener("hashchange", route);
    addEventListener("beforeprint", print);
    matchMedia("print").addEventListener("change", (event) => { if (event.matches) print(); });
    colours.onChange(route);
    route().then(() => {
      document.body.dataset.ready = "true";
      performance.mark("ready");
    });
  };
})();
