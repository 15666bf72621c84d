"use strict";

/* The predicted aligned error: a picture of the matrix, a brush that selects residues, and the exact numbers as a
   file. Row: residue aligned on; column: residue scored. */
(() => {
  const { bytes, node } = snakefold;
  const colour = (name) => snakefold.colours.colour(name);
  const SCALE = [[0, "#00441b"], [0.25, "#238b45"], [0.5, "#74c476"], [0.75, "#c7e9c0"], [1, "#f7fcf5"]];

  /** Values of a picture (report/pae.py), row after row: Å in Float32Array.
   *
   *  Some browsers disturb what pages read from pictures, against fingerprinting: then it says so. */
  snakefold.unpackPae = async (pae, unit) => {
    const blob = new Blob([bytes(pae.image)], { type: "image/webp" });
    const picture = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    const canvas = node("canvas", { width: pae.size, height: pae.size });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    picture.close();
    const pixels = context.getImageData(0, 0, pae.size, pae.size).data;
    const values = Float32Array.from({ length: pae.size ** 2 }, (_, place) => pixels[4 * place + 1] * unit);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    if (Math.abs(mean - pae.mean) > 0.25) throw new Error("this browser changes the pictures that a page reads (protection against fingerprinting)");
    return values;
  };

  /** From where to where residues reach in the drawn matrix. */
  const extent = ({ tokens }, [first, last]) => [tokens.first(first) + 0.5, tokens.last(last) + 1.5];

  function rectangle(residues) {
    const { rows, columns } = residues.state;
    if (!rows || !columns) return [];
    const [[x0, x1], [y0, y1]] = [extent(residues, columns), extent(residues, rows)];
    return [{ type: "rect", xref: "x", yref: "y", x0, x1, y0, y1, line: { color: colour("chain-6"), width: 2 } }];
  }

  function shapes(residues) {
    const { cursor, rows, columns } = residues.state;
    const line = { color: colour("chain-6"), width: 1.2 };
    const middle = cursor === null ? 0 : (residues.tokens.first(cursor) + residues.tokens.last(cursor)) / 2 + 1;
    const cross = cursor === null ? [] : [
      { type: "line", x0: middle, x1: middle, y0: 0, y1: 1, yref: "y domain", line },
      { type: "line", y0: middle, y1: middle, x0: 0, x1: 1, xref: "x domain", line },
    ];
    const [y0, y1] = rows ? extent(residues, rows) : [], [x0, x1] = columns ? extent(residues, columns) : [];
    const edge = [
      rows && { type: "rect", xref: "x domain", x0: -0.012, x1: 0, y0, y1, fillcolor: colour("chain-6"), line: { width: 0 } },
      columns && { type: "rect", yref: "y domain", y0: 1, y1: 1.012, x0, x1, fillcolor: colour("chain-1"), line: { width: 0 } },
    ].filter(Boolean);
    return [...snakefold.chainLines(residues, true), ...cross, ...edge];
  }

  /** Draw a matrix; `values` as `unpackPae` gives them. A dragged rectangle selects its residues. */
  snakefold.drawPae = async (place, residues, pae, values) => {
    const ticks = snakefold.residueTicks(residues, true);
    const range = [0.5, residues.tokens.total + 0.5];
    const atoms = residues.tokens.total !== residues.total, what = atoms ? "token " : "", title = atoms ? "residue or atom" : "residue";
    await snakefold.figure(place, [{
      type: "heatmap", z: snakefold.rowsOf(values, pae.size, (value) => value),
      x0: (pae.step + 1) / 2, dx: pae.step, y0: (pae.step + 1) / 2, dy: pae.step, zmin: 0, zmax: 31.75, colorscale: SCALE,
      colorbar: { title: { text: "Å", side: "top" }, thickness: 10, outlinewidth: 0, tickvals: [0, 5, 10, 15, 20, 25, 30] },
      hovertemplate: `aligned on ${what}%{y}, scored ${what}%{x}: %{z:.1f} Å<extra></extra>`,
    }, {
      // A heatmap alone cannot be selected from; these points, which nobody sees, can.
      type: "scatter", mode: "markers", x: range, y: range, marker: { opacity: 0 }, hoverinfo: "skip",
    }], {
      dragmode: "select", shapes: shapes(residues), selections: rectangle(residues),
      newselection: { line: { color: colour("chain-6"), width: 2, dash: "solid" } },
      xaxis: { title: { text: `Scored ${title}` }, range, showgrid: false, constrain: "domain", ...ticks },
      yaxis: { title: { text: `Aligned ${title}` }, range: range.toReversed?.() ?? [range[1], range[0]], showgrid: false, scaleanchor: "x", constrain: "domain", ...ticks },
    });
    follow(place, residues);
  };

  function follow(place, residues) {
    for (const name of ["plotly_click", "plotly_selected", "plotly_deselect"]) place.removeAllListeners?.(name);
    place.on("plotly_click", (event) => residues.point(residues.tokens.place(Math.round(event.points[0].x) - 1)));
    place.on("plotly_selected", (event) => {
      if (!event?.range) return;
      const [x, y] = [event.range.x, event.range.y].map((pair) => pair.map((at) => at - 1).sort((a, b) => a - b));
      // Residues whose middle is inside; of a ligand that of an atom.
      const inside = ([first, last]) => [Math.ceil(first), Math.max(Math.floor(last), Math.ceil(first))].map((token) => residues.tokens.place(token));
      residues.select(inside(y), inside(x));
    });
    place.on("plotly_deselect", () => residues.select(null, null));
    if (place.residues === residues) return;
    place.residues = residues;
    residues.onChange((_, what) => {
      if (!place.data) return;
      const change = { shapes: shapes(residues) };
      if (what === "selection") change.selections = rectangle(residues);
      Plotly.relayout(place, change);
    });
  }

  /** Mean PAE of the selected rectangle, Å, from a drawn matrix. */
  snakefold.meanPae = ({ state: { rows, columns }, tokens }, pae, values) => {
    let sum = 0, count = 0;
    const block = ([first, last]) => [Math.floor(tokens.first(first) / pae.step), Math.floor(tokens.last(last) / pae.step)];
    const [[top, bottom], [left, right]] = [block(rows), block(columns)];
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) { sum += values[row * pae.size + column]; count += 1; }
    }
    return sum / count;
  };

  /** The text of AlphaFold DB's predicted_aligned_error file of one model: whole Å, exact. */
  snakefold.paeFile = async (id, rank) => {
    const exact = await snakefold.target(`pae/${id}`);
    const found = await snakefold.unpack(exact[rank]);
    const size = Math.round(Math.sqrt(found.length));
    const rows = snakefold.rowsOf(found, size, (value) => value);
    return JSON.stringify([{ predicted_aligned_error: rows, max_predicted_aligned_error: 31.75 }]);
  };
})();
