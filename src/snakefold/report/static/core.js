"use strict";

/* Shared by all parts of the page. Text from the input only ever becomes text nodes (`node`), never markup. */
const snakefold = (() => {
  const waiting = new Map();
  const libraries = new Map();

  /** An element with attributes and children; strings become text. */
  function node(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /** Load a script of the report once. Pages opened from a disk may load scripts, but not fetch files. */
  function load(address) {
    if (!libraries.has(address)) {
      libraries.set(address, new Promise((resolve, reject) => {
        const script = node("script", { src: address });
        script.onload = resolve;
        script.onerror = () => { libraries.delete(address); reject(new Error(`${address} cannot be loaded.`)); };
        document.head.append(script);
      }));
    }
    return libraries.get(address);
  }

  /** Data of one target. Not kept: the browser's cache reads them again quickly. */
  function target(id) {
    return new Promise((resolve, reject) => {
      waiting.set(id, resolve);
      const script = node("script", { src: `data/${id}.js` });
      script.onload = () => script.remove();
      script.onerror = () => { script.remove(); reject(new Error(`data/${id}.js cannot be loaded.`)); };
      document.head.append(script);
    });
  }

  function receive(id, data) {
    const resolve = waiting.get(id);
    waiting.delete(id);
    if (resolve) resolve(data);
  }

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** Bytes of gzip in base64. */
  async function unpack(text) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

  return { node, load, target, receive, bytes, unpack, number };
})();
