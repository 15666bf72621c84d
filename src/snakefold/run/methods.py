"""A methods section from what a run recorded: versions, databases and settings that it used, and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.engines.reuse import ENGINE as COLLECTION
from snakefold.engines.spec import Needs
from snakefold.kernel import citations
from snakefold.kernel.wording import listed
from snakefold.plan.demo import NOTE, searches_demo
from snakefold.plan.provenance import other_packages, packages_of, predictions_of
from snakefold.structures.files import REHEARSAL_NOTE

Recipe = Mapping[str, Any]

#: What a search tool is cited by, unless its own name.
_MMSEQS_RECIPES = {
    "colabfold": "ColabFold's profile search",
    "colabfold_unfiltered": "ColabFold's profile search without its filters",
}
_WORDS = {"jackhmmer": {"hmmer", "pyhmmer"}, "hhblits": {"hhsuite"}, "server": {"mmseqs"}}


def paragraph(provenance: Mapping[str, Any]) -> str:
    """A methods paragraph, in plain text with sources as (Author year); `bibtex` has them in full.

    Args:
        provenance: content of results/provenance.json; what it does not tell is not said.
    """
    found = _Used(provenance)
    before = provenance.get("design")
    sentences = [
        paragraph(before) if isinstance(before, Mapping) else "",
        _rehearsal(found),
        *_predictions(found),
        *_alignments(found),
        _templates(found),
        _relaxation(found),
        *_taken(found),
        _scores(found),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _rehearsal(found: _Used) -> str:
    """Which engine's predictions mean nothing, if some do."""
    random = [told.engine for told in found.told if told.rehearsal]
    if not random:
        return ""
    if len(random) == len(found.told):
        return f"{REHEARSAL_NOTE} What follows describes the run, not a prediction."
    return (
        f"REHEARSAL: the structures by {listed(random)} are made with random parameters and mean nothing. "
        "What follows of them describes the run, not a prediction."
    )


def bibtex(provenance: Mapping[str, Any]) -> str:
    """BibTeX of what the paragraph cites."""
    return citations.bibtex(citations.cited(used(provenance)).items())


def used(provenance: Mapping[str, Any]) -> set[str]:
    """What the run used, in the words of `when` in resources/citations.yaml."""
    found = _Used(provenance)
    before = provenance.get("design")
    words = used(before) if isinstance(before, Mapping) else {"always"}
    for told in found.told:
        engine = engines.find(told.engine)
        words |= {told.engine} if engine is None else set(engine.cites(told))
    if found.several:
        words.add("scores")
    if found.complexes:
        words.add("complexes")
    if found.searched:
        words |= {database["name"] for database in found.databases}
        for tool, values in found.msa.get("parameters", {}).items():
            words |= _WORDS.get(tool, {tool})
            if _mapping(values).get("gpu"):
                words.add(f"{tool}_gpu")
    if found.templates:
        words |= {"templates", {"hmmsearch": "hmmer"}.get(found.templates["tool"], "hhsuite")}
    if found.relaxed:
        words.add("relax")
    if found.settings.get("reuse"):
        words.add(COLLECTION.name)
    if found.settings.get("references"):
        words.add("references")
    return words


class _Told:
    """What a run recorded of one engine (`engines.spec.Told`)."""

    def __init__(self, found: _Used, engine: str) -> None:
        self.engine = engine
        self._found = found
        self.folds = {
            str(item.get("group", "")): _mapping(item.get("recipe"))
            for item in found.predictions
            if item.get("engine") == engine
        }
        self.recipes = {group: _mapping(recipe.get("engine")) for group, recipe in self.folds.items()}
        self.rehearsal = any(recipe.get("rehearsal") for recipe in self.folds.values())
        self.run = (
            f"snakefold {found.version}".strip()
            + f" on {_capital(found.package('snakemake'))}{found.cite('always')}"
        )

    def package(self, name: str) -> str:
        """`name version`, or the name if nobody recorded it."""
        return self._found.package(name)

    def cite(self, *words: str) -> str:
        """` (Author year; …)` of sources for these."""
        return self._found.cite(*words)


class _Used:
    """Parts of a provenance; empty where it has none."""

    def __init__(self, provenance: Mapping[str, Any]) -> None:
        self.provenance = provenance
        self.version = str(provenance.get("snakefold", ""))
        self.packages = _mapping(provenance.get("packages"))
        self.settings = _mapping(provenance.get("settings"))
        self.predictions = predictions_of(provenance)
        named = dict.fromkeys(str(item.get("engine")) for item in self.predictions)
        self.told = [
            _Told(self, name) for name in named or {str(self.settings.get("engine", "")): None} if name
        ]
        self.folds: list[Recipe] = [fold for told in self.told for fold in told.folds.values()]
        self.complexes = any("complex" in told.folds for told in self.told)
        self.rehearsal = any(told.rehearsal for told in self.told)
        aligned = [item for item in self.folds if _mapping(item.get("msa")).get("parameters")]
        # Rows for pairing come on top of the others: the last has the databases of all.
        self.msa = _mapping((aligned or self.folds)[-1].get("msa")) if self.folds else {}
        self.searched = bool(aligned)
        self.databases: list[Recipe] = list(self.msa.get("databases") or [])
        found = [_mapping(item.get("templates")) for item in self.folds]
        self.templates: Recipe = next((item for item in reversed(found) if item), {})
        self.several = any(map(_several_models, self.folds))
        chosen = [_mapping(item.get("relax")) for item in self.folds]
        self.relax: Recipe = next((item for item in reversed(chosen) if item), {})
        self.relaxed = self.relax.get("models_to_relax", "none") != "none" and any(map(_relaxes, self.told))

    def package(self, name: str) -> str:
        """`name version`, or the name if nobody recorded it."""
        return f"{name} {self.packages[name]}" if name in self.packages else name

    def cite(self, *words: str) -> str:
        """` (Author year; …)` of sources for these."""
        names = dict.fromkeys(item.short for item in citations.cited(words).values())
        return f" ({'; '.join(names)})" if names else ""


def _predictions(found: _Used) -> list[str]:
    if not found.told:
        return [f"Structures were predicted in a run of {_Told(found, '').run}."]
    sentences: list[str] = []
    unnamed: list[_Told] = []
    for told in found.told:
        engine = engines.find(told.engine)
        if engine is not None:
            sentences += engine.describe(told)
        elif (packages := packages_of(found.provenance, told.engine)) is not None:
            sentences.append(_made_with([told], packages))
        else:
            unnamed.append(told)
    if unnamed:
        known = [name for told in found.told for name in _packages(found, told.engine)]
        sentences.append(_made_with(unnamed, other_packages(found.provenance, known)))
    return sentences


def _made_with(told: Sequence[_Told], packages: Mapping[str, str]) -> str:
    """What predicted, as far as results tell it without the engine."""
    versions = listed([f"{name} {version}" for name, version in packages.items()])
    names = listed([each.engine for each in told])
    cited = told[0].cite(*(each.engine for each in told))
    return f"Predictions were made with {names}{versions and f' ({versions})'}{cited}, run by {told[0].run}."


def _packages(found: _Used, name: str) -> Sequence[str]:
    """Names of an engine's packages, by the engine or by the record; none if neither is there."""
    engine = engines.find(name)
    return engine.packages if engine is not None else list(packages_of(found.provenance, name) or ())


def _needs(told: _Told) -> list[Needs]:
    """What each group of an engine reads; nothing is known of an engine that is not installed."""
    engine = engines.find(told.engine)
    if engine is None:
        return []
    return [
        engine.needs(group, engine.Settings.model_validate(_mapping(recipe.get("settings"))))
        for group, recipe in told.recipes.items()
        if group in engine.groups
    ]


def _aligned(told: _Told) -> bool:
    """Whether an engine reads alignments."""
    return any(need.alignment for need in _needs(told))


def _alignments(found: _Used) -> list[str]:
    if not any(map(_aligned, found.told)) or not found.msa:
        return []
    if not found.searched:
        tool = str(found.msa.get("tool", found.settings.get("msa", {}).get("tool", "")))
        return {
            "single_sequence": [
                "No alignments were made: every chain was predicted from its sequence alone."
            ],
            "precomputed": ["Alignments were given with the input."],
        }.get(tool, [])
    tools = [_tool(found, name, _mapping(values)) for name, values in found.msa["parameters"].items()]
    named = [item for item in found.databases if item.get("name") != "server"]
    searched = [_database(item) + found.cite(str(item.get("name"))) for item in named]
    where = f" in {listed(searched)}" if searched else ""
    made = [f"Multiple sequence alignments were made with {listed(tools)}{where}."]
    given = found.settings.get("input") or []
    inputs = [Path(item) for item in ([given] if isinstance(given, str) else given)]
    if inputs and searches_demo(_mapping(found.settings.get("msa")), inputs):
        made.append(f"Note: {NOTE}.")
    return made


def _tool(found: _Used, name: str, values: Recipe) -> str:
    if name == "jackhmmer":
        rounds = _count(values.get("iterations", 1), "iteration")
        how = f"PyHMMER {values.get('pyhmmer', '')}, {rounds}, E-value {values.get('-E', '')}"
        return f"jackhmmer ({how}){found.cite('hmmer', 'pyhmmer')}"
    if name == "hhblits":
        how = f"{_count(values.get('-n', '3'), 'iteration')}, E-value {values.get('-e', '')}"
        return f"HHblits {values.get('version', '')} ({how}){found.cite('hhsuite')}"
    if name == "mmseqs":
        how = _MMSEQS_RECIPES.get(str(values.get("recipe")), "a plain search")
        if values.get("gpu"):
            return f"MMseqs2 {values.get('version', '')} ({how}, on GPUs){found.cite('mmseqs', 'mmseqs_gpu')}"
        return f"MMseqs2 {values.get('version', '')} ({how}){found.cite('mmseqs')}"
    if name == "server":
        release = next((str(item["release"]) for item in found.databases if item.get("release")), "")
        known = release or "the release that it had when it was asked"
        how = f"mode {values.get('mode', '')}; databases: {known}"
        return f"MMseqs2 by the MSA server {values.get('url', '')} ({how}){found.cite('mmseqs')}"
    return name


def _database(item: Recipe) -> str:
    files = [str(file.get("name")) for file in item.get("files") or [] if isinstance(file, Mapping)]
    notes = files[:1]
    if item.get("limit"):
        notes.append(f"at most {int(item['limit']):,} rows")
    if item.get("pairing"):
        notes.append("for pairing chains")
    return f"{item.get('name')}{f' [{chr(59).join(notes)}]'.replace(';', '; ') if notes else ''}"


def _templates(found: _Used) -> str:
    settings = [_mapping(_mapping(item.get("engine")).get("settings")) for item in found.folds]
    if not found.templates or not any(item.get("use_templates") for item in settings):
        readers = any(map(_reads_templates, found.told))
        own = any("own_templates" in _mapping(item.get("engine")) for item in found.folds)
        return f"No templates were {'searched' if own else 'used'}." if settings and readers else ""
    tool = found.templates.get("tool", "")
    date = found.templates.get("max_template_date", "")
    cited = found.cite("hmmer" if tool == "hmmsearch" else "hhsuite", "templates")
    return f"Templates released until {date} were searched with {tool}{cited}."


def _reads_templates(told: _Told) -> bool:
    return any(need.templates for need in _needs(told))


def _relaxation(found: _Used) -> str:
    choice = found.relax.get("models_to_relax")
    if choice is None or not any(map(_relaxes, found.told)):
        return ""
    if choice == "none":
        return "Models were not relaxed."
    which = "The best model of each target was" if choice == "best" else "All models were"
    steps = found.relax.get("max_iterations")
    limit = f", at most {steps} steps," if steps else ""
    changed = [
        f"{name} {found.relax[key]:g}"
        for key, name in (
            ("tolerance", "tolerance in kcal/mol/Å"),
            ("stiffness", "stiffness in kcal/mol/Å²"),
            ("max_outer_iterations", "rounds at most"),
        )
        if key in found.relax
    ]
    limit += f" ({', '.join(changed)})" if changed else ""
    program = found.package("openmm").replace("openmm", "OpenMM")
    return f"{which} relaxed by AlphaFold's protocol{limit} in Amber99SB with {program}{found.cite('relax')}."


def _relaxes(told: _Told) -> bool:
    """Whether models of an engine are relaxed: of what predicts structures of proteins."""
    engine = engines.find(told.engine)
    return engine is not None and engine.relaxes


def _taken(found: _Used) -> Sequence[str]:
    if not found.settings.get("reuse"):
        return []
    return COLLECTION.describe(_Told(found, COLLECTION.name))


def _scores(found: _Used) -> str:
    done = []
    if found.several:
        done.append(f"models of a target were compared by TM-score{found.cite('scores')}")
    if found.complexes:
        done.append(f"interfaces were scored by ipSAE and pDockQ2{found.cite('complexes')}")
    if found.settings.get("references"):
        known = "the best models were compared with known structures by TM-align and lDDT"
        done.append(f"{known}{found.cite('references')}")
    return f"{_capital('; '.join(done))}." if done else ""


def _several_models(recipe: Recipe) -> bool:
    settings = _mapping(_mapping(recipe.get("engine")).get("settings"))
    return len(settings.get("models") or []) * int(settings.get("num_seeds") or 1) > 1


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(number: Any, noun: str) -> str:
    return f"{number} {noun}{'' if str(number) == '1' else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
