"use strict";

/* Which residue is looked at and which are selected: one for a target's page, so that its parts follow each other.
   Residues are numbered from 0 along all chains; to people they are a chain and a number from 1. A ligand is a
   residue for each of its components. Matrices have rows for tokens: a residue has one, each atom of a ligand one. */
(() => {
  const THREE = {
    A: "Ala", R: "Arg", N: "Asn", D: "Asp", C: "Cys", Q: "Gln", E: "Glu", G: "Gly", H: "His", I: "Ile",
    L: "Leu", K: "Lys", M: "Met", F: "Phe", P: "Pro", S: "Ser", T: "Thr", W: "Trp", Y: "Tyr", V: "Val",
  };

  function chainsOf(data) {
    let start = 0;
    return data.chain_lengths.map((length, place) => {
      const chain = { name: data.chain_names[place] ?? String(place + 1), start, length, kind: data.chain_kinds?.[place] ?? "protein" };
      start += length;
      return chain;
    });
  }

  /** Where residues are among the tokens, numbered from 0; `counts`: of residues that are not one token. */
  function tokensOf(total, counts) {
    if (!Object.keys(counts).length) return { total, first: (place) => place, last: (place) => place, place: (token) => token };
    const starts = [0];
    for (let place = 0; place < total; place++) starts.push(starts[place] + (counts[place] ?? 1));
    return {
      total: starts[total], first: (place) => starts[place], last: (place) => starts[place + 1] - 1,
      place: (token) => Math.max(starts.findLastIndex((start) => start <= token && start < starts[total]), 0),
    };
  }

  snakefold.residues = (data) => {
    const chains = chainsOf(data);
    const total = data.sequence.length;
    const listeners = [];
    const state = { cursor: null, rows: null, columns: null };
    const components = data.components ?? {};
    const tokens = tokensOf(total, data.tokens ?? {});

    const at = (place) => chains.findLast((chain) => place >= chain.start);
    const number = (place) => place - at(place).start + 1;
    const prefix = (place) => (chains.length > 1 ? `${at(place).name} ` : "");
    const single = (place) => at(place).kind === "ligand" && at(place).length === 1;

    function residueName(place) {
      const letter = data.sequence[place], { kind } = at(place);
      return components[place] ?? (kind === "protein" ? THREE[letter] ?? letter : kind === "dna" ? `D${letter}` : letter);
    }

    /** What a chain is called: "B", or "B ATP" of a ligand. */
    const title = ({ name, start, length, kind }) => (kind === "ligand" ? `${name} ${length === 1 ? residueName(start) : "ligand"}` : name);

    function clamped(range) {
      if (!range) return null;
      const [first, last] = range.map((place) => Math.min(Math.max(Math.round(place), 0), total - 1));
      return first <= last ? [first, last] : [last, first];
    }

    function tell(what) {
      for (const listener of listeners) listener(state, what);
    }

    return {
      chains, total, state, tokens, title,
      /** `listener(state, "cursor" | "selection")`. */
      onChange: (listener) => listeners.push(listener),
      at,
      /** "A 45 Lys", or "45 Lys" where there is one chain; "B ATP" of a ligand. */
      label: (place) => `${prefix(place)}${single(place) ? "" : `${number(place)} `}${residueName(place)}`,
      /** "A 10–45", or "10–45"; a range may go from one chain into another. */
      rangeLabel: ([first, last]) => (first === last && single(first) ? title(at(first)) : at(first) === at(last)
        ? `${prefix(first)}${number(first)}–${number(last)}`
        : [first, last].map((place) => (single(place) ? title(at(place)) : `${prefix(place)}${number(place)}`)).join(" – ")),
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
