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

  /** Residues of a molecule: [{ chain, number, name, atoms: [{ name, x, y, z }] }], Å. */
  async function residues(molecule, kinds) {
    const bytes = await unpack(molecule.atoms);
    const view = new DataView(bytes.buffer);
    const chains = molecule.chains.flatMap(([name, count]) => Array(count).fill(name));
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
    chains.forEach((chain, place) => {
      const [name, names, parents] = kind[place];
      number += view.getInt16(2 * (chains.length + place), true);
      for (let atom = 0; atom < names.length; atom++) {
        const parent = atom ? start + parents[atom] : anchor;
        if (start + atom) for (const axis of axes) axis[start + atom] += axis[parent];
      }
      found.push({ chain, number, name, start, names });
      anchor = start + (names.includes("C") ? names.indexOf("C") : names.length - 1);
      start += names.length;
    });
    return found.map(({ names, start: first, ...residue }) => ({
      ...residue,
      atoms: names.map((atom, place) => {
        const [x, y, z] = axes.map((axis) => axis[first + place] * molecule.step);
        return { name: atom, x, y, z };
      }),
    }));
  }

  const right = (value, width) => String(value).padStart(width).slice(-width);

  /** PDB text of molecules, a MODEL each; `values`: what the B column gets, a number a residue. */
  snakefold.pdbText = async (molecules) => {
    const lines = [];
    for (const [place, { molecule, kinds, values }] of molecules.entries()) {
      lines.push(`MODEL     ${right(place + 1, 4)}`);
      let serial = 0, before = null;
      (await residues(molecule, kinds)).forEach((residue, index) => {
        if (before !== null && before !== residue.chain) lines.push("TER");
        before = residue.chain;
        for (const { name, x, y, z } of residue.atoms) {
          serial = (serial % 99999) + 1;
          const atom = name.length < 4 ? ` ${name}`.padEnd(4) : name;
          const [px, py, pz, b] = [x.toFixed(3), y.toFixed(3), z.toFixed(3), (values?.[index] ?? 0).toFixed(2)];
          lines.push(`ATOM  ${right(serial, 5)} ${atom} ${right(residue.name, 3)} ${residue.chain || " "}${right(residue.number, 4)}    `
            + `${right(px, 8)}${right(py, 8)}${right(pz, 8)}  1.00${right(b, 6)}          ${right(name.replace(/[^A-Za-z].*/, "")[0] ?? "C", 2)}`);
        }
      });
      lines.push("TER", "ENDMDL");
    }
    return [...lines, "END", ""].join("\n");
  };
})();
