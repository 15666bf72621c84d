"use strict";

/* What the plots of a target have in common. */
(() => {
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  function layout(more) {
    const { colour } = snakefold.colours;
    const axis = {
      gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, ticks: "outside",
      tickcolor: colour("line"), automargin: true,
    };
    const titled = (given) => ({ ...axis, ...given, title: { standoff: 8, ...given?.title } });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("quiet") },
      margin: { l: 48, r: 12, t: 8, b: 40 }, hoverlabel: { align: "left" }, showlegend: false, ...more,
      xaxis: titled(more.xaxis), yaxis: titled(more.yaxis),
    };
  }

  /** Draw, or draw again, a plot with the page's colours and type. */
  snakefold.figure = async (place, traces, shape, config = {}) => {
    await snakefold.load("assets/plotly.min.js");
    await Plotly.react(place, traces, layout(shape), { ...CONFIG, ...config });
  };

  /** Give back what the plots inside an element hold. */
  snakefold.clearPlots = (place) => {
    for (const plotted of place.querySelectorAll(".js-plotly-plot")) Plotly.purge(plotted);
  };

  /** Thin lines where one chain ends and the next begins; `both` ways in a matrix, which has rows for tokens. */
  snakefold.chainLines = (residues, both) => {
    const line = { color: snakefold.colours.colour("ink"), width: 1 };
    return residues.chains.slice(1).flatMap(({ start }) => {
      const at = (both ? residues.tokens.first(start) : start) + 0.5;
      const upright = { type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "y domain", line };
      return both ? [upright, { type: "line", y0: at, y1: at, x0: 0, x1: 1, xref: "x domain", line }] : [upright];
    });
  };

  /** Ticks that count residues from 1 in every chain, "B 20", at places that count along all chains, or at those
   *  of the matrix, where a ligand is a block of atoms with its name in the middle. */
  snakefold.residueTicks = (residues, matrix = false) => {
    const { tokens, chains } = residues;
    if (chains.length === 1 && (!matrix || tokens.total === residues.total)) return {};
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((size) => residues.total / size <= 8) ?? 5000;
    const middle = (first, last) => (matrix ? (tokens.first(first) + tokens.last(last)) / 2 : (first + last) / 2) + 1;
    const found = chains.flatMap((chain) => {
      const { name, start, length } = chain, inner = [];
      if (chain.kind === "ligand") return [[middle(start, start + length - 1), residues.title(chain)]];
      for (let number = step; number <= length - step / 2; number += step) inner.push([middle(start + number - 1, start + number - 1), String(number)]);
      return [[middle(start, start), name], ...inner];
    });
    return { tickvals: found.map(([place]) => place), ticktext: found.map(([, text]) => text) };
  };

  /** Rows of numbers from bytes. */
  snakefold.rowsOf = (bytes, columns, value) => {
    const rows = [];
    for (let start = 0; start < bytes.length; start += columns) {
      rows.push(Array.from(bytes.subarray(start, start + columns), value));
    }
    return rows;
  };
})();
