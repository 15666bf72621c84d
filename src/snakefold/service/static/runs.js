"use strict";

/* My runs, newest first. */
(() => {
  const { node } = snakefold;
  const { call, STATES, FINAL, dollars, moment } = snakefold.service;
  const PAGE = 25;

  const price = (run) => run.quote && run.quote.dollars ? dollars(run.quote.dollars.expected) : "–";
  const size = (run) => run.targets && run.targets.total !== undefined ? run.targets.total.toLocaleString() : "–";

  function row(run) {
    return node("tr", {},
      node("td", {}, node("a", { href: `#/runs/${run.id}` }, run.name || "without a name")),
      node("td", {}, node("span", { class: `tag state-${run.state}` }, STATES[run.state] || run.state)),
      node("td", { class: "number" }, size(run)),
      node("td", { class: "number" }, price(run)),
      node("td", {}, moment(run.created)));
  }

  /** The section of one's runs; `stop()` ends its refreshing. */
  snakefold.service.runs = () => {
    const body = node("tbody");
    const older = node("button", { type: "button", hidden: true }, "Older runs");
    const empty = node("p", { class: "quiet", hidden: true }, "No runs yet.");
    const fault = node("p", { class: "fault", role: "alert" });
    const table = node("table", { class: "runs" },
      node("caption", { class: "hidden" }, "Your runs, newest first"),
      node("thead", {}, node("tr", {}, ["Set", "State"].map((each) => node("th", { scope: "col" }, each)),
        ["Targets", "Quote"].map((each) => node("th", { scope: "col", class: "number" }, each)), node("th", { scope: "col" }, "Submitted"))),
      body);
    const section = node("section", { "aria-labelledby": "runs-title" },
      node("h2", { id: "runs-title" }, "My runs"), node("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of your runs" }, table),
      empty, node("p", { class: "actions" }, older), fault);
    let shown = PAGE;
    let timer;
    let ended = false;

    async function refresh() {
      clearTimeout(timer);
      try {
        const { runs } = await call(`/api/runs?limit=${shown + 1}`);
        const focused = document.activeElement && document.activeElement.getAttribute("href");
        body.replaceChildren(...runs.slice(0, shown).map(row));
        if (focused && body.querySelector(`a[href="${CSS.escape(focused)}"]`)) body.querySelector(`a[href="${CSS.escape(focused)}"]`).focus();
        older.hidden = runs.length <= shown;
        table.hidden = runs.length === 0;
        empty.hidden = runs.length > 0;
        fault.textContent = "";
        if (!ended) timer = setTimeout(refresh, runs.some((run) => !FINAL.has(run.state)) ? 3000 : 15000);
      } catch (error) {
        fault.textContent = error.message;
        if (!ended) timer = setTimeout(refresh, 10000);
      }
    }
    older.addEventListener("click", () => { shown += PAGE; refresh(); });
    refresh();
    return { section, stop: () => { ended = true; clearTimeout(timer); } };
  };
})();
