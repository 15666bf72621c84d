"use strict";

/* Which residue is looked at and which are selected: one for a target's page, so that its parts follow each other.
   Residues are numbered from 0 along all chains; to people they are a chain and a number from 1. */
(() => {
  const THREE = {
    A: "Ala", R: "Arg", N: "Asn", D: "Asp", C: "Cys", Q: "Gln", E: "Glu", G: "Gly", H: "His", I: "Ile",
    L: "Leu", K: "Lys", M: "Met", F: "Phe", P: "Pro", S: "Ser", T: "Thr", W: "Trp", Y: "Tyr", V: "Val",
  };

  function chainsOf(data) {
    let start = 0;
    return data.chain_lengths.map((length, place) => {
      const chain = { name: data.chain_names[place] ?? String(place + 1), start, length };
      start += length;
      return chain;
    });
  }

  snakefold.residues = (data) => {
    const chains = chainsOf(data);
    const total = data.sequence.length;
    const listeners = [];
    const state = { cursor: null, rows: null, columns: null };

    const at = (place) => chains.findLast((chain) => place >= chain.start);
    const number = (place) => place - at(place).start + 1;
    const prefix = (place) => (chains.length > 1 ? `${at(place).name} ` : "");

    function clamped(range) {
      if (!range) return null;
      const [first, last] = range.map((place) => Math.min(Math.max(Math.round(place), 0), total - 1));
      return first <= last ? [first, last] : [last, first];
    }

    function tell(what) {
      for (const listener of listeners) listener(state, what);
    }

    return {
      chains, total, state,
      /** `listener(state, "cursor" | "selection")`. */
      onChange: (listener) => listeners.push(listener),
      at,
      /** "A 45 Lys", or "45 Lys" where there is one chain. */
      label: (place) => `${prefix(place)}${number(place)} ${THREE[data.sequence[place]] ?? data.sequence[place]}`,
      /** "A 10–45", or "10–45"; a range may go from one chain into another. */
      rangeLabel: ([first, last]) => (at(first) === at(last)
        ? `${prefix(first)}${number(first)}–${number(last)}`
        : `${prefix(first)}${number(first)} – ${prefix(last)}${number(last)}`),
      /** Place in the whole of a residue of a chain (numbered from 1), or null. */
      place(chainName, residue) {
        const chain = chains.find((item) => item.name === chainName);
        return chain && residue >= 1 && residue <= chain.length ? chain.start + residue - 1 : null;
      },
      /** "45", "A:45", "A 10-45", "A" → [first, last]; null if there is no such residue. */
      parse(text) {
        const found = /^\s*(?:([^\s:\d])\s*:?)?\s*(?:(\d+)\s*(?:[-–]\s*(\d+))?)?\s*$/.exec(text);
        if (!found || (!found[1] && !found[2])) return null;
        const chain = found[1] ? chains.find((item) => item.name.toUpperCase() === found[1].toUpperCase()) : chains[0];
        if (!chain) return null;
        const [first, last] = found[2] ? [Number(found[2]), Number(found[3] ?? found[2])] : [1, chain.length];
        if (first < 1 || last > chain.length || first > last) return null;
        return [chain.start + first - 1, chain.start + last - 1];
      },
      point(place) {
        const cursor = place === null ? null : Math.min(Math.max(Math.round(place), 0), total - 1);
        if (cursor === state.cursor) return;
        state.cursor = cursor;
        tell("cursor");
      },
      /** Rows: residues aligned on; columns: residues scored. */
      select(rows, columns) {
        [state.rows, state.columns] = [clamped(rows), clamped(columns)];
        tell("selection");
      },
      clear() {
        state.cursor = null;
        [state.rows, state.columns] = [null, null];
        tell("cursor");
        tell("selection");
      },
    };
  };
})();
