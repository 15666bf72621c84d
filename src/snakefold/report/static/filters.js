"use strict";

/* What the table shows: a search, and limits that all must hold. */
(() => {
  const { node } = snakefold;

  function limits(label, name, rows, step) {
    const has = rows.some((row) => row[name] !== undefined && row[name] !== null);
    const [from, to] = ["from", "to"].map((end) => node("input", {
      type: "number", min: 0, step, id: `${name}-${end}`, "aria-label": `${label}, ${end}`, placeholder: end,
    }));
    return { name, from, to, element: has && node("span", { class: "limits", role: "group", "aria-label": label }, `${label} `, from, " – ", to) };
  }

  const value = (input) => (input.value === "" ? null : Number(input.value));

  /** Draw the filters of `table` (drawTable) into `place`. */
  snakefold.drawFilters = (place, table, rows) => {
    const search = node("input", { type: "search", id: "search", placeholder: "Search targets", "aria-label": "Search targets", autocomplete: "off" });
    const states = Object.entries(snakefold.STATES).filter(([name]) => rows.some((row) => row.state === name));
    const state = node("select", { id: "state", "aria-label": "State" }, node("option", { value: "" }, "every state"),
      states.map(([name, text]) => node("option", { value: name }, `${text} (${rows.filter((row) => row.state === name).length})`)));
    const ranges = [limits("Length", "length", rows, 1), limits("pLDDT", "mean_plddt", rows, "any")];
    const warned = node("input", { type: "checkbox", id: "warned" });
    const clear = node("button", { type: "reset" }, "Show all");
    const said = node("span", { class: "quiet", role: "status" });

    function apply() {
      table.filter(search.value, (row) => (!state.value || row.state === state.value)
        && (!warned.checked || Boolean(snakefold.noted(row)))
        && ranges.every(({ name, from, to }) => {
          const [low, high] = [value(from), value(to)];
          if (low === null && high === null) return true;
          return row[name] !== undefined && row[name] !== null && (low === null || row[name] >= low) && (high === null || row[name] <= high);
        }));
      const count = table.shown().length;
      said.textContent = count === rows.length ? "" : `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
      clear.hidden = count === rows.length && ![search, state, ...ranges.flatMap(({ from, to }) => [from, to])].some((input) => input.value);
    }

    let waiting = 0;
    place.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, rows.length > 2000 ? 120 : 0); });
    place.addEventListener("submit", (event) => event.preventDefault());
    place.addEventListener("reset", () => setTimeout(apply));
    place.append(search, ...(states.length > 1 ? [state] : []), ...ranges.map((range) => range.element).filter(Boolean),
      ...(rows.some(snakefold.noted) ? [node("label", { for: "warned" }, warned, " with warnings")] : []), clear, said);
    clear.hidden = true;

    return {
      /** Show targets with a pLDDT in a range alone. */
      plddt(low, high) {
        [ranges[1].from.value, ranges[1].to.value] = [low, high];
        apply();
      },
      clear() {
        place.reset();
        apply();
      },
    };
  };
})();
