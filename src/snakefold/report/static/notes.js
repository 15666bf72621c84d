"use strict";

/* What befell a target: retries and degradations, and what else was noted of it. */
(() => {
  const { node } = snakefold;
  const CODE = /^([a-z_]+): ([^]*)$/;

  /** Texts of a row of the index that its page does not know: those of the run, not of the result. */
  function ofTheRun(row, known) {
    const parts = row.warnings ? row.warnings.split("; ") : [];
    // The index shortens long texts, and a text may hold the sign that parts them.
    return parts.map((text) => text.replace(/…$/, "")).filter((text) => !known.some((whole) => whole.includes(text)));
  }

  /** Texts of one known code are one entry; [code or none, texts]. */
  function grouped(texts) {
    const found = new Map();
    for (const text of texts) {
      const [, code, detail] = CODE.exec(text) ?? [];
      const known = Object.hasOwn(snakefold.meanings, code ?? "");
      const key = known ? code : text;
      found.set(key, [known ? code : null, [...(found.get(key)?.[1] ?? []), known ? detail : text]]);
    }
    return [...found.values()];
  }

  function entry([code, details]) {
    const said = details.map((detail) => node("bdi", { class: "block" }, detail));
    if (!code) return node("li", {}, said);
    const { text, advice } = snakefold.meanings[code];
    return node("li", { "data-note": code },
      node("p", { class: "said" }, node("span", { class: "tag" }, code), node("span", {}, said)), node("p", { class: "quiet" }, text), node("p", { class: "quiet advice" }, advice));
  }

  /** Cards of the notes on a target: what was less than asked, and the rest. */
  snakefold.notes = (row, data) => {
    const texts = [...data.notes, ...ofTheRun(row, data.notes)];
    const less = (text) => Boolean(snakefold.meanings[CODE.exec(text)?.[1]]?.less);
    const jobs = row.history ? row.history.split("; ") : [];
    const list = (found) => node("ul", { class: "notes" }, grouped(found).map(entry));
    const worse = [...jobs, ...texts.filter(less)], others = texts.filter((text) => !less(text));
    return [
      worse.length > 0 && snakefold.card("Retries and degradations", "Computed with less than was asked, or not at the first attempt.", list(worse)),
      others.length > 0 && snakefold.card("Also noted", null, list(others)),
    ].filter(Boolean);
  };
})();
