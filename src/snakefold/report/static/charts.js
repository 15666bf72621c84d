"use strict";

/* The plots of the index: confidence against length and MSA depth, and how often which confidence came up. */
(() => {
  const { band, colours, number } = snakefold;
  const BIN = 2.5;
  /** Above this many points WebGL draws them: a node of the document each would take seconds. */
  const MANY = 3000;

  /** A figure of which a click on a point calls `act(point)`. */
  async function draw(place, traces, shape, act) {
    await snakefold.figure(place, traces, shape, { displayModeBar: false });
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
    place.removeAllListeners?.("plotly_click");
    place.on("plotly_click", (event) => act(event.points[0]));
  }

  const known = (value) => value !== undefined && value !== null;

  function scatter(place, rows, name, title, unit, logarithmic, act) {
    const shown = rows.filter((row) => known(row.mean_plddt) && known(row[name]) && (!logarithmic || row[name] > 0));
    const shades = Object.fromEntries(colours.bands.map((item) => [item.name, item.colour]));
    return draw(place, [{
      type: shown.length > MANY ? "scattergl" : "scatter", mode: "markers",
      x: shown.map((row) => row[name]), y: shown.map((row) => row.mean_plddt), text: shown.map((row) => row.id),
      marker: {
        size: shown.length > MANY ? 4 : shown.length > 300 ? 6 : 9, opacity: shown.length > 300 ? 0.75 : 1,
        color: shown.map((row) => shades[band(row.mean_plddt).name]),
        line: { width: shown.length > 300 ? 0 : 1, color: colours.colour("ink-soft") },
      },
      hovertemplate: `%{text}<br>%{x} ${unit}, pLDDT %{y:.1f}<extra></extra>`,
    }], {
      xaxis: { title: { text: title }, ...(logarithmic ? { type: "log", dtick: 1 } : { rangemode: "tozero" }) },
      yaxis: { title: { text: "Mean pLDDT" }, range: [0, 101] },
    }, (point) => act.reveal(shown[point.pointIndex]));
  }

  function histogram(place, rows, act) {
    const counts = Array(100 / BIN).fill(0);
    for (const row of rows) {
      if (known(row.mean_plddt)) counts[Math.min(Math.floor(row.mean_plddt / BIN), counts.length - 1)] += 1;
    }
    const shades = Object.fromEntries(colours.bands.map((item) => [item.name, item.colour]));
    const starts = counts.map((_, bin) => bin * BIN);
    return draw(place, [{
      type: "bar", x: starts.map((start) => start + BIN / 2), y: counts, width: BIN * 0.94,
      marker: { color: starts.map((start) => shades[band(start).name]), line: { width: 0.5, color: colours.colour("ink-soft") } },
      text: starts.map((start) => `${number(start, 1)} to ${number(start + BIN, 1)}`), textposition: "none",
      hovertemplate: "pLDDT %{text}: %{y} targets<extra></extra>",
    }], {
      xaxis: { title: { text: "Mean pLDDT" }, range: [0, 100] }, yaxis: { title: { text: "Targets" } },
    }, (point) => act.plddt(starts[point.pointIndex], starts[point.pointIndex] + BIN));
  }

  /** Draw them for `rows`; `act.reveal(row)` and `act.plddt(low, high)` are called for what is clicked. */
  snakefold.drawOverviewPlots = async (rows, act) => {
    const [lengths, depths, bars] = ["by-length", "by-depth", "histogram"].map((id) => document.getElementById(id));
    await scatter(lengths, rows, "length", "Length, residues", "residues", false, act);
    await histogram(bars, rows, act);
    depths.closest("figure").hidden = !rows.some((row) => known(row.msa_depth));
    if (!depths.closest("figure").hidden) await scatter(depths, rows, "msa_depth", "Rows of the MSA", "rows", true, act);
  };
})();
