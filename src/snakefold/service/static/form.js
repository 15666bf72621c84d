"use strict";

/* The form of a new set: files or text, an engine, its options. */
(() => {
  const { node } = snakefold;
  const { call } = snakefold.service;

  /** What stands between commas: numbers, or texts. */
  function listed(text) {
    const words = text.split(",").map((word) => word.trim()).filter(Boolean);
    return words.every((word) => !Number.isNaN(Number(word))) ? words.map(Number) : words;
  }

  const shownDefault = (value) => value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value);

  /** One option of an engine as an input; `value()` is undefined where the default stays. */
  function option(setting) {
    const id = `option-${setting.name}`;
    let input;
    if (setting.choices) {
      input = node("select", { id }, node("option", { value: "" }, `default (${setting.default})`),
        setting.choices.map((each) => node("option", { value: String(each) }, String(each))));
    } else if (setting.type === "boolean") {
      input = node("select", { id }, node("option", { value: "" }, `default (${setting.default ? "yes" : "no"})`),
        node("option", { value: "true" }, "yes"), node("option", { value: "false" }, "no"));
    } else {
      const number = setting.type === "integer" || setting.type === "number";
      input = node("input", {
        id, type: number ? "number" : "text", step: setting.type === "number" ? "any" : null,
        placeholder: shownDefault(setting.default), min: setting.minimum, max: setting.maximum,
      });
    }
    const field = node("div", {}, node("label", { for: id }, setting.name), input,
      setting.doc && node("p", { class: "quiet" }, setting.doc));
    const value = () => {
      if (input.value === "") return undefined;
      if (setting.type === "boolean") return input.value === "true";
      if (setting.type === "array") return listed(input.value);
      return setting.type === "integer" || setting.type === "number" ? Number(input.value) : input.value;
    };
    return { name: setting.name, field, value };
  }

  /** The files of the form: chosen or dropped, and what says which. */
  function chooser() {
    const chosen = [];
    const list = node("ul", { "aria-label": "Files of the set" });
    const input = node("input", { id: "files", type: "file", multiple: true });
    const place = node("div", { class: "drop" },
      node("label", { class: "label", for: "files" }, "Files"), input,
      node("p", { class: "quiet" }, "Or drop them here: FASTA, a CSV or TSV sheet, A3M, Boltz YAML, AlphaFold 3 JSON."), list);

    function show() {
      list.replaceChildren(...chosen.map((file, index) => {
        const remove = node("button", { type: "button", "aria-label": `Remove ${file.name}` }, "×");
        remove.addEventListener("click", () => { chosen.splice(index, 1); show(); input.focus(); });
        return node("li", {}, `${file.name} (${Math.max(1, Math.round(file.size / 1024)).toLocaleString()} kB)`, remove);
      }));
    }
    function add(files) {
      chosen.push(...files);
      show();
    }
    input.addEventListener("change", () => { add(input.files); input.value = ""; });
    for (const kind of ["dragover", "dragenter"]) {
      place.addEventListener(kind, (event) => { event.preventDefault(); place.classList.add("over"); });
    }
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.classList.remove("over");
      add(event.dataTransfer.files);
    });
    return { place, files: () => chosen };
  }

  /** The section of a new set. */
  snakefold.service.form = () => {
    const { place, files } = chooser();
    const text = node("textarea", { id: "text", spellcheck: "false", autocomplete: "off", placeholder: ">name\nMKTAYIAKQRQISFVKSHFSRQ" });
    const title = node("input", { id: "name", type: "text", maxlength: "120", autocomplete: "off" });
    const engine = node("select", { id: "engine" }, node("option", { value: "" }, "as this service is set up"));
    const options = node("div", { class: "options" });
    const more = node("details", { hidden: true }, node("summary", {}, "Options of the engine"), options);
    const budget = node("input", { id: "budget", type: "number", min: "0", step: "0.01" });
    const fault = node("p", { class: "fault", role: "alert" });
    const start = node("button", { class: "primary" }, "Get a quote");
    let known = [];
    let shown = [];

    const choose = () => {
      const found = known.find((each) => each.name === engine.value);
      shown = (found ? found.settings || [] : []).map(option);
      options.replaceChildren(...shown.map((each) => each.field));
      more.hidden = shown.length === 0;
    };
    engine.addEventListener("change", choose);
    call("/api/engines").then(({ engines }) => {
      known = engines;
      engine.append(...engines.filter((each) => !each.designs).map((each) => node("option", { value: each.name, disabled: !each.usable },
        !each.usable ? `${each.title} (not set up here)` : each.weights === "rehearsal" ? `${each.title} (random parameters: REHEARSAL)` : each.title)));
    }).catch(() => { /* the default engine stays */ });
    budget.addEventListener("input", () => { start.textContent = budget.value === "" ? "Get a quote" : "Start, up to this price"; });

    const form = node("form", { class: "card", "aria-labelledby": "new-title" },
      node("h2", { id: "new-title" }, "New set"),
      node("div", { class: "field" }, place),
      node("div", { class: "field" }, node("label", { for: "text" }, "Or paste sequences"), text),
      node("div", { class: "field" }, node("label", { for: "name" }, "Name of the set"), title),
      node("div", { class: "field" }, node("label", { for: "engine" }, "Engine"), engine, more),
      node("div", { class: "field" }, node("label", { for: "budget" }, "Start without asking, up to (dollars)"), budget,
        node("p", { class: "quiet" }, "If this is empty, you see the price first.")),
      node("div", { class: "actions" }, start), fault);

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fault.textContent = "";
      if (!files().length && !text.value.trim()) {
        fault.textContent = "Choose files, or paste sequences.";
        text.focus();
        return;
      }
      const body = new FormData();
      for (const file of files()) body.append("files", file);
      if (text.value.trim()) body.append("text", text.value);
      if (title.value.trim()) body.append("name", title.value.trim());
      const settings = {};
      if (engine.value) {
        settings.engines = [engine.value];
        const given = Object.fromEntries(shown.map((each) => [each.name, each.value()]).filter(([, value]) => value !== undefined));
        if (Object.keys(given).length) settings[engine.value] = given;
      }
      if (Object.keys(settings).length) body.append("settings", JSON.stringify(settings));
      if (budget.value !== "") {
        body.append("accept", "true");
        body.append("budget", budget.value);
      }
      start.disabled = true;
      try {
        const made = await call("/api/runs", { method: "POST", body });
        location.hash = `#/runs/${made.id}`;
      } catch (error) {
        fault.textContent = error.message;
      } finally {
        start.disabled = false;
      }
    });
    return form;
  };
})();
