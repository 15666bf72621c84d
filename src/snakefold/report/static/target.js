"use strict";

/* One target: its structure, its scores, its alignment and its files. */
(() => {
  const { node, number } = snakefold;
  let latest = 0;

  const FACTS = [
    ["Length", (row) => row.length, "length"], ["Chains", (row) => row.chains, "chains"],
    ["Mean pLDDT", (row) => number(row.mean_plddt, 1), "mean_plddt"], ["pTM", (row) => number(row.ptm, 2), "ptm"],
    ["ipTM", (row) => number(row.iptm, 2), "iptm"], ["Mean PAE", (row) => `${number(row.mean_pae, 1)} Å`, "mean_pae"],
    ["Interface PAE", (row) => `${number(row.interface_pae, 1)} Å`, "interface_pae"],
    ["MSA rows", (row) => row.msa_depth, "msa_depth"], ["Neff", (row) => number(row.neff, 1), "neff"],
    ["Time", (row) => `${number(row.seconds, 1)} s`, "seconds"],
    ["TM-score", (row) => number(row.reference_tm_score, 3), "reference_tm_score"],
    ["RMSD", (row) => `${number(row.reference_rmsd, 2)} Å`, "reference_rmsd"],
  ];

  function bytes(count) {
    return count < 1000 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
  }

  function navigation(previous, next) {
    const step = (row, text, label) => row && node("a", { href: `#/${row.id}`, "aria-label": `${label}: ${row.id}` }, text);
    return node("nav", { class: "steps screen", "aria-label": "Targets" },
      node("a", { href: "#" }, "← All targets"), node("span", {}, step(previous, "‹ previous", "Previous"), step(next, "next ›", "Next")));
  }

  function card(title, note, ...content) {
    return node("section", { class: "card" }, node("h3", {}, title), note && node("p", { class: "quiet" }, note), ...content);
  }

  function modelTable(data, choose) {
    const complex = data.chain_lengths.length > 1;
    const head = ["Rank", "Model", "pLDDT", "pTM", ...(complex ? ["ipTM"] : []), "Ranked by", "Recycles", "Relaxed"];
    const rows = data.models.map((model, rank) => {
      const radio = node("input", { type: "radio", name: "model", value: rank, id: `model-${rank}`, checked: rank === 0 });
      radio.addEventListener("change", () => choose(rank));
      const cells = [number(model.mean_plddt, 1), number(model.ptm, 2), ...(complex ? [number(model.iptm, 2)] : []),
        number(model.ranking_confidence, 3), model.recycles, model.relaxed ? "yes" : "no"];
      return node("tr", {}, node("td", {}, node("label", { for: `model-${rank}`, class: "rank" }, radio, ` ${rank}`)),
        node("td", {}, node("label", { for: `model-${rank}` }, model.name)),
        cells.map((cell) => node("td", { class: "number" }, String(cell))));
    });
    return node("div", { class: "scroll" }, node("table", { class: "models" },
      node("thead", {}, node("tr", {}, head.map((text, index) => node("th", { class: index > 1 ? "number" : null, scope: "col" }, text)))),
      node("tbody", {}, rows)));
  }

  function pairs(entries) {
    return node("table", { class: "list" }, node("tbody", {}, entries.map(([name, value]) =>
      node("tr", {}, node("td", {}, name), node("td", { class: "number" }, value)))));
  }

  function head(row, previous, next) {
    const facts = FACTS.filter(([, , name]) => row[name] !== null && row[name] !== undefined);
    return [
      navigation(previous, next),
      node("h2", { class: "title" }, row.id, row.duplicate_of && node("span", { class: "tag" }, `same as ${row.duplicate_of}`)),
      row.header && node("p", { class: "quiet clamp" }, node("bdi", {}, row.header)),
      row.note && node("p", { class: "quiet" }, row.note),
      node("dl", { class: "facts" }, facts.map(([title, show, name]) =>
        node("div", {}, node("dt", {}, title), node("dd", { "data-metric": name }, String(show(row)))))),
      row.warnings && node("p", { class: "notice" }, node("bdi", {}, row.warnings)),
    ];
  }

  async function fill(place, row, data, call) {
    const complex = data.chain_lengths.length > 1, taken = data.engine === "reuse";
    const view = node("div", { class: "viewer", role: "img", "aria-label": `Structure of ${row.id}, coloured by pLDDT` });
    const frame = node("div", { class: "frame" }, view, data.rehearsal && node("span", { class: "mark" }, "REHEARSAL"));
    const [plddt, pae, coverage] = ["pLDDT of every residue", "Predicted aligned error", "Coverage of the MSA"].map((label) =>
      node("div", { class: "plot", role: "img", "aria-label": label }));
    pae.classList.add("square");
    let chosen = 0;
    const laid = node("input", { type: "checkbox", id: "superposed" });
    const structure = () => snakefold.showStructure(view, data, chosen, laid.checked).catch((error) => {
      if (call !== latest) return;
      view.dataset.state = "failed";
      view.replaceChildren(node("p", { class: "notice" }, `No 3D view here (${error.message || error}). It needs WebGL; the structure files are listed below.`));
    });
    laid.addEventListener("change", structure);
    // A known structure is what one wants to see first; choosing a model shows that model.
    const choose = (rank, beside = false) => {
      chosen = rank;
      laid.checked = beside;
      return Promise.all([structure(), snakefold.drawPlddt(plddt, data, rank), snakefold.drawPae(pae, data, rank)]);
    };
    const legend = document.querySelector(".legend").cloneNode(true);
    const reference = data.superposed && node("p", { class: "screen" }, node("label", { for: "superposed" }, laid,
      ` best model on the known structure (grey): TM-score ${number(row.reference_tm_score, 3)}, RMSD ${number(row.reference_rmsd, 2)} Å`));
    const averaged = data.models[0].pae?.step > 1 ? ` Averaged over ${data.models[0].pae.step} × ${data.models[0].pae.step} residues.` : "";
    const thinned = data.coverage && data.coverage.rows < data.coverage.depth ? ` ${data.coverage.rows} of ${data.coverage.depth} rows drawn.` : "";
    place.append(
      card("Models", null, modelTable(data, choose)),
      data.models.some((model) => model.pae)
        ? node("div", { class: "pair" },
          card("Structure", null, frame, legend, reference),
          card("Predicted aligned error", `Dark: the relative position of two residues is trusted.${complex ? " Lines part the chains." : ""}${averaged}`, pae))
        : card("Structure", taken ? "There is no aligned error beside the file." : "This engine predicts no aligned error.", frame, legend, reference),
      card("pLDDT", "The chosen model is drawn bold.", plddt),
      data.coverage
        ? card("MSA coverage", `Rows by identity to the target; the line counts rows with a residue.${thinned}`, coverage)
        : card("MSA coverage", taken ? "The structure was taken as it is: nothing was aligned." : "There is no alignment that fits this target."),
      node("div", { class: "pair" },
        card("Seconds", null, pairs(Object.entries(data.timings).map(([name, value]) => [name, value.toFixed(2)]))),
        card("Files", null, pairs(data.files.map((file) => [node("a", { href: file.link }, file.name), bytes(file.bytes)])))));
    await choose(0, Boolean(data.superposed));
    if (data.coverage && call === latest) await snakefold.drawCoverage(coverage, data);
  }

  snakefold.showTarget = async (place, row, previous, next) => {
    const call = ++latest;
    snakefold.closeStructure();
    snakefold.clearPlots(place);
    place.dataset.state = "loading";
    place.replaceChildren(...head(row, previous, next).filter(Boolean));
    scrollTo(0, 0);
    place.focus({ preventScroll: true });
    try {
      const data = await snakefold.target(row.id);
      if (call !== latest) return;
      await fill(place, row, data, call);
    } catch (error) {
      if (call !== latest) return;
      place.append(node("p", { class: "notice" }, `This target cannot be shown: ${error.message}`));
    }
    if (call === latest) place.dataset.state = "ready";
  };

  snakefold.closeTarget = () => {
    const place = document.getElementById("target");
    latest += 1;
    snakefold.closeStructure();
    snakefold.clearPlots(place);
    place.replaceChildren();
  };
})();
