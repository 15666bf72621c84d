"use strict";

/* The 3D view. Colours come from the page's palette through a theme of our own, which reads pLDDT where both
   PDB and mmCIF have it, in the B column: Mol*'s own theme fixes its colours and wants ModelCIF records. */
(() => {
  const { band, colour, load, unpackText } = snakefold;
  const THEME = "snakefold-plddt";
  let viewer = null;
  let latest = 0;

  const hexadecimal = (name) => parseInt(colour(name).slice(1), 16);

  function plddtTheme(context, properties) {
    const colours = new Map(snakefold.BANDS.map((item) => [item.name, hexadecimal(item.name)]));
    return {
      factory: plddtTheme, granularity: "group", props: properties, description: "pLDDT in AlphaFold's four bands",
      color(location) {
        const bond = location.kind === "bond-location";
        const unit = bond ? location.aUnit : location.unit;
        const element = bond ? location.aUnit.elements[location.aIndex] : location.element;
        const factors = unit?.model?.atomicConformation?.B_iso_or_equiv;
        return factors ? colours.get(band(factors.value(element)).name) : 0xaaaaaa;
      },
    };
  }

  async function start(place) {
    await load("assets/molstar.js");
    const stage = snakefold.node("div", { class: "stage" });
    place.replaceChildren(stage);
    const created = await molstar.Viewer.create(stage, {
      layoutIsExpanded: false, layoutShowControls: false, layoutShowSequence: false, layoutShowLog: false,
      layoutShowLeftPanel: false, viewportShowSelectionMode: false, viewportShowAnimation: false,
      viewportShowControls: true, viewportShowSettings: false, viewportShowTrajectoryControls: false,
      volumeStreamingDisabled: true, viewportBackgroundColor: colour("surface"),
    });
    created.plugin.representation.structure.themes.colorThemeRegistry.add({
      name: THEME, label: "pLDDT", category: "Validation", factory: plddtTheme,
      getParams: () => ({}), defaultValues: {}, isApplicable: () => true,
    });
    return created;
  }

  async function cartoon(trajectory, modelIndex, look) {
    const build = viewer.plugin.builders.structure;
    const model = await build.createModel(trajectory, { modelIndex });
    const structure = await build.createStructure(model);
    const polymer = await build.tryCreateComponentStatic(structure, "polymer");
    if (polymer) await build.representation.addRepresentation(polymer, { type: "cartoon", ...look });
  }

  /** Show one model, or (superposed) the best model on its reference; `place` is replaced when it changes. */
  snakefold.showStructure = async (place, data, chosen, superposed) => {
    const call = ++latest;
    place.dataset.state = "loading";
    const text = await unpackText(superposed ? data.superposed : data.models[chosen].structure);
    if (!viewer || viewer.place !== place) {
      snakefold.closeStructure();
      latest = call;
      const created = await start(place);
      if (call !== latest) { created.dispose(); return; }
      viewer = created;
      viewer.place = place;
    }
    const plugin = viewer.plugin;
    await plugin.clear();
    const raw = await plugin.builders.data.rawData({ data: text, label: "model" });
    const trajectory = await plugin.builders.structure.parseTrajectory(raw, superposed ? "pdb" : "mmcif");
    if (call !== latest) return;
    await cartoon(trajectory, 0, { color: THEME });
    if (superposed) await cartoon(trajectory, 1, { color: "uniform", colorParams: { value: hexadecimal("reference") } });
    if (call !== latest) return;
    // Along its principal axes a molecule fills the view, whichever way the model happens to lie.
    // It has to be on the canvas before its extent is known.
    plugin.canvas3d.commit(true);
    plugin.managers.camera.orientAxes(undefined, 0);
    place.dataset.state = "ready";
  };

  /** Give the view's graphics memory back: browsers allow a page few WebGL contexts. */
  snakefold.closeStructure = () => {
    latest += 1;
    viewer?.dispose();
    viewer = null;
  };
})();
