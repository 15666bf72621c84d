"use strict";

/* The page of one target: its structure, its scores, its alignment and its files. */
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
  ];

  function navigation(previous, next) {
    const step = (row, text, label) => row && node("a", { href: `#/${row.id}`, "aria-label": `${label}: ${row.id}` }, text);
    return node("nav", { class: "steps screen", "aria-label": "Targets" },
      node("a", { href: "#" }, "← All targets"), node("span", {}, step(previous, "‹ previous", "Previous"), step(next, "next ›", "Next")));
  }

  const card = (title, note, ...content) => node("section", { class: "card", "aria-label": title }, node("h3", {}, title), note && node("p", { class: "quiet" }, note), ...content);

  const plot = (label) => node("div", { class: "plot", role: "img", "aria-label": label });

  function head(row, previous, next) {
    const facts = FACTS.filter(([, , name]) => row[name] !== null && row[name] !== undefined);
    return [
      navigation(previous, next),
      node("h2", { class: "title" }, row.id, row.duplicate_of && node("span", { class: "tag" }, `same as ${row.duplicate_of}`)),
      row.header && node("p", { class: "quiet clamp" }, node("bdi", {}, row.header)),
      row.note && node("p", { class: "quiet" }, row.note),
      node("dl", { class: "facts" }, facts.map(([title, show, name]) =>
        node("div", {}, node("dt", {}, title), node("dd", { "data-metric": name }, String(show(row)))))),
    ];
  }

  /** Cards of what was computed beside the structure; missing data make no card. */
  function more(data, residues, view) {
    const { tables } = snakefold, { scores } = data;
    const cards = [];
    if (scores?.interfaces?.length) {
      const place = node("div", { class: "chosen-interfaces" });
      view.onChoice((rank) => place.replaceChildren(tables.interfaces(scores.interfaces, rank, (a, b) => {
        const ends = (name) => { const chain = residues.chains.find((item) => item.name === name); return chain && [chain.start, chain.start + chain.length - 1]; };
        residues.select(ends(a), ends(b));
      })));
      cards.push(card("Interfaces", "Of the model chosen above; choose a pair to see it in 3D and in the PAE.", place));
    }
    if (scores?.model_tm?.length > 1) {
      cards.push(card("Models against each other", "TM-score, residue on residue, by rank: 1 is the same fold.", snakefold.tables.modelScores(scores.model_tm)));
    }
    if (scores && Object.keys(scores.missing ?? {}).length) {
      cards.push(card("Not computed", null, node("ul", { class: "missing" }, Object.entries(scores.missing).map(([name, why]) => node("li", {}, node("bdi", {}, `${name}: ${why}`))))));
    }
    return cards.length > 1 ? [node("div", { class: "pair" }, cards)] : cards;
  }

  function reference(row, data) {
    const found = data.scores?.reference ?? (row.reference_tm_score != null ? { tm: row.reference_tm_score, rmsd: row.reference_rmsd } : null);
    if (!found) return null;
    const figures = [["TM-score", number(found.tm, 3), "reference_tm_score"], ["lDDT", number(found.lddt, 3), "reference_lddt"],
      ["RMSD", found.rmsd == null ? "–" : `${number(found.rmsd, 2)} Å`, "reference_rmsd"], ["Aligned", found.aligned ?? "–", "reference_aligned"], ["Reference's length", found.length ?? "–", "reference_length"]];
    return card("Against the known structure", "Best model, by TM-align; RMSD over the aligned CA atoms. The known structure is grey in 3D.",
      found.file && node("p", {}, node("bdi", {}, found.file)),
      node("dl", { class: "facts" }, figures.filter(([, text]) => text !== "–").map(([title, text, name]) => node("div", {}, node("dt", {}, title), node("dd", { "data-metric": name }, String(text))))));
  }

  /** Two cards side by side, or the one that there is. */
  const paired = (...cards) => (cards.every(Boolean) ? [node("div", { class: "pair" }, cards)] : cards);

  /** What a ligand's affinity is predicted to be; no card without one. */
  function affinity({ affinity: found, rehearsal }) {
    if (!found) return null;
    const figures = [["log10(IC50 in µM)", number(found.value, 2), "affinity"], ["IC50", found.ic50, "ic50"],
      ...(found.probability === null ? [] : [["Probability of binding", number(found.probability, 2), "probability"]])];
    const columns = [["Network"], ["log10(IC50 in µM)", true], ["IC50", true], ["Probability", true]];
    return card("Affinity", `Predicted, lower is tighter: −3 is 1 nM, 0 is 1 µM. ${found.note}`,
      rehearsal && node("p", {}, node("span", { class: "tag" }, "REHEARSAL")),
      node("dl", { class: "facts" }, figures.map(([title, text, name]) => node("div", {}, node("dt", {}, title), node("dd", { "data-metric": name }, text)))),
      found.members.length > 0 && snakefold.tables.table(columns, found.members.map((member, place) =>
        [String(place + 1), number(member.value, 3), member.ic50, number(member.probability, 3)]), { class: "affinity" }));
  }

  /** Every different ligand, drawn in two dimensions from what the input says of it. */
  async function ligands({ ligands: found }) {
    if (!found?.length) return null;
    const figures = await Promise.all(found.map(async ({ chains, components, smiles, drawings }) => {
      const name = components.join("-"), different = [...new Set(components)];
      const pictures = await Promise.all(drawings.map(async (drawing, place) => drawing && node("img", {
        alt: `Drawing of ${different[place]}`, width: 260, height: 180,
        src: `data:image/svg+xml,${encodeURIComponent(new TextDecoder().decode(await snakefold.unpack(drawing)))}`,
      })));
      return node("figure", {}, pictures, node("figcaption", {}, node("strong", {}, name),
        ` chain${chains.length > 1 ? "s" : ""} ${chains.join(", ")}`, smiles && node("bdi", { class: "smiles quiet" }, smiles)));
    }));
    return card("Ligands", "As the input has them; names are those in the structure's files.", node("div", { class: "drawings" }, figures));
  }

  /** Poses of the chosen model: what they touch, and whether they are molecules that can be. */
  function poses(data, residues, view) {
    const { tables } = snakefold, found = data.scores?.poses ?? [];
    if (!found.length) return null;
    const place = node("div", { class: "chosen-poses" });
    const pointed = (chain, number) => { const at = residues.place(chain, number); if (at !== null) { residues.select([at, at], [at, at]); residues.point(at); } };
    view.onChoice((rank) => place.replaceChildren(...tables.poses(found.filter((pose) => pose.rank === rank), data.contacts?.[rank] ?? [], pointed)));
    return card("Poses", "Of the model chosen above. Contacts are residues with a heavy atom within 4.5 Å of one of the ligand's.",
      data.rehearsal && node("p", {}, node("span", { class: "tag" }, "REHEARSAL")), place);
  }

  function alignment(data, residues, drawn) {
    if (!data.views.includes("alignment")) return [];
    const { coverage } = data, { tables } = snakefold;
    const parts = [];
    if (coverage?.depth === 1) {
      parts.push(card("MSA coverage", "The query is the only row."));
    } else if (coverage) {
      const [rows, identities] = [plot("Coverage of the MSA"), plot("Identity of the MSA's rows")];
      identities.classList.add("low-plot");
      drawn.push(() => snakefold.drawCoverage(rows, residues, coverage), () => snakefold.drawIdentities(identities, coverage.identities));
      const thinned = coverage.rows < coverage.depth ? ` ${coverage.rows} of ${coverage.depth} rows drawn.` : "";
      parts.push(card("MSA coverage", `Rows by identity to the target; the line counts rows with a residue.${thinned}`, rows, identities));
    } else {
      parts.push(card("MSA coverage", "There is no alignment that fits this target."));
    }
    const searched = data.alignments.length ? card("Searches", null, tables.alignments(data)) : null;
    const count = data.alignments.reduce((sum, chain) => sum + (chain.templates ?? 0), 0);
    const templates = data.templates?.length ? card("Templates", "Given to the networks that read templates, best first.", tables.templates(data.templates))
      : count ? card("Templates", `${count} found.`) : null;
    return [...parts, searched, templates];
  }

  function files(row, data) {
    const { tables } = snakefold;
    const listed = tables.pairs(data.files.map((file) => [tables.link(file), tables.size(file.bytes)]));
    const made = data.models.map((model, rank) => model.pae && rank).filter((rank) => rank !== null && rank !== undefined).map((rank) => {
      const button = node("button", { type: "button", "data-pae": rank }, `PAE of rank ${rank}`);
      button.addEventListener("click", async () => {
        try {
          save(`${row.id}-rank_${rank}-predicted_aligned_error.json`, await snakefold.paeFile(row.id, rank));
        } catch (error) {
          button.after(node("p", { class: "notice", role: "alert" }, `Cannot be made: ${error.message}`));
        }
      });
      return button;
    });
    return card("Files", "In results/structures, beside the report: send that folder along.", listed,
      made.length > 0 && node("p", { class: "buttons screen" }, node("span", { class: "quiet" }, "JSON as in AlphaFold DB, whole Å: "), made));
  }

  function save(name, text) {
    const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const link = node("a", { href: address, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  async function fill(place, row, data, call) {
    const residues = snakefold.residues(data);
    const drawn = [];
    const known = await Promise.all(data.models.map((model) => snakefold.unpackPlddt(model.plddt)));
    const view = snakefold.modelView(row, data, residues, known, () => call === latest);
    if (data.others.length) view.compare(await snakefold.comparison(data, residues, view));
    place.append(...[
      ...snakefold.notes(row, data),
      ...paired(affinity(data), await ligands(data)),
      card("Models", null, view.table),
      ...view.cards,
      view.residueCard,
      data.views.includes("plddt") && card("pLDDT", data.others.length ? "The chosen model is drawn bold, other results in their colours." : "The chosen model is drawn bold.", view.plddt),
      poses(data, residues, view),
      ...more(data, residues, view),
      data.own.length > 0 && card(`Scores of ${data.engine}`, null, snakefold.tables.own(data.own)),
      reference(row, data),
      view.comparisonCard,
      ...alignment(data, residues, drawn),
      node("div", { class: "pair" },
        card("Seconds", null, snakefold.tables.seconds(data.timings)), files(row, data)),
    ].filter(Boolean));
    if (call !== latest) return;
    await view.choose(0);
    for (const draw of drawn) if (call === latest) await draw();
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
      place.append(node("p", { class: "notice", role: "alert" }, `This target cannot be shown: ${error.message}`));
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

  snakefold.card = card;
  snakefold.plotPlace = plot;
})();
