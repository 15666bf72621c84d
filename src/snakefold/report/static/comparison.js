"use strict";

/* The same target in other results, side by side. */
(() => {
  const { node, number } = snakefold;

  /** { others, card }: other results with their pLDDT, and the card that lists them. */
  snakefold.comparison = async (data, residues, view) => {
    const { tables } = snakefold;
    const others = await Promise.all(data.others.map(async (other) => ({ ...other, values: await snakefold.unpackPlddt(other.model.plddt) })));
    const complex = residues.chains.length > 1;
    const columns = [["Results"], ["In 3D"], ["Engine"], ["Model"], ["pLDDT", true], ["Change", true, "of the mean pLDDT, against this run"], ["pTM", true], ...(complex ? [["ipTM", true]] : []),
      ["Largest PAE", true], ["MSA rows", true], ["TM-score", true, "of the best models, residue on residue"], ["RMSD", true, "over all CA atoms"], ["Files"]];
    const angstroms = (value, digits) => (value === null || value === undefined ? "–" : `${number(value, digits)} Å`);
    const scores = (model) => [number(model.ptm, 2), ...(complex ? [number(model.iptm, 2)] : []), angstroms(model.max_pae, 1)];
    const best = data.models[0];
    const ours = ["this run", "", data.engine, best.name, number(best.mean_plddt, 1), "", ...scores(best), data.coverage?.depth ?? "–", "", "", ""];
    const rows = others.map((other, place) => {
      const box = node("input", { type: "checkbox", id: `other-${place}`, "aria-label": `Show ${other.label} in 3D` });
      box.addEventListener("change", () => view.showOther(place, box.checked));
      const change = other.model.mean_plddt - best.mean_plddt;
      const named = [tables.series(data.models.length + place), node("bdi", {}, other.label), ...(other.rehearsal ? [node("span", { class: "tag" }, "REHEARSAL")] : [])];
      return [node("span", {}, named), box, other.engine, other.model.name, number(other.model.mean_plddt, 1), `${change < 0 ? "−" : "+"}${number(Math.abs(change), 1)}`, ...scores(other.model),
        other.msa_depth ?? "–", number(other.tm, 3), angstroms(other.rmsd, 2), node("a", { href: `${other.link}/ranked_0.cif`, download: `${other.id}.cif` }, "mmCIF")];
    });
    const card = snakefold.card("Comparison", "Best models of the same sequences in other results, laid over this one.", tables.table(columns, [ours, ...rows], { class: "comparison" }));
    return { others, card };
  };
})();
