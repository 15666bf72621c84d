"use strict";

/* Plots, in the page's own colours and type. */
(() => {
  const { BANDS, band, colour, load, node, unpack } = snakefold;
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };

  function layout(more) {
    const axis = {
      gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, ticks: "outside",
      tickcolor: colour("line"), automargin: true, title: { standoff: 8 },
    };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("quiet") },
      margin: { l: 48, r: 12, t: 8, b: 40 }, hoverlabel: { align: "left" }, showlegend: false, ...more,
      xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
    };
  }

  async function plot(place, traces, shape) {
    await load("assets/plotly.min.js");
    await Plotly.react(place, traces, layout(shape), CONFIG);
  }

  /** Thin lines where one chain ends and the next begins. */
  function boundaries(lengths, both) {
    const shapes = [];
    let end = 0.5;
    for (const length of lengths.slice(0, -1)) {
      end += length;
      const line = { color: colour("ink"), width: 1 };
      shapes.push({ type: "line", x0: end, x1: end, y0: 0, y1: 1, yref: "y domain", line });
      if (both) shapes.push({ type: "line", y0: end, y1: end, x0: 0, x1: 1, xref: "x domain", line });
    }
    return shapes;
  }

  function rowsOf(bytes, columns, value) {
    const rows = [];
    for (let start = 0; start < bytes.length; start += columns) {
      rows.push(Array.from(bytes.subarray(start, start + columns), value));
    }
    return rows;
  }

  snakefold.drawScatter = async (place, rows) => {
    const shown = rows.filter((row) => row.mean_plddt !== null);
    await plot(place, [{
      type: shown.length > 3000 ? "scattergl" : "scatter", mode: "markers",
      x: shown.map((row) => row.length), y: shown.map((row) => row.mean_plddt), text: shown.map((row) => row.id),
      marker: { size: 9, color: shown.map((row) => colour(band(row.mean_plddt).name)), line: { width: 1, color: colour("ink-soft") } },
      hovertemplate: "%{text}<br>%{x} residues, pLDDT %{y:.1f}<extra></extra>",
    }], { xaxis: { title: { text: "Length, residues" }, rangemode: "tozero" }, yaxis: { title: { text: "Mean pLDDT" }, range: [0, 100] } });
    place.removeAllListeners?.("plotly_click");
    place.on("plotly_click", (event) => { location.hash = `/${shown[event.points[0].pointIndex].id}`; });
  };

  snakefold.drawPlddt = (place, data, chosen) => {
    const bands = BANDS.map((item, index) => ({
      type: "rect", xref: "paper", x0: 0, x1: 1, y0: Math.max(item.from, 0), y1: index ? BANDS[index - 1].from : 100,
      fillcolor: colour(item.name), opacity: 0.16, line: { width: 0 }, layer: "below",
    }));
    const numbers = Array.from(data.sequence, (_, index) => index + 1);
    const order = data.models.map((_, rank) => rank).sort((a, b) => (a === chosen) - (b === chosen));
    return plot(place, order.map((rank) => ({
      type: "scatter", mode: "lines", x: numbers, y: data.models[rank].plddt, text: Array.from(data.sequence),
      name: data.models[rank].name,
      line: { width: rank === chosen ? 2.2 : 1, color: colour(rank === chosen ? "ink" : "ink-soft") },
      hovertemplate: `rank ${rank}: %{text}%{x}, pLDDT %{y:.1f}<extra></extra>`,
    })), {
      shapes: [...bands, ...boundaries(data.chain_lengths, false)],
      xaxis: { title: { text: "Residue" }, range: [0.5, numbers.length + 0.5], showgrid: false },
      yaxis: { title: { text: "pLDDT" }, range: [0, 100], tickvals: [0, 50, 70, 90, 100] },
    });
  };

  snakefold.drawPae = async (place, data, chosen) => {
    const pae = data.models[chosen].pae;
    if (!pae) {
      if (place.data) Plotly.purge(place);
      place.replaceChildren(node("p", { class: "quiet" }, "This model gives no PAE."));
      return;
    }
    const bytes = await unpack(pae.data);
    const total = data.chain_lengths.reduce((sum, length) => sum + length, 0);
    await plot(place, [{
      type: "heatmap", z: rowsOf(bytes, pae.size, (value) => value * data.pae_unit),
      x0: (pae.step + 1) / 2, dx: pae.step, y0: (pae.step + 1) / 2, dy: pae.step, zmin: 0, zmax: 31.75,
      colorscale: [[0, "#00441b"], [0.25, "#238b45"], [0.5, "#74c476"], [0.75, "#c7e9c0"], [1, "#f7fcf5"]],
      colorbar: { title: { text: "Å", side: "top" }, thickness: 10, outlinewidth: 0, tickvals: [0, 5, 10, 15, 20, 25, 30] },
      hovertemplate: "aligned on %{y}, scored %{x}: %{z:.1f} Å<extra></extra>",
    }], {
      shapes: boundaries(data.chain_lengths, true),
      xaxis: { title: { text: "Scored residue" }, range: [0.5, total + 0.5], showgrid: false, constrain: "domain" },
      yaxis: { title: { text: "Aligned residue" }, range: [total + 0.5, 0.5], showgrid: false, scaleanchor: "x", constrain: "domain" },
    });
  };

  snakefold.drawCoverage = async (place, data) => {
    const { rows, columns, depth, step, counts, data: text } = data.coverage;
    const bytes = await unpack(text);
    const height = depth / rows;
    await plot(place, [{
      type: "heatmap", z: rowsOf(bytes, columns, (value) => value || null),
      x0: (step + 1) / 2, dx: step, y0: height / 2, dy: height, zmin: 0, zmax: 100, colorscale: "Viridis", reversescale: true,
      colorbar: { title: { text: "identity, %", side: "right" }, thickness: 10, outlinewidth: 0 },
      hovertemplate: "residue %{x}: row with %{z} % identity<extra></extra>",
    }, {
      type: "scatter", mode: "lines", x: counts.map((_, index) => 1 + index * step), y: counts,
      line: { color: colour("ink"), width: 1.5, shape: "hvh" }, hovertemplate: "residue %{x}: %{y} rows<extra></extra>",
    }], {
      shapes: boundaries(data.chain_lengths, false),
      xaxis: { title: { text: "Residue" }, showgrid: false },
      yaxis: { title: { text: "Rows" }, range: [0, depth], showgrid: false },
    });
  };

  snakefold.clearPlots = (place) => {
    for (const plotted of place.querySelectorAll(".js-plotly-plot")) Plotly.purge(plotted);
  };
})();
