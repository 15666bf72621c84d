"use strict";

/* How the page looks: light or dark, and which colours the pLDDT bands have. The colours themselves are in
   report.css; what was chosen is remembered, where the browser lets a page from a disk remember anything. */
(() => {
  const { node } = snakefold;
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];

  const CHOICES = {
    theme: { label: "Theme", values: { auto: "as the system", light: "light", dark: "dark" } },
    scheme: { label: "pLDDT colours", values: { alphafold: "AlphaFold", safe: "colour-blind safe" } },
  };
  const chosen = { theme: "auto", scheme: "alphafold" };

  const BANDS = [
    { from: 90, name: "very-high", label: "very high" },
    { from: 70, name: "confident", label: "confident" },
    { from: 50, name: "low", label: "low" },
    { from: -Infinity, name: "very-low", label: "very low" },
  ];

  /** The colour that report.css gives a name. */
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  function recall() {
    for (const name of Object.keys(CHOICES)) {
      try {
        const value = localStorage.getItem(`snakefold-${name}`);
        if (value in CHOICES[name].values) chosen[name] = value;
      } catch { /* not allowed here: the defaults will do */ }
    }
  }

  function apply() {
    root.dataset.theme = chosen.theme === "auto" ? (dark.matches ? "dark" : "light") : chosen.theme;
    root.dataset.scheme = chosen.scheme;
    for (const sheet of document.querySelectorAll("link[data-theme]")) {
      sheet.media = sheet.dataset.theme === root.dataset.theme ? "all" : "not all";
    }
  }

  function choose(name, value) {
    chosen[name] = value;
    try {
      localStorage.setItem(`snakefold-${name}`, value);
    } catch { /* not allowed here: chosen until the page is closed */ }
    apply();
    for (const listener of listeners) listener(name);
  }

  function control(name) {
    const { label, values } = CHOICES[name];
    const select = node("select", { id: `choose-${name}` },
      Object.entries(values).map(([value, text]) => node("option", { value, selected: value === chosen[name] }, text)));
    select.addEventListener("change", () => choose(name, select.value));
    return node("label", { for: `choose-${name}` }, `${label} `, select);
  }

  snakefold.colours = {
    /** pLDDT bands from the best to the worst: [{ from, name, label, colour }], in the chosen scheme. */
    get bands() { return BANDS.map((item) => ({ ...item, colour: colour(item.name) })); },
    /** "alphafold" or "safe". */
    get scheme() { return chosen.scheme; },
    /** "light" or "dark", whoever chose it. */
    get theme() { return root.dataset.theme; },
    /** Band of a pLDDT: { from, name, label }. */
    band: (plddt) => BANDS.find((item) => plddt >= item.from),
    /** A colour of the page by its name in report.css: ink, ink-soft, quiet, line, surface, very-high … */
    colour,
    /** Colours of chains and of curves side by side, told apart by all (Okabe and Ito 2008). */
    get chains() { return ["chain-1", "chain-2", "chain-3", "chain-4", "chain-5", "chain-6", "chain-7"].map(colour); },
    /** `listener("theme" | "scheme")` is called after a change, when the new colours are in force. */
    onChange: (listener) => listeners.push(listener),
    choose,
    /** The two switches, as elements. */
    controls: () => Object.keys(CHOICES).map(control),
  };
  Object.assign(snakefold, { BANDS, band: snakefold.colours.band, colour });

  recall();
  apply();
  dark.addEventListener("change", () => {
    apply();
    if (chosen.theme === "auto") for (const listener of listeners) listener("theme");
  });
})();
