"use strict";

/* Calls of the service's API, and words for what it says. */
(() => {
  class Refused extends Error {
    constructor(status, message) {
      super(message);
      this.status = status;
    }
  }

  /** What an answer that is no success says, in a line. */
  async function fault(response) {
    try {
      const { detail } = await response.json();
      if (typeof detail === "string") return detail;
      if (Array.isArray(detail)) return detail.map((each) => `${(each.loc || []).slice(1).join(".")}: ${each.msg}`).join("\n");
    } catch { /* no JSON: the number has to do */ }
    return `The service answers ${response.status}.`;
  }

  /** The JSON of an answer; throws Refused with what the service says. */
  async function call(address, options = {}) {
    let response;
    try {
      response = await fetch(address, { credentials: "same-origin", ...options });
    } catch {
      throw new Refused(0, "The service cannot be reached. Is it running?");
    }
    if (!response.ok) throw new Refused(response.status, await fault(response));
    return response.status === 204 ? null : response.json();
  }

  const send = (address, content) => call(address, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content ?? {}),
  });

  const STATES = {
    QUOTING: "is planned and priced", QUOTED: "waits for your consent", REFUSED: "refused", QUEUED: "waits for its turn",
    RUNNING: "is running", COMPLETE: "complete", FAILED: "complete, with failures", ERROR: "broke off", CANCELLED: "cancelled",
  };
  const FINAL = new Set(["REFUSED", "COMPLETE", "FAILED", "ERROR", "CANCELLED"]);

  const dollars = (value) => value === null || value === undefined ? "–" : `$${value.toFixed(2)}`;
  const moment = (text) => text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–";
  /** "3 targets", "1 target". */
  const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
  /** Seconds as people say them. */
  function span(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  }

  /** For those who do not see the page: say what changed. */
  function say(text) {
    const place = document.getElementById("said");
    if (place.textContent !== text) place.textContent = text;
  }

  snakefold.service = { call, send, Refused, STATES, FINAL, dollars, moment, count, span, say };
})();
