"use strict";

/* Plots along the sequence: pLDDT and the coverage of the alignment. */
(() => {
  const { BANDS, unpack } = snakefold;
  const colour = (name) => snakefold.colours.colour(name);

  const cursorLine = ({ state }) => (state.cursor === null ? [] : [{
    type: "line", x0: state.cursor + 1, x1: state.cursor + 1, y0: 0, y1: 1, yref: "y domain", line: { color: colour("chain-6"), width: 1.5 },
  }]);

  const band = (range, name) => (range ? [{
    type: "rect", x0: range[0] + 0.5, x1: range[1] + 1.5, y0: 0, y1: 0.035, yref: "y domain", fillcolor: colour(name), line: { width: 0 },
  }] : []);

  function shapes(residues, fixed) {
    const { rows, columns } = residues.state;
    return [...fixed, ...band(rows, "chain-6"), ...band(columns, "chain-1"), ...cursorLine(residues)];
  }

  /** Lines of pLDDT: `lines` is [{ name, values, bold, colour? }], the boldest last. */
  snakefold.drawPlddt = async (place, residues, lines, sequence) => {
    const bands = BANDS.map((item, index) => ({
      type: "rect", xref: "paper", x0: 0, x1: 1, y0: Math.max(item.from, 0), y1: index ? BANDS[index - 1].from : 100,
      fillcolor: colour(item.name), opacity: 0.16, line: { width: 0 }, layer: "below",
    }));
    const all = Array.from(sequence, (_, index) => index + 1);
    // A ligand is a point of its own, and a line to it would mean nothing.
    const ligands = new Set(residues.chains.filter(({ kind }) => kind === "ligand").map(({ start }) => start));
    const parted = (values, between) => values.flatMap((value, place) => (ligands.size && place && residues.at(place).start === place ? [between(place), value] : [value]));
    const places = parted(all, (place) => place + 0.5);
    const labels = parted(all.map((at) => residues.label(at - 1)), () => "");
    const markers = ligands.size ? { mode: "lines+markers", marker: { size: parted(all.map((at) => (residues.at(at - 1).kind === "ligand" ? 8 : 0)), () => 0), opacity: 1, line: { width: 0 } } } : { mode: "lines" };
    place.fixed = [...bands, ...snakefold.chainLines(residues, false)];
    await snakefold.figure(place, lines.map(({ name, values, bold, colour: own }) => ({
      type: "scatter", ...markers, x: places, y: parted(values, () => null), text: labels, name,
      line: { width: bold ? 2.2 : 1, color: own ?? colour(bold ? "ink" : "ink-soft") },
      hovertemplate: `${name.replace(/[<>%{}&]/g, " ")}: %{text}, pLDDT %{y:.1f}<extra></extra>`,
    })), {
      shapes: shapes(residues, place.fixed),
      xaxis: { title: { text: "Residue" }, range: [0.5, all.length + 0.5], showgrid: false, ...snakefold.residueTicks(residues) },
      yaxis: { title: { text: "pLDDT" }, range: [0, 100], tickvals: [0, 50, 70, 90, 100] },
    });
    follow(place, residues);
  };

  snakefold.drawCoverage = async (place, residues, coverage) => {
    const { rows, columns, depth, step, counts, data } = coverage;
    const bytes = await unpack(data);
    const height = depth / rows;
    place.fixed = snakefold.chainLines(residues, false);
    await snakefold.figure(place, [{
      type: "heatmap", z: snakefold.rowsOf(bytes, columns, (value) => value || null),
      x0: (step + 1) / 2, dx: step, y0: height / 2, dy: height, zmin: 0, zmax: 100, colorscale: "Viridis", reversescale: true,
      colorbar: { title: { text: "identity, %", side: "right" }, thickness: 10, outlinewidth: 0 },
      hovertemplate: "residue %{x}: row with %{z} % identity<extra></extra>",
    }, {
      type: "scatter", mode: "lines", x: counts.map((_, index) => 1 + index * step), y: counts,
      line: { color: colour("ink"), width: 1.5, shape: "hvh" }, hovertemplate: "residue %{x}: %{y} rows<extra></extra>",
    }], {
      shapes: shapes(residues, place.fixed),
      xaxis: { title: { text: "Residue" }, showgrid: false, range: [0.5, residues.total + 0.5], ...snakefold.residueTicks(residues) },
      yaxis: { title: { text: "Rows" }, range: [0, depth], showgrid: false },
    });
    follow(place, residues);
  };

  /** Rows by their identity to the target, ten bars of 10 %. */
  snakefold.drawIdentities = (place, identities) => snakefold.figure(place, [{
    type: "bar", x: identities.map((_, tenth) => 10 * tenth + 5), y: identities, width: 9,
    marker: { color: colour("chain-1") },
    hovertemplate: identities.map((_, tenth) => `${10 * tenth}–${10 * tenth + 10} %: %{y} rows<extra></extra>`),
  }], {
    xaxis: { title: { text: "Identity to the target, %" }, range: [0, 100], showgrid: false },
    yaxis: { title: { text: "Rows" } }, bargap: 0,
  });

  /** A click points at a residue; the cursor and the selection are drawn over the plot. */
  function follow(place, residues) {
    place.removeAllListeners?.("plotly_click");
    place.on("plotly_click", (event) => residues.point(Math.round(event.points[0].x) - 1));
    if (place.residues === residues) return;
    place.residues = residues;
    residues.onChange(() => { if (place.data) Plotly.relayout(place, { shapes: shapes(residues, place.fixed) }); });
  }
})();
