"use strict";

/* A design in 3D, laid over the backbone that it was designed for. */
(() => {
  const { node, number } = snakefold;
  let latest = 0;

  const multiply = (a, b) => a.map((row) => b[0].map((_, column) => row.reduce((sum, value, at) => sum + value * b[at][column], 0)));

  /** The least-squares rotation of `from` on `to`, points that correspond: (x, y, z) => [x, y, z] (Horn 1987,
   *  doi:10.1364/JOSAA.4.000629). The quaternion is the eigenvector of the largest eigenvalue: of a matrix that is
   *  shifted to have no negative one and squared until nothing else is left. */
  snakefold.superposing = (from, to) => {
    const middle = (points) => [0, 1, 2].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    const start = middle(from), goal = middle(to);
    const s = [0, 1, 2].map((a) => [0, 1, 2].map((b) => from.reduce((sum, point, at) => sum + (point[a] - start[a]) * (to[at][b] - goal[b]), 0)));
    let matrix = [
      [s[0][0] + s[1][1] + s[2][2], s[1][2] - s[2][1], s[2][0] - s[0][2], s[0][1] - s[1][0]],
      [s[1][2] - s[2][1], s[0][0] - s[1][1] - s[2][2], s[0][1] + s[1][0], s[2][0] + s[0][2]],
      [s[2][0] - s[0][2], s[0][1] + s[1][0], s[1][1] - s[0][0] - s[2][2], s[1][2] + s[2][1]],
      [s[0][1] - s[1][0], s[2][0] + s[0][2], s[1][2] + s[2][1], s[2][2] - s[0][0] - s[1][1]],
    ];
    const size = Math.hypot(...matrix.flat()) || 1;
    matrix = matrix.map((row, a) => row.map((value, b) => value / size + (a === b ? 1 : 0)));
    for (let round = 0; round < 40; round++) {
      const square = multiply(matrix, matrix), largest = Math.max(...square.flat().map(Math.abs));
      matrix = square.map((row) => row.map((value) => value / largest));
    }
    const column = [0, 1, 2, 3].map((at) => matrix.map((row) => row[at])).sort((a, b) => Math.hypot(...b) - Math.hypot(...a))[0];
    const [w, x, y, z] = column.map((value) => value / Math.hypot(...column));
    const turn = [
      [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ];
    return (...point) => turn.map((row, axis) => row.reduce((sum, value, at) => sum + value * (point[at] - start[at]), 0) + goal[axis]);
  };

  const alphas = (residues) => residues.map(({ atoms }) => atoms.find(({ name, element }) => name === "CA" && element === "C")).map((atom) => atom && [atom.x, atom.y, atom.z]);

  async function read(row) {
    const [data, backbone] = await Promise.all([snakefold.target(row.id), snakefold.target(`backbones/${row.backbone}`)]);
    const model = data.models[0];
    const [ours, theirs] = await Promise.all([snakefold.moleculeResidues(model, data.kinds), snakefold.moleculeResidues(backbone.molecule, backbone.kinds)]);
    const model_ca = alphas(ours), pairs = alphas(theirs).map((point, at) => [model_ca[backbone.places[at]], point]).filter(([mine, other]) => mine && other);
    const move = snakefold.superposing(pairs.map(([mine]) => mine), pairs.map(([, other]) => other));
    const squared = pairs.map(([mine, other]) => move(...mine).reduce((sum, value, axis) => sum + (value - other[axis]) ** 2, 0));
    return { data, backbone, move, values: await snakefold.unpackPlddt(model.plddt), rmsd: Math.sqrt(squared.reduce((sum, value) => sum + value, 0) / squared.length) };
  }

  const FACTS = [["scRMSD", "sc_rmsd", 2, " Å"], ["Designed", "sc_rmsd_designed", 2, " Å"], ["Motif", "sc_rmsd_motif", 2, " Å"], ["scTM", "sc_tm", 3, ""], ["Control TM", "control_tm", 3, ""],
    ["pLDDT", "mean_plddt", 1, ""], ["ipTM", "iptm", 2, ""], ["Recovery", "recovery", 2, ""], ["Score", "score", 3, ""]];

  /** The card of a design, made once and filled again: the 3D view keeps its camera. */
  function parts(place) {
    if (place.parts) return place.parts;
    const viewer = node("div", { class: "viewer", tabindex: 0, role: "application" });
    const title = node("h3", {}), facts = node("dl", { class: "facts" });
    viewer.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!turn) return;
      event.preventDefault();
      snakefold.turnStructure(...turn);
    });
    const reset = node("button", { type: "button" }, "Reset view");
    reset.addEventListener("click", () => snakefold.resetStructure());
    const mark = node("span", { class: "mark", hidden: true }, "REHEARSAL");
    place.append(title, facts, node("div", { class: "controls screen" }, reset), node("div", { class: "frame" }, viewer, mark),
      node("ul", { class: "legend" }, snakefold.BANDS.map(({ name, label }) => node("li", { class: name }, `pLDDT ${label}`)), node("li", { class: "of-backbone" }, "backbone")));
    place.parts = { viewer, title, facts, mark };
    return place.parts;
  }

  function fill({ title, facts, viewer }, row) {
    title.replaceChildren(node("bdi", {}, row.id), " on its backbone");
    viewer.setAttribute("aria-label", `Structure of ${row.id} on its backbone; arrow keys turn it`);
    facts.replaceChildren(...FACTS.filter(([, name]) => row[name] !== null && row[name] !== undefined).map(([text, name, digits, unit]) =>
      node("div", {}, node("dt", {}, text), node("dd", { "data-metric": name }, `${number(row[name], digits)}${unit}`))));
  }

  async function show(place, row) {
    const drawn = parts(place), { viewer } = drawn;
    fill(drawn, row);
    // What is drawn, or about to be, is not begun again.
    if (place.dataset.of === row.id) return;
    place.dataset.of = row.id;
    const call = ++latest;
    if (!row.open) {
      snakefold.closeStructure();
      viewer.replaceChildren(node("p", { class: "notice" }, "This design has no structure."));
      viewer.dataset.state = "none";
      return;
    }
    try {
      viewer.dataset.state = "loading";
      const { data, backbone, move, values, rmsd } = await read(row);
      if (call !== latest) return;
      drawn.mark.hidden = !data.rehearsal;
      viewer.dataset.rmsd = rmsd.toFixed(3);
      await snakefold.showStructure(viewer, {
        items: [{ name: row.id, rank: 0, series: 0, molecule: data.models[0], kinds: data.kinds, values, move },
          { name: "backbone", reference: true, series: 0, molecule: backbone.molecule, kinds: backbone.kinds }],
        by: "plddt", sidechains: false, ligands: false, residues: snakefold.residues(data),
      });
    } catch (error) {
      if (call !== latest) return;
      viewer.dataset.state = "failed";
      viewer.replaceChildren(node("p", { class: "notice" }, `No 3D view here (${error.message || error}). It needs WebGL; the structures are in the folder structures.`));
    }
  }

  /** Show a design on its backbone: at once if somebody asked for it, otherwise when the card comes into sight. */
  snakefold.drawOverlay = (place, row, asked) => {
    place.wanted = row;
    if (asked || place.seen) { place.seen = true; return show(place, row); }
    fill(parts(place), row);
    if (!place.watcher) {
      place.watcher = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        place.watcher.disconnect();
        place.seen = true;
        show(place, place.wanted);
      });
      place.watcher.observe(parts(place).viewer);
    }
    return null;
  };
})();
