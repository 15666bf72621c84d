"use strict";

/* Molecules as report/coordinates.py packs them: whole multiples of a step, each atom as its difference from an
   earlier one, and names once for every kind of residue. */
(() => {
  const { unpack } = snakefold;

  /** pLDDT of every residue, 0 to 100, from hundredths in uint16. */
  snakefold.unpackPlddt = async (text) => {
    const bytes = await unpack(text);
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 2 }, (_, place) => view.getUint16(2 * place, true) / 100);
  };

  function differences(view, start, count) {
    return Float64Array.from({ length: count }, (_, place) => {
      const folded = view.getUint8(start + place) | (view.getUint8(start + 3 * count + place) << 8);
      return folded & 1 ? -(folded + 1) / 2 : folded / 2;
    });
  }

  /** Residues of a molecule: [{ chain, what, number, name, atoms: [{ name, element, x, y, z }] }], Å. */
  async function residues(molecule, kinds) {
    const bytes = await unpack(molecule.atoms);
    const view = new DataView(bytes.buffer);
    const chains = molecule.chains.flatMap(([name, count, what = "protein"]) => Array(count).fill([name, what]));
    const kind = chains.map((_, place) => kinds[view.getUint16(2 * place, true)]);
    const total = kind.reduce((sum, [, names]) => sum + names.length, 0);
    const body = 4 * chains.length;
    const axes = [0, 1, 2].map((axis) => {
      // The three axes follow each other: low bytes of all, then high bytes of all.
      const shifted = new DataView(bytes.buffer, body + axis * total);
      return differences(shifted, 0, total);
    });
    const found = [];
    let number = 0, start = 0, anchor = 0;
    chains.forEach(([chain, what], place) => {
      const [name, names, parents, elements] = kind[place];
      number += view.getInt16(2 * (chains.length + place), true);
      for (let atom = 0; atom < names.length; atom++) {
        const parent = atom ? start + parents[atom] : anchor;
        if (start + atom) for (const axis of axes) axis[start + atom] += axis[parent];
      }
      found.push({ chain, what, number, name, start, names, elements });
      anchor = start + (names.includes("C") ? names.indexOf("C") : names.length - 1);
      start += names.length;
    });
    return found.map(({ names, start: first, elements, ...residue }) => ({
      ...residue,
      atoms: names.map((atom, place) => {
        const [x, y, z] = axes.map((axis) => axis[first + place] * molecule.step);
        return { name: atom, element: elements?.[place] ?? atom.replace(/^[0-9]*/, "")[0] ?? "C", x, y, z };
      }),
    }));
  }

  const ROW = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num"];

  const COMPONENTS = { protein: "L-peptide linking", dna: "DNA linking", rna: "RNA linking", ligand: "non-polymer" };

  const quoted = (text) => (/^[A-Za-z0-9]+$/.test(text) ? text : text.includes("'") ? `"${text}"` : `'${text}'`);

  snakefold.moleculeResidues = residues;

  /** mmCIF text of molecules, a model each; `values`: what the B column gets, a number a residue; `move(x, y, z)`
   *  moves its atoms.
   *  All polymers are one entity, all ligands another, which Mol* puts side by side: label_seq_id is a residue's
   *  place along all chains. */
  snakefold.cifText = async (molecules) => {
    const lines = ["loop_", ...ROW.map((name) => `_atom_site.${name}`)];
    const components = new Map(); // Mol* would take a modified residue for a ligand
    let serial = 0;
    for (const [place, { molecule, kinds, values, move = (...point) => point }] of molecules.entries()) {
      (await residues(molecule, kinds)).forEach((residue, index) => {
        const chain = quoted(residue.chain || " "), ligand = residue.what === "ligand";
        components.set(residue.name, COMPONENTS[residue.what]);
        for (const { name, element, x, y, z } of residue.atoms) {
          const moved = move(x, y, z);
          serial += 1;
          lines.push([ligand ? "HETATM" : "ATOM", serial, element, quoted(name), ".", quoted(residue.name), chain, ligand ? 2 : 1, index + 1, "?",
            ...moved.map((value) => value.toFixed(3)), "1.00", (values?.[index] ?? 0).toFixed(2), residue.number,
            chain, place + 1].join(" "));
        }
      });
    }
    const named = [...components.values()].some((type) => type !== COMPONENTS.protein)
      ? ["loop_", "_chem_comp.id", "_chem_comp.type", ...[...components].map(([name, type]) => `${quoted(name)} ${quoted(type)}`)] : [];
    return ["data_models", "_entry.id models", "loop_", "_entity.id", "_entity.type", "1 polymer", "2 non-polymer", ...named, ...lines, ""].join("\n");
  };
})();
