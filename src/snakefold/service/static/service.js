"use strict";

/* Which page is shown: the runs and the form, one run, or the sign-in. */
(() => {
  const { node, colours } = snakefold;
  const { call, send, form, runs, run, say } = snakefold.service;
  const main = document.getElementById("main");
  let stop = () => {};

  function signIn() {
    const token = node("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
    const fault = node("p", { class: "fault", role: "alert" });
    const page = node("form", { class: "card" }, node("h2", {}, "Sign in"),
      node("div", { class: "field" }, node("label", { for: "token" }, "Token"), token,
        node("p", { class: "quiet" }, "Whoever runs this service gives you one.")),
      node("div", { class: "actions" }, node("button", { class: "primary" }, "Sign in")), fault);
    page.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await send("/api/session", { token: token.value.trim() });
        begin();
      } catch (error) {
        fault.textContent = error.status === 401 ? "This token is not known here." : error.message;
      }
    });
    main.replaceChildren(node("h1", {}, "snakefold"), page);
    token.focus();
  }

  function show() {
    stop();
    const found = /^#\/runs\/([a-z0-9-]+)$/.exec(location.hash);
    if (found) {
      const shown = run(found[1]);
      stop = shown.stop;
      main.replaceChildren(shown.page);
      return;
    }
    const list = runs();
    stop = list.stop;
    document.title = "snakefold";
    const heading = node("h1", { tabindex: "-1" }, "Structure prediction");
    main.replaceChildren(heading, node("section", {}, form()), list.section);
    if (location.hash) heading.focus();
  }

  async function begin() {
    const controls = document.getElementById("controls");
    let me;
    try {
      me = await call("/api/me");
    } catch (error) {
      controls.replaceChildren(...colours.controls().slice(0, 1));
      if (error.status === 401) signIn();
      else main.replaceChildren(node("p", { class: "fault", role: "alert" }, error.message));
      return;
    }
    const leave = node("button", { type: "button" }, "Sign out");
    leave.addEventListener("click", async () => {
      await call("/api/session", { method: "DELETE" });
      stop();
      begin();
    });
    controls.replaceChildren(...colours.controls().slice(0, 1), ...(me.tokens ? [node("span", {}, me.user), leave] : []));
    show();
    say("");
  }

  addEventListener("hashchange", show);
  begin();
})();
