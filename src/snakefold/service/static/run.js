"use strict";

/* One run: its price and the consent to it, its progress, its results. */
(() => {
  const { node } = snakefold;
  const { call, send, STATES, FINAL, dollars, moment, count, span, say } = snakefold.service;

  const fact = (name, ...value) => node("div", {}, node("dt", {}, name), node("dd", {}, ...value));

  function quoteCard(run, act) {
    const { quote } = run;
    if (!quote) return null;
    const range = quote.dollars;
    const tiles = node("dl", { class: "facts" },
      fact("To compute", String(quote.to_do ?? "–")),
      fact("From the store", String(quote.stored ?? "–")),
      fact("Residues", (quote.residues ?? 0).toLocaleString()),
      range && fact("Price", dollars(range.expected), node("span", { class: "block range" }, `${dollars(range.low)} to ${dollars(range.high)}`)),
      quote.hours && fact("Time", span(quote.hours.expected * 3600),
        node("span", { class: "block range" }, `${span(quote.hours.low * 3600)} to ${span(quote.hours.high * 3600)}`)));
    const refused = quote.refused || [];
    const parts = [node("h2", {}, "Quote"), tiles];
    if (quote.rehearsal) parts.push(node("p", { class: "notice" }, node("strong", {}, "REHEARSAL"), ": random parameters. The structures will mean nothing."));
    if (refused.length) {
      parts.push(node("details", { open: refused.length <= 5 }, node("summary", {}, `${count(refused.length, "record")} refused`),
        node("ul", { class: "records" }, refused.map((each) => node("li", {}, node("strong", {}, node("bdi", {}, each.id)), " ",
          node("span", { class: "quiet" }, `${each.file}, record ${each.record}${each.line ? `, line ${each.line}` : ""}`), node("p", {}, node("bdi", {}, each.reason)))))));
    }
    for (const note of quote.notes || []) parts.push(node("p", { class: "quiet" }, note));
    if (run.state === "QUOTED") {
      const budget = node("input", { id: "budget", type: "number", min: "0", step: "0.01", value: range ? Math.max(range.high, 0.01).toFixed(2) : null });
      const accept = node("button", { class: "primary" }, "Start");
      const form = node("form", { class: "actions" }, node("label", { for: "budget" }, "Stop at (dollars) "), budget, accept);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        act(accept, () => send(`/api/runs/${run.id}/accept`, { budget: budget.value === "" ? null : Number(budget.value) }));
      });
      parts.push(form);
    }
    return node("section", { class: "card" }, parts);
  }

  function progressCard(run) {
    const { progress } = run;
    if (!progress || !["RUNNING", "QUEUED"].includes(run.state)) return null;
    const total = progress.total || 0;
    const ended = (progress.done || 0) + (progress.failed || 0);
    const bar = node("progress", { id: "bar", max: String(Math.max(total, 1)), value: String(ended) });
    const words = [`${(progress.done || 0).toLocaleString()} of ${count(total, "target")}`];
    if (progress.failed) words.push(`${progress.failed.toLocaleString()} failed`);
    if (progress.remaining) words.push(`about ${span(progress.remaining)} left`);
    return node("section", { class: "card" }, node("h2", {}, "Progress"),
      node("label", { for: "bar" }, words.join(", ")), bar,
      node("ul", { class: "working" }, (progress.stages || []).map((each) => node("li", {}, each))));
  }

  function resultsCard(run) {
    if (!["COMPLETE", "FAILED", "ERROR", "CANCELLED"].includes(run.state) || !run.links || !run.links.files) return null;
    const list = node("ul", { class: "records" });
    const files = node("details", {}, node("summary", {}, "Files"), list);
    files.addEventListener("toggle", async () => {
      if (!files.open || list.children.length) return;
      const found = await call(run.links.files);
      list.append(...found.files.map((each) => node("li", {},
        node("a", { href: `${run.links.files}/${each.path.split("/").map(encodeURIComponent).join("/")}` }, each.path), ` ${each.size.toLocaleString()} bytes`)));
    });
    const parts = [node("h2", {}, "Results")];
    if (run.links.report) parts.push(node("p", {}, node("a", { class: "report", href: run.links.report }, "Report"), " with structures, confidence and methods"));
    if (run.links.zip) parts.push(node("p", {}, node("a", { href: run.links.zip }, "All files as one zip")));
    return node("section", { class: "card" }, parts, files);
  }

  /** The page of a run; `stop()` ends its updates. */
  snakefold.service.run = (id) => {
    const address = `/api/runs/${encodeURIComponent(id)}`;
    const title = node("h1", { tabindex: "-1" }, "…");
    const line = node("p", { class: "lead" });
    const fault = node("p", { class: "fault", role: "alert" });
    const body = node("div");
    const page = node("div", {}, title, line, fault, body);
    let source, later;
    let last = "";

    async function act(button, does) {
      button.disabled = true;
      fault.textContent = "";
      try {
        show(await does());
      } catch (error) {
        fault.textContent = error.message;
        button.disabled = false;
      }
    }

    function show(run) {
      const text = JSON.stringify(run);
      if (text === last) return;
      const before = last && JSON.parse(last);
      last = text;
      title.textContent = run.name || "Set without a name";
      document.title = `${STATES[run.state] || run.state} · ${title.textContent} · snakefold`;
      line.replaceChildren(node("span", { class: `tag state-${run.state}` }, STATES[run.state] || run.state), ` submitted ${moment(run.created)}`,
        run.ended ? `, ended ${moment(run.ended)}` : "");
      if (run.error) fault.textContent = run.error;
      // While somebody types a budget, the form stays as it is.
      const same = before && before.state === run.state && JSON.stringify(before.quote) === JSON.stringify(run.quote);
      const kept = same && body.querySelector("[data-part=quote]");
      const quote = kept || quoteCard(run, act);
      if (quote) quote.dataset.part = "quote";
      const opened = same && body.querySelector("[data-part=results]");
      const results = opened || resultsCard(run);
      if (results) results.dataset.part = "results";
      const parts = [progressCard(run), results, quote];
      if (!FINAL.has(run.state)) {
        const cancel = body.querySelector("[data-part=cancel]") || (() => {
          const button = node("button", { type: "button" }, "Cancel this run");
          button.addEventListener("click", () => act(button, () => send(`${address}/cancel`)));
          const place = node("p", { class: "actions" }, button);
          place.dataset.part = "cancel";
          return place;
        })();
        parts.push(cancel);
      }
      const wanted = parts.filter(Boolean);
      for (const old of [...body.children]) if (!wanted.includes(old)) old.remove();
      wanted.forEach((part, index) => { if (body.children[index] !== part) body.insertBefore(part, body.children[index] || null); });
      if (!before || before.state !== run.state) say(`${title.textContent}: ${STATES[run.state] || run.state}`);
      if (FINAL.has(run.state) && source) source.close();
    }

    /** Follow the run. A browser gives up what is refused, as when too many pages of one user are open. */
    function watch() {
      source = new EventSource(`${address}/events`);
      source.onmessage = (event) => show(JSON.parse(event.data));
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) later = setTimeout(watch, 10000);
      };
    }

    call(address).then((run) => {
      show(run);
      title.focus();
      if (!FINAL.has(run.state)) watch();
    }).catch((error) => {
      title.textContent = error.status === 404 ? "There is no such run" : "This run cannot be shown";
      fault.textContent = error.message;
    });
    return { page, stop: () => { clearTimeout(later); if (source) source.close(); } };
  };
})();
