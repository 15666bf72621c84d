"use strict";

/* The models of a target: which are shown in 3D, which one the plots are of, and the residue they all point at. */
(() => {
  const { node, number } = snakefold;

  const option = (name, texts) => node("select", { id: name }, Object.entries(texts).map(([value, text]) => node("option", { value }, text)));
  const labelled = (text, control, attributes = {}) => node("label", attributes, `${text} `, control);

  function box(name, text, change) {
    const input = node("input", { type: "checkbox", id: name });
    input.addEventListener("change", () => change(input.checked));
    return [input, node("label", { for: name }, input, ` ${text}`)];
  }

  function button(text, press, attributes = {}) {
    const made = node("button", { type: "button", ...attributes }, text);
    made.addEventListener("click", press);
    return made;
  }

  /** What the cursor and the selection are, in words. */
  function described(residues, plddt, pae, values) {
    const { cursor, rows, columns } = residues.state;
    const parts = [];
    if (cursor !== null) parts.push(`${residues.label(cursor)}: pLDDT ${number(plddt[cursor], 1)}, ${snakefold.band(plddt[cursor]).label}.`);
    if (rows && columns) {
      const same = rows[0] === columns[0] && rows[1] === columns[1];
      const mean = values ? ` Mean PAE ${number(snakefold.meanPae(residues, pae, values), 1)} Å.` : "";
      parts.push((same ? `Selected ${residues.rangeLabel(rows)}.` : `Aligned on ${residues.rangeLabel(rows)}, scored ${residues.rangeLabel(columns)}.`) + mean);
    }
    return parts.join(" ");
  }

  function residueBar(residues, describe) {
    const slider = node("input", { type: "range", id: "residue", min: 1, max: residues.total, value: 1, "aria-label": "Residue" });
    const said = node("output", { id: "said", for: "residue", "aria-live": "polite" });
    const field = node("input", { type: "text", id: "range", size: 12, autocomplete: "off", placeholder: residues.chains.length > 1 ? "B or A:10-45" : "10-45" });
    const form = node("form", { class: "screen" }, labelled("Residues", field), button("Select", () => form.requestSubmit()), button("Clear", () => residues.clear(), { id: "clear" }));
    slider.addEventListener("input", () => residues.point(Number(slider.value) - 1));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const range = residues.parse(field.value);
      field.setAttribute("aria-invalid", String(!range));
      if (!range) { said.textContent = `No such residues. Expected ${field.placeholder}.`; return; }
      residues.select(range, range);
      residues.point(range[0]);
    });
    const tell = () => {
      const { cursor } = residues.state;
      if (cursor !== null) slider.value = cursor + 1;
      said.textContent = describe() || "Click a residue in the structure or in a plot, or drag over the PAE.";
      slider.setAttribute("aria-valuetext", cursor === null ? "none" : describe());
    };
    residues.onChange(tell);
    tell();
    return { parts: [node("p", { class: "residue" }, said), slider, node("div", { class: "controls" }, form)], tell };
  }

  /** The parts of the page that show models, and what chooses among them; `known`: pLDDT by rank. */
  snakefold.modelView = (row, data, residues, known, current) => {
    const state = { chosen: 0, shown: new Set([0]), reference: Boolean(data.reference), others: new Set(), sidechains: false, pae: "0" };
    const listeners = [];
    const matrices = new Map();
    const ligands = residues.chains.some((chain) => chain.kind === "ligand");
    const atoms = residues.tokens.total !== residues.total;
    let compared = [], drawnPae = null, drawnValues = null;

    const viewer = node("div", { class: "viewer", tabindex: 0, role: "application", "aria-label": `Structure of ${row.id}; arrow keys turn it` });
    const frame = node("div", { class: "frame" }, viewer, data.rehearsal && node("span", { class: "mark" }, "REHEARSAL"));
    const plddt = snakefold.plotPlace("pLDDT of every residue");
    const pae = snakefold.plotPlace("Predicted aligned error");
    pae.classList.add("square");
    const paeNote = node("p", { class: "quiet" });

    const colouring = option("colour-by", { plddt: "pLDDT", chain: "chain", model: "model" });
    colouring.addEventListener("change", () => { explain(); snakefold.recolourStructure(colouring.value); });
    const legend = node("ul", { class: "legend" });
    const [sidechainBox, sidechains] = box("sidechains", "side chains", (on) => { state.sidechains = on; structure(); });
    const [referenceBox, reference] = box("superposed", "known structure (grey)", (on) => { state.reference = on; structure(); });
    referenceBox.checked = state.reference;
    sidechainBox.checked = state.sidechains;
    const ofWhich = option("pae-of", {});
    ofWhich.addEventListener("change", () => { state.pae = ofWhich.value; drawPae(); });

    viewer.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!turn) return;
      event.preventDefault();
      snakefold.turnStructure(...turn);
    });

    /** [class or place among the series' colours, text] of what the colours in 3D mean. */
    function meanings() {
      const { bands } = snakefold.colours;
      if (residues.state.rows) return [["rows", "aligned on"], ["columns", "scored"], ["both", "both"]];
      if (colouring.value === "plddt") {
        return bands.map(({ from, name, label }, place) => [name, place === 0 ? `${label} ≥ ${from}`
          : place === bands.length - 1 ? `${label} < ${bands[place - 1].from}` : `${label} ${from}–${bands[place - 1].from}`]);
      }
      if (colouring.value === "chain") return residues.chains.map((chain, place) => [place, `chain ${residues.title(chain)}`]);
      return [...[...state.shown].sort().map((rank) => [rank, `rank ${rank}`]), ...[...state.others].map((place) => [data.models.length + place, compared[place].label])];
    }

    const explain = () => legend.replaceChildren(...meanings().map(([what, text]) => (typeof what === "string"
      ? node("li", { class: what }, text) : node("li", {}, snakefold.tables.series(what), text))));

    function items() {
      const models = [...state.shown].sort((a, b) => a - b).map((rank) => ({ name: `rank ${rank}`, rank, series: rank, molecule: data.models[rank], kinds: data.kinds, values: known[rank] }));
      const others = [...state.others].map((place) => ({ name: compared[place].label, rank: -1, series: data.models.length + place, molecule: compared[place].model, kinds: compared[place].kinds, values: compared[place].values }));
      const grey = state.reference && data.reference ? [{ name: "reference", reference: true, series: 0, molecule: data.reference, kinds: data.kinds }] : [];
      return [...models, ...others, ...grey];
    }

    const structure = () => {
      explain();
      return snakefold.showStructure(viewer, { items: items(), by: colouring.value, sidechains: state.sidechains, ligands, residues }).catch((error) => {
        if (!current()) return;
        viewer.dataset.state = "failed";
        viewer.replaceChildren(node("p", { class: "notice" }, `No 3D view here (${error.message || error}). It needs WebGL; the structure files are listed below.`));
      });
    };

    const lines = () => {
      const order = data.models.map((_, rank) => rank).sort((a, b) => (a === state.chosen) - (b === state.chosen));
      const { chains } = snakefold.colours;
      const theirs = compared.map((other, place) => ({ name: other.label, values: other.values, bold: false, colour: chains[(data.models.length + place) % chains.length] }))
        .filter((line) => line.values.length === residues.total);
      return [...order.slice(0, -1).map((rank) => ({ name: `rank ${rank}`, values: known[rank], bold: false })), ...theirs, { name: `rank ${state.chosen}`, values: known[state.chosen], bold: true }];
    };

    async function drawPae() {
      const wanted = state.pae;
      const found = wanted.startsWith("other") ? compared[Number(wanted.slice(5))].model.pae : data.models[Number(wanted)].pae;
      if (!found) {
        [drawnPae, drawnValues] = [null, null];
        if (pae.data) Plotly.purge(pae);
        pae.replaceChildren(node("p", { class: "quiet" }, "This model gives no PAE."));
        paeNote.textContent = "";
        return;
      }
      try {
        if (!matrices.has(wanted)) matrices.set(wanted, await snakefold.unpackPae(found, data.pae_unit));
        if (!current() || wanted !== state.pae) return;
        [drawnPae, drawnValues] = [found, matrices.get(wanted)];
        if (!pae.data) pae.replaceChildren();
        await snakefold.drawPae(pae, residues, drawnPae, drawnValues);
        const averaged = found.step > 1 ? `means over ${found.step} × ${found.step} ${atoms ? "residues or atoms" : "residues"}, ` : "";
        paeNote.textContent = `Drawn: ${averaged}8 bits, ${found.most === 0 ? "as in the file." : `${number(found.rms, 2)} Å off the file (root mean square), at most ${number(found.most, 1)} Å.`}`;
        pae.dataset.drawn = wanted;
        bar.tell();
      } catch (error) {
        [drawnPae, drawnValues] = [null, null];
        pae.replaceChildren(node("p", { class: "notice" }, `The PAE cannot be drawn: ${error.message}. The files below have it.`));
      }
    }

    const bar = residueBar(residues, () => described(residues, known[state.chosen], drawnPae, drawnValues));
    residues.onChange((_, what) => {
      if (what === "cursor") { snakefold.markStructure(); return; }
      explain();
      snakefold.recolourStructure();
    });

    const view = {
      table: null, plddt, comparisonCard: null,
      onChoice: (listener) => listeners.push(listener),
      /** Plots of a model; it is shown in 3D, alone if one model was. */
      async choose(rank) {
        if (state.shown.size === 1) state.shown.clear();
        state.chosen = rank;
        state.shown.add(rank);
        state.pae = String(rank);
        ofWhich.value = state.pae;
        check();
        for (const listener of listeners) listener(rank);
        await Promise.all([structure(), snakefold.drawPlddt(plddt, residues, lines(), data.sequence), hasPae && drawPae()]);
        bar.tell();
      },
      show(rank, on) {
        if (on) state.shown.add(rank); else state.shown.delete(rank);
        return structure();
      },
      /** Other results of this target; called before anything is drawn. */
      compare(found) {
        compared = found.others;
        view.comparisonCard = found.card;
        ofWhich.append(...compared.map((other, place) => other.model.pae && node("option", { value: `other${place}` }, other.label)).filter(Boolean));
      },
      showOther(place, on) {
        if (on) state.others.add(place); else state.others.delete(place);
        if (state.others.size && colouring.value === "plddt") colouring.value = "model";
        return structure();
      },
    };
    const check = () => { for (const rank of data.models.keys()) view.table.querySelector(`#show-${rank}`).checked = state.shown.has(rank); };
    const all = button("All in 3D", () => { data.models.forEach((_, rank) => state.shown.add(rank)); check(); structure(); }, { id: "show-all" });
    const one = button("Only the chosen", () => { state.shown = new Set([state.chosen]); check(); structure(); }, { id: "show-one" });
    view.table = node("div", {}, snakefold.tables.models(data, view), data.models.length > 1 && node("p", { class: "buttons screen" }, all, one,
      node("span", { class: "quiet" }, "Models lie on the best one. The files have the engine's own frame.")));

    const controls = node("div", { class: "controls screen" }, labelled("Colour", colouring), sidechains, data.reference && reference, button("Reset view", () => snakefold.resetStructure()));
    const hasPae = data.models.some((model) => model.pae) || data.others.some((other) => other.model.pae);
    ofWhich.append(...data.models.map((model, rank) => node("option", { value: String(rank) }, `rank ${rank}`)));
    const lead = `Dark: the relative position of two residues is trusted.${residues.chains.length > 1 ? " Lines part the chains." : ""}${atoms ? " Atoms of a ligand have a row each." : ""} Drag to select residues.`;
    const shown = snakefold.card("Structure", hasPae ? null : data.views.includes("pae") ? "There is no predicted aligned error." : "This engine predicts no aligned error.", controls, frame, legend);
    view.cards = hasPae ? [node("div", { class: "pair" }, shown, snakefold.card("Predicted aligned error", lead, node("p", { class: "controls screen" }, labelled("Of", ofWhich)), pae, paeNote))] : [shown];
    view.residueCard = snakefold.card("Residue", null, ...bar.parts);
    view.residueCard.classList.add("screen");
    return view;
  };
})();
