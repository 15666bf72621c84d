"use strict";

/* The 3D view: any of a target's models, its reference and the same target of other results, laid over each other.
   Colours come from a theme of our own, which knows what is shown: Mol*'s own themes fix their colours. */
(() => {
  const { load } = snakefold;
  const THEME = "snakefold";
  let viewer = null;
  let latest = 0;
  let themes = 0;
  let versions = 0;
  let queue = Promise.resolve();

  const hexadecimal = (name) => parseInt(snakefold.colours.colour(name).slice(1), 16);

  /** Place of an atom's residue in the target, as `cifText` writes it. */
  const placeOf = ({ model: { atomicHierarchy: { residues, residueAtomSegments } } }, element) => residues.label_seq_id.value(residueAtomSegments.index[element]) - 1;

  /** What the colours of this moment are, so that a theme asks the page once and not for every atom. */
  function palette() {
    return {
      bands: snakefold.BANDS.map((band) => [band.from, hexadecimal(band.name)]),
      series: snakefold.colours.chains.map((text) => parseInt(text.slice(1), 16)),
      rows: hexadecimal("chain-6"), columns: hexadecimal("chain-1"), both: hexadecimal("chain-4"),
      reference: hexadecimal("reference"), faded: snakefold.colours.theme === "dark" ? 0x4a525a : 0xd5d9dc,
    };
  }

  function colourOf(shown, colours, unit, element) {
    const item = shown.items[unit.model.modelNum - 1];
    if (!item) return colours.reference;
    const place = placeOf(unit, element);
    const { rows, columns } = shown.residues.state;
    if (item.rank !== undefined && (rows || columns)) {
      const inside = (range) => range && place >= range[0] && place <= range[1];
      if (inside(rows) && inside(columns)) return colours.both;
      return inside(rows) ? colours.rows : inside(columns) ? colours.columns : colours.faded;
    }
    if (item.reference) return colours.reference;
    if (shown.by === "model") return colours.series[item.series % colours.series.length];
    if (shown.by === "chain") {
      const chain = shown.residues.chains.findIndex((one) => place < one.start + one.length);
      return colours.series[Math.max(chain, 0) % colours.series.length];
    }
    return colours.bands.find(([from]) => item.values[place] >= from)?.[1] ?? colours.reference;
  }

  function theme(context, properties) {
    const colours = palette();
    return {
      // Every theme is another one: what it draws from is the page's, which Mol* cannot compare.
      factory: theme, granularity: "group", props: properties, contextHash: ++themes, description: "Colours of the page",
      color(location) {
        const bond = location.kind === "bond-location";
        const unit = bond ? location.aUnit : location.unit;
        const element = bond ? location.aUnit.elements[location.aIndex] : location.element;
        return unit?.model?.atomicHierarchy && viewer?.shown ? colourOf(viewer.shown, colours, unit, element) : colours.reference;
      },
    };
  }

  /** Without a graphics card, smooth edges and shadows cost seconds a picture. */
  function plain(canvas) {
    const { gl } = canvas.webgl;
    const details = gl.getExtension("WEBGL_debug_renderer_info");
    if (!/swiftshader|llvmpipe|software|basic render/i.test(gl.getParameter(details ? details.UNMASKED_RENDERER_WEBGL : gl.RENDERER))) return;
    const off = { name: "off", params: {} };
    canvas.setProps({ multiSample: { mode: "off" }, postprocessing: { antialiasing: off, occlusion: off, shadow: off, outline: off } });
  }

  async function start(place) {
    await load("assets/molstar.js");
    const stage = snakefold.node("div", { class: "stage" });
    place.replaceChildren(stage);
    const created = await molstar.Viewer.create(stage, {
      layoutIsExpanded: false, layoutShowControls: false, layoutShowSequence: false, layoutShowLog: false,
      layoutShowLeftPanel: false, viewportShowSelectionMode: false, viewportShowAnimation: false,
      viewportShowControls: true, viewportShowSettings: false, viewportShowTrajectoryControls: false,
      volumeStreamingDisabled: true, viewportBackgroundColor: snakefold.colours.colour("surface"),
    });
    created.plugin.representation.structure.themes.colorThemeRegistry.add({
      name: THEME, label: "Page", category: "Misc", factory: theme,
      getParams: () => ({}), defaultValues: {}, isApplicable: () => true,
    });
    plain(created.plugin.canvas3d);
    created.plugin.behaviors.interaction.click.subscribe(({ current }) => {
      const clicked = current.loci;
      if (clicked.kind !== "element-loci" || !clicked.elements.length) return;
      const { unit, indices } = clicked.elements[0];
      const first = molstar.lib.structure.StructureElement.Loci.getFirstLocation(clicked);
      if (created.shown?.items[unit.model.modelNum - 1]?.reference || !indices || !first) return;
      created.shown?.residues.point(placeOf(unit, first.element));
    });
    return created;
  }

  async function draw(trajectory, modelIndex, { sidechains, ligands }) {
    const build = viewer.plugin.builders.structure;
    const model = await build.createModel(trajectory, { modelIndex });
    const structure = await build.createStructure(model);
    const drawn = [];
    async function add(part, types) {
      const component = await build.tryCreateComponentStatic(structure, part);
      for (const [type, sizeFactor] of component ? types : []) {
        const size = sizeFactor ? { typeParams: { sizeFactor } } : {};
        drawn.push(await build.representation.addRepresentation(component, { type, color: THEME, colorParams: { version: 0 }, ...size }));
      }
    }
    await add("polymer", sidechains ? [["cartoon"], ["ball-and-stick", 0.16]] : [["cartoon"]]);
    for (const part of ligands ? ["ligand", "ion", "branched"] : []) await add(part, [["ball-and-stick", 0.26]]);
    return drawn;
  }

  const structures = () => viewer.plugin.managers.structure.hierarchy.current.structures.map((item) => item.cell.obj?.data).filter(Boolean);

  /** Atoms of some residues in a structure on the canvas. */
  function loci(structure, has) {
    const elements = [];
    for (const unit of structure.units) {
      const indices = Int32Array.from(unit.elements.keys()).filter((at) => has(placeOf(unit, unit.elements[at])));
      if (indices.length) elements.push({ unit, indices });
    }
    return molstar.lib.structure.StructureElement.Loci(structure, elements);
  }

  async function show(place, view, call) {
    place.dataset.state = "loading";
    const text = await snakefold.cifText(view.items);
    if (call !== latest) return;
    if (!viewer || viewer.place !== place) {
      viewer?.dispose();
      viewer = null;
      const created = await start(place);
      if (call !== latest) { created.dispose(); return; }
      viewer = created;
      viewer.place = place;
      viewer.colouring = 0;
    }
    const plugin = viewer.plugin;
    const camera = viewer.shown ? plugin.canvas3d.camera.getSnapshot() : null;
    viewer.shown = view;
    viewer.drawn = [];
    await plugin.clear();
    const raw = await plugin.builders.data.rawData({ data: text, label: "models" });
    const trajectory = await plugin.builders.structure.parseTrajectory(raw, "mmcif");
    for (let number = 0; number < view.items.length; number++) viewer.drawn.push(...await draw(trajectory, number, view));
    if (call !== latest) return;
    // Before it is on the canvas, its extent is not known.
    plugin.canvas3d.commit(true);
    if (camera) plugin.managers.camera.setSnapshot(camera, 0);
    else snakefold.resetStructure();
    mark();
    change();
    paint();
    const late = viewer.late;
    viewer.late = false;
    place.dataset.shown = view.items.map((item) => item.name).join(", ");
    place.dataset.state = "ready";
    if (late) snakefold.recolourStructure();
  }

  /** Count what the view is told to draw: data-version is the last of it, data-painted what is on the canvas. */
  function change() {
    versions += 1;
    viewer.place.dataset.version = versions;
    return versions;
  }

  /** Draw a picture; unless colours are still being made, it shows all that was told. */
  function paint() {
    const drawing = viewer;
    let next = false; // whoever subscribes is told of the last picture first
    const drawn = drawing.plugin.canvas3d.didDraw.subscribe(() => {
      if (!next) return;
      drawn.unsubscribe();
      if (!drawing.colouring) drawing.place.dataset.painted = drawing.place.dataset.version;
    });
    next = true;
    drawing.plugin.canvas3d.requestDraw();
  }

  /** What the cursor is on: marked in the shown models. */
  function mark() {
    const { interactivity, structure } = viewer.plugin.managers;
    const { cursor } = viewer.shown.residues.state;
    interactivity.lociSelects.deselectAll();
    structure.focus.clear();
    if (cursor === null) return;
    for (const each of structures()) {
      const item = viewer.shown.items[each.models[0].modelNum - 1];
      if (item?.rank !== undefined) interactivity.lociSelects.select({ loci: loci(each, (place) => place === cursor) }, false);
    }
  }

  /** Show molecules: `view` is { items: [{ name, molecule, kinds, values, rank?, reference?, series }], by, sidechains,
   *  ligands, residues }. `place` gets the view, and says what it shows in data-state and data-shown. */
  snakefold.showStructure = (place, view) => {
    const call = ++latest;
    queue = queue.catch(() => null).then(() => (call === latest ? show(place, view, call) : null));
    return queue;
  };

  /** Colours anew, after a selection or another way to colour. */
  snakefold.recolourStructure = async (by) => {
    if (!viewer?.shown) return;
    if (by) viewer.shown.by = by;
    // What is being drawn may have its colours already.
    if (viewer.place.dataset.state !== "ready") { viewer.late = true; return; }
    const drawing = viewer;
    const update = drawing.plugin.build();
    const version = change();
    for (const drawn of drawing.drawn) {
      update.to(drawn).update((old) => { old.colorTheme = { name: THEME, params: { version } }; });
    }
    drawing.colouring += 1;
    try {
      await update.commit();
    } finally {
      drawing.colouring -= 1;
    }
    if (viewer === drawing) paint();
  };

  snakefold.markStructure = () => {
    if (!viewer?.shown || viewer.place.dataset.state !== "ready") return;
    mark();
    change();
    paint();
  };

  /** Along its principal axes a molecule fills the view, whichever way it happens to lie. */
  snakefold.resetStructure = () => viewer?.plugin.managers.camera.orientAxes(undefined, 0);

  snakefold.turnStructure = (right, down) => {
    const { camera } = viewer?.plugin.canvas3d ?? {};
    if (!camera) return;
    const { position, target, up } = camera.getSnapshot();
    const { Vec3, Mat4, Quat } = molstar.lib.math.LinearAlgebra;
    const away = Vec3.sub(Vec3(), position, target);
    const side = Vec3.normalize(Vec3(), Vec3.cross(Vec3(), up, away));
    const turn = Quat.multiply(Quat(), Quat.setAxisAngle(Quat(), up, right), Quat.setAxisAngle(Quat(), side, down));
    const turned = Vec3.add(Vec3(), target, Vec3.transformQuat(Vec3(), away, turn));
    viewer.plugin.managers.camera.setSnapshot({ position: turned, target, up: Vec3.transformQuat(Vec3(), up, turn) }, 0);
  };

  /** Give the view's graphics memory back: browsers allow a page few WebGL contexts. */
  snakefold.closeStructure = () => {
    latest += 1;
    viewer?.dispose();
    viewer = null;
  };
})();
