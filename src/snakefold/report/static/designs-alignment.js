"use strict";

/* What was designed for a backbone, letter by letter: a logo, and designs below the native sequence. */
(() => {
  const { node } = snakefold;
  /** Pixels of a column and of the logo; designs.css has the same width. */
  const WIDTH = 13, LOGO = 110, BITS = Math.log2(20);
  /** Designs below each other; the FASTA has all. */
  const MOST = 60;
  const CLASSES = { G: "small", P: "small", C: "small", D: "acid", E: "acid", K: "base", R: "base", H: "base", S: "polar", T: "polar", N: "polar", Q: "polar" };
  const KINDS = { d: "designed", m: "fixed", o: "in a chain that was not designed, or without a backbone" };

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /** Columns of the drawing: places of residues along all chains, null between chains. */
  function columnsOf(backbone) {
    const columns = [];
    let start = 0;
    for (const [, length] of backbone.chains) {
      if (columns.length) columns.push(null);
      for (let place = start; place < start + length; place++) columns.push(place);
      start += length;
    }
    return columns;
  }

  /** Letters of every place with their bits, the largest first (Schneider and Stephens 1990, without a correction). */
  function bitsOf(sequences, length) {
    const found = [];
    for (let place = 0; place < length; place++) {
      const counts = new Map();
      for (const sequence of sequences) counts.set(sequence[place], (counts.get(sequence[place]) ?? 0) + 1);
      const shares = [...counts].map(([letter, count]) => [letter, count / sequences.length]);
      const entropy = -shares.reduce((sum, [, share]) => sum + share * Math.log2(share), 0);
      found.push(shares.map(([letter, share]) => [letter, share * Math.max(BITS - entropy, 0)]).sort((a, b) => b[1] - a[1]));
    }
    return found;
  }

  function logo(columns, bits, count) {
    const letters = columns.flatMap((place, column) => {
      if (place === null) return [];
      let top = LOGO - bits[place].reduce((sum, [, value]) => sum + value, 0) / BITS * LOGO;
      return bits[place].flatMap(([letter, value]) => {
        const height = value / BITS * LOGO;
        top += height;
        if (height < 1.5) return [];
        // A capital letter is some 0.72 of its type's size.
        return [svg("text", { class: CLASSES[letter] ?? "plain", transform: `translate(${column * WIDTH + 0.5} ${top.toFixed(2)}) scale(1 ${(height / 9.4).toFixed(3)})`, textLength: WIDTH - 1, lengthAdjust: "spacingAndGlyphs" }, letter)];
      });
    });
    const width = columns.length * WIDTH;
    return svg("svg", { class: "logo", width, height: LOGO, viewBox: `0 0 ${width} ${LOGO}`, role: "img", "aria-label": `Sequence logo of ${count} designs; letters as high as their information, at most ${BITS.toFixed(1)} bits` }, ...letters);
  }

  /** Numbers of the file above every tenth residue, and where its chain begins. */
  function ruler(columns, backbone) {
    const marks = [];
    let start = 0;
    for (const [name, length] of backbone.chains) {
      for (let number = 0; number < length; number += 10) {
        const at = columns.indexOf(start + number);
        const mark = node("span", {}, number ? backbone.numbers[start + number] : `${name} ${backbone.numbers[start]}`);
        mark.style.left = `${at * WIDTH}px`;
        marks.push(mark);
      }
      start += length;
    }
    return node("div", { class: "ruler", "aria-hidden": "true" }, marks);
  }

  /** Stripes behind columns that were not free to change. */
  function stripes(columns, kinds) {
    const found = [];
    columns.forEach((place, column) => {
      const kind = place === null ? "d" : kinds[place];
      const last = found.at(-1);
      if (last && last.kind === kind && last.end === column) last.end += 1;
      else found.push({ kind, start: column, end: column + 1 });
    });
    return found.filter(({ kind }) => kind !== "d").map(({ kind, start, end }) => {
      const stripe = node("i", { class: `stripe ${kind === "m" ? "fixed" : "other"}` });
      stripe.style.left = `${start * WIDTH}px`;
      stripe.style.width = `${(end - start) * WIDTH}px`;
      return stripe;
    });
  }

  const written = (columns, letters) => columns.map((place) => (place === null ? " " : letters[place])).join("");

  function line(name, text, attributes = {}) {
    return node("li", attributes, node("span", { class: "who" }, name), node("code", {}, text));
  }

  /** Logo and alignment of `shown`, the designs of a backbone that the table shows; `row` is the chosen one. */
  snakefold.drawAlignment = (place, row, shown, backbone) => {
    const columns = columnsOf(backbone), { native, kinds } = backbone;
    const others = shown.filter((each) => each !== row).slice(0, MOST - 1);
    const joined = new Map([row, ...shown].map((each) => [each, each.sequence.replaceAll(":", "")]));
    const whole = node("input", { type: "checkbox", id: "whole", checked: document.getElementById("whole")?.checked });
    const fixed = [...kinds].filter((kind) => kind === "m").length;
    const marks = [...kinds].map((kind) => (kind === "m" ? "▲" : " "));
    const rows = [row, ...others];
    const list = node("ol", { class: "alignment" });

    function fill() {
      const same = (letters) => (whole.checked ? letters : [...letters].map((letter, at) => (letter === native[at] ? "·" : letter)).join(""));
      list.replaceChildren(
        ...(fixed ? [line("fixed", written(columns, marks), { "aria-hidden": "true", class: "marks" })] : []),
        line("native", written(columns, native), { class: "native" }),
        ...rows.map((each) => line(node("a", { href: `#/${each.id}` }, each.id), written(columns, same(joined.get(each))), each === row ? { class: "chosen", "aria-current": "true" } : {})));
    }
    whole.addEventListener("change", fill);
    fill();

    const present = [...new Set(kinds)];
    const sequences = (shown.length ? shown : [row]).map((each) => joined.get(each));
    const drawn = node("div", { class: "sheet" }, stripes(columns, kinds), ruler(columns, backbone), logo(columns, bitsOf(sequences, native.length), sequences.length), list);
    drawn.style.setProperty("--columns", columns.length);
    place.replaceChildren(
      node("h3", {}, "Designs against the native sequence"),
      node("p", { class: "quiet" }, `Logo of ${sequences.length.toLocaleString("en")} designs that the table shows. ${fixed ? `${fixed} fixed position${fixed > 1 ? "s" : ""}, marked ▲. ` : ""}A dot is the native residue. Numbers are those of the file.`),
      node("div", { class: "controls screen" }, node("label", { for: "whole" }, whole, " all letters"),
        node("ul", { class: "legend" }, present.filter((kind) => kind !== "d").map((kind) => node("li", { class: kind === "m" ? "fixed" : "other" }, KINDS[kind])))),
      node("div", { class: "scroll letters", tabindex: 0, role: "region", "aria-label": "Logo and alignment: scroll with the arrow keys" }, drawn),
      rows.length < shown.length ? node("p", { class: "quiet" }, `${rows.length} of ${shown.length.toLocaleString("en")} designs are listed; the logo is of all.`) : "");
  };
})();
