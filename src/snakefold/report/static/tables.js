"use strict";

/* Tables of a target's page. */
(() => {
  const { node, number } = snakefold;

  const size = (count) => (count < 1000 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`);
  const percent = (text) => (text === "" || text === undefined ? "–" : `${Math.round(100 * Number(text))} %`);

  /** A table: `columns` is [[head, number?]], `rows` are lists of cells or [cells, attributes]. */
  function table(columns, rows, attributes = {}) {
    return node("div", { class: "scroll" }, node("table", attributes,
      node("thead", {}, node("tr", {}, columns.map(([text, numeric, title]) => node("th", { scope: "col", class: numeric ? "number" : null, title }, text)))),
      node("tbody", {}, rows.map((row) => {
        const [cells, more] = Array.isArray(row[0]) ? row : [row, {}];
        return node("tr", more, cells.map((cell, place) => node(place ? "td" : "th", { scope: place ? null : "row", class: columns[place][1] ? "number" : null },
          ...(Array.isArray(cell) ? cell : [cell]).map((part) => (part instanceof Node ? part : String(part ?? "–"))))));
      }))));
  }

  const series = (place) => {
    const mark = node("span", { class: "series", "aria-hidden": "true" });
    mark.style.background = snakefold.colours.chains[place % snakefold.colours.chains.length];
    return mark;
  };

  /** Models with a switch to show each and one to choose which the plots are of. */
  function models(data, { choose, show }) {
    const complex = data.chain_lengths.length > 1, compared = data.scores?.model_tm?.length === data.models.length && data.models.length > 1;
    const columns = [["Plots"], ["In 3D"], ["Model"], ["pLDDT", true], ["pTM", true], ...(complex ? [["ipTM", true]] : []),
      ["Ranked by", true, "ranking confidence"], ...(compared ? [["TM to best", true, "TM-score against the best model"]] : []), ["Recycles", true], ["Relaxed", true]];
    return table(columns, data.models.map((model, rank) => {
      const radio = node("input", { type: "radio", name: "model", value: rank, id: `model-${rank}`, checked: rank === 0 });
      radio.addEventListener("change", () => choose(rank));
      const box = node("input", { type: "checkbox", id: `show-${rank}`, checked: rank === 0, "aria-label": `Show rank ${rank} in 3D` });
      box.addEventListener("change", () => show(rank, box.checked));
      return [node("label", { for: `model-${rank}`, class: "rank" }, radio, ` ${rank}`), [box, series(rank)],
        node("label", { for: `model-${rank}` }, model.name), number(model.mean_plddt, 1), number(model.ptm, 2),
        ...(complex ? [number(model.iptm, 2)] : []), number(model.ranking_confidence, 3),
        ...(compared ? [number(data.scores.model_tm[0][rank], 3)] : []), model.recycles, model.relaxed ? "yes" : "no"];
    }), { class: "models" });
  }

  /** TM-scores of all pairs of models; the darker, the more alike. */
  function modelScores(matrix) {
    const columns = [["Rank"], ...matrix.map((_, rank) => [String(rank), true])];
    const shown = table(columns, matrix.map((row, rank) => [String(rank), ...row.map((score) => number(score, 3))]), { class: "matrix" });
    const cells = shown.querySelectorAll("td");
    matrix.flat().forEach((score, place) => cells[place].style.setProperty("--share", String(Math.round(70 * (score ?? 0) ** 2))));
    return shown;
  }

  /** Pairs of chains of one model; choosing one selects it. */
  function interfaces(found, rank, select) {
    const columns = [["Chains"], ["ipTM", true, "the engine's; of the pair only where there are two chains"], ["ipTM by PAE", true, "approximated from the PAE"],
      ["ipSAE", true, "PAE below 10 Å"], ["pDockQ2", true], ["Contacts", true, "pairs of CB atoms within 8 Å"]];
    return table(columns, found.filter((item) => item.rank === rank).map((item) => {
      const button = node("button", { type: "button", class: "plain", "aria-label": `Select chains ${item.chain_a} and ${item.chain_b}` }, `${item.chain_a} – ${item.chain_b}`);
      button.addEventListener("click", () => select(item.chain_a, item.chain_b));
      return [button, number(item.iptm, 3), number(item.iptm_pae, 3), number(item.ipsae, 3), number(item.pdockq2, 3), item.contacts];
    }), { class: "interfaces" });
  }

  /** Contacts that are listed; contacts.tsv has all. */
  const MOST_CONTACTS = 20;

  /** Checks of the ligands of one model, and the residues that each touches, the closest first. */
  function poses(found, contacts, select) {
    const said = (value, yes, no) => (value === null ? "–" : value ? yes : no);
    const checks = table([["Ligand"], ["Contacts", true], ["Clashes", true, "pairs of heavy atoms nearer than 0.75 of the sum of their radii"],
      ["Bonds and angles", false, "within 25 % of RDKit's bounds"], ["Stereochemistry", false, "as in the input; – if it has none"]],
    found.map((pose) => [`${pose.chain} ${pose.name}`, pose.contacts, pose.clashes, said(pose.bonds_ok, "plausible", "implausible"), said(pose.chirality_ok, "kept", "not kept")]), { class: "poses" });
    const columns = [["Ligand"], ["Residue"], ["Distance", true, "of the closest heavy atoms"], ["Atoms"]];
    const listed = contacts.slice(0, MOST_CONTACTS).map(([ligand, chain, number_, name, distance, own, other]) => {
      const button = node("button", { type: "button", class: "plain", "aria-label": `Mark residue ${chain} ${number_}` }, `${chain} ${number_} ${name}`);
      button.addEventListener("click", () => select(chain, number_));
      return [ligand, button, `${number(distance, 2)} Å`, `${own} – ${other}`];
    });
    return [checks, ...(listed.length ? [table(columns, listed, { class: "contacts" })] : []),
      ...(contacts.length > MOST_CONTACTS ? [node("p", { class: "quiet" }, `${MOST_CONTACTS} of ${contacts.length}; contacts.tsv has all.`)] : [])];
  }

  /** Letters of each different chain, in the order of their alignments; empty where they are not the same ones. */
  function lettersOf(data, found) {
    const letters = new Map();
    let start = 0;
    data.chain_lengths.forEach((length, place) => {
      const sequence = data.sequence.slice(start, start += length);
      if ((data.chain_kinds?.[place] ?? "protein") !== "protein") return;
      letters.set(sequence, [...(letters.get(sequence) ?? []), data.chain_names[place]]);
    });
    return letters.size === found.length ? [...letters.values()] : [];
  }

  function alignments(data) {
    const found = data.alignments, letters = data.chain_lengths.length > 1 ? lettersOf(data, found) : [];
    const columns = [["Chain"], ["Tool"], ["Database"], ["Found", true], ["Kept", true], ["Version"]];
    return table(columns, found.flatMap((chain, which) => (chain.databases?.length ? chain.databases : [{}]).map((used, place) => [
      place ? "" : `${letters[which] ? `${letters[which].join(", ")}: ` : ""}${chain.length} residues, ${chain.depth} row${chain.depth === 1 ? "" : "s"}, Neff ${number(chain.neff, 1)}`, place ? "" : chain.tool,
      used.name ?? "none", used.rows, used.kept, used.fingerprint || "–"])));
  }

  function templates(found) {
    const columns = [["Template"], ["Chain", true], ["Identity", true], ["Covers", true], ["Score", true, "sum of the alignment's probabilities"]];
    return table(columns, found.map((item) => [item.template, item.chain, percent(item.identity), percent(item.coverage), item.sum_probs || "–"]), { class: "templates" });
  }

  const STEPS = { msa: "alignment", predict: "prediction, features included", compile: "of it compilation", relax: "relaxation", cpu: "CPU seconds of prediction and relaxation" };

  /** Seconds in the order of the steps; those of a part follow their whole. */
  function seconds(timings) {
    const models = Object.keys(timings).filter((name) => name.startsWith("predict_"));
    const order = [...new Set(["msa", "features", "predict", ...models, "compile", "relax", ...Object.keys(timings).filter((name) => name !== "cpu"), "cpu"])];
    return pairs(order.filter((name) => name in timings).map((name) => [STEPS[name] ?? name.replace(/^predict_/, ""), timings[name].toFixed(2),
      name === "compile" || models.includes(name) ? { class: "part" } : {}]));
  }

  /** Two columns: what and how much. */
  function pairs(entries, attributes = {}) {
    return node("table", { class: "list", ...attributes }, node("tbody", {}, entries.map(([name, value, more = {}]) =>
      node("tr", more, node("th", { scope: "row" }, name), node("td", { class: "number" }, value)))));
  }

  const link = (file) => node("a", { href: file.link, download: file.name, target: "_blank", rel: "noopener" }, file.name);

  /** Scores that only the engine has: name, value, meaning. */
  const own = (rows) => table([["Score"], ["Value", true], ["Meaning"]], rows);

  snakefold.tables = { own, poses, table, models, modelScores, interfaces, alignments, templates, seconds, pairs, series, link, size };
})();
