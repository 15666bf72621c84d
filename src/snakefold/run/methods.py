"""A methods section from what a run recorded: versions, databases and settings that it used, and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel import citations
from snakefold.plan.demo import NOTE, searches_demo
from snakefold.structures.files import REHEARSAL_NOTE

Recipe = Mapping[str, Any]
_MODELS = {"monomer": "monomer", "monomer_ptm": "monomer (pTM)", "multimer": "multimer (v3)"}


def paragraph(provenance: Mapping[str, Any]) -> str:
    """A methods paragraph, in plain text with sources as (Author year); `bibtex` has them in full.

    Args:
        provenance: content of results/provenance.json; what it does not tell is not said.
    """
    found = _Used(provenance)
    sentences = [
        f"{REHEARSAL_NOTE} What follows describes the run, not a prediction." if found.rehearsal else "",
        _prediction(found),
        *_models(found),
        *_alignments(found),
        _templates(found),
        _relaxation(found),
        _reuse(found),
        _scores(found),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def bibtex(provenance: Mapping[str, Any]) -> str:
    """BibTeX of what the paragraph cites."""
    return citations.bibtex(citations.cited(used(provenance)).items())


def used(provenance: Mapping[str, Any]) -> set[str]:
    """What the run used, in the words of `when` in resources/citations.yaml."""
    found = _Used(provenance)
    words = {"always", found.engine}
    if found.several:
        words.add("scores")
    if found.complexes:
        words.add("complexes")
    if found.engine == "alphafold2" and any(_preset(recipe) == "multimer" for recipe in found.folds):
        words.add("multimer")
    if found.searched:
        words |= {database["name"] for database in found.databases}
        for tool in found.msa.get("parameters", {}):
            words |= {"jackhmmer": {"hmmer", "pyhmmer"}, "hhblits": {"hhsuite"}}.get(tool, {tool})
    if found.templates:
        words |= {"templates", {"hmmsearch": "hmmer"}.get(found.templates["tool"], "hhsuite")}
    if found.relax.get("models_to_relax", "none") != "none" and found.engine == "alphafold2":
        words.add("relax")
    if found.settings.get("reuse"):
        words.add("reuse")
    if found.settings.get("references"):
        words.add("references")
    return words


class _Used:
    """Parts of a provenance; empty where it has none."""

    def __init__(self, provenance: Mapping[str, Any]) -> None:
        recipe = _mapping(provenance.get("recipe"))
        self.version = str(provenance.get("snakefold", ""))
        self.packages = _mapping(provenance.get("packages"))
        self.settings = _mapping(provenance.get("settings"))
        self.engine = str(self.settings.get("engine", "alphafold2"))
        found = [_mapping(recipe.get(name)) for name in ("fold", "complex_fold")]
        self.folds: list[Recipe] = [item for item in found if item]
        self.complexes = bool(found[1])
        self.rehearsal = any(item.get("rehearsal") for item in self.folds)
        self.relax = _mapping(self.folds[-1].get("relax")) if self.folds else {}
        # Rows for pairing come on top of the others: the last has the databases of all.
        self.msa = _mapping(self.folds[-1].get("msa")) if self.folds else {}
        self.searched = self.engine == "alphafold2" and bool(self.msa.get("parameters"))
        self.databases: list[Recipe] = list(self.msa.get("databases") or [])
        self.templates = _mapping(self.folds[-1].get("templates")) if self.folds else {}
        self.several = any(map(_several_models, self.folds))

    def package(self, name: str) -> str:
        """`name version`, or the name if nobody recorded it."""
        return f"{name} {self.packages[name]}" if name in self.packages else name

    def cite(self, *words: str) -> str:
        """` (Author year; …)` of sources for these."""
        names = dict.fromkeys(item.short for item in citations.cited(words).values())
        return f" ({'; '.join(names)})" if names else ""


def _prediction(found: _Used) -> str:
    run = (
        f"snakefold {found.version}".strip()
        + f" on {_capital(found.package('snakemake'))}{found.cite('always')}"
    )
    if found.engine == "flashabb":
        names = f"{found.package('flash-abb')} and {found.package('anarci')}"
        return f"Antibody structures were predicted with {names}{found.cite('flashabb')}, run by {run}."
    parts = ", ".join(found.package(name) for name in ("alphafold-colabfold", "colabfold", "jax"))
    multimer = ("multimer",) if any(_preset(item) == "multimer" for item in found.folds) else ()
    return (
        f"Structures were predicted with AlphaFold2 in ColabFold's version ({parts})"
        f"{found.cite('alphafold2', *multimer)}, run by {run}."
    )


def _models(found: _Used) -> list[str]:
    sentences = []
    for recipe in found.folds:
        settings = _mapping(_mapping(recipe.get("engine")).get("settings"))
        if found.engine != "alphafold2" or not settings:
            continue
        what = "Complexes" if recipe is found.folds[-1] and found.complexes else "Monomers"
        models = settings.get("models") or []
        seeds = settings.get("num_seeds", 1)
        recycles = settings.get("num_recycle")
        text = (
            f"{what} were predicted by the {_MODELS.get(_preset(recipe), _preset(recipe))} network, "
            f"model{'s' if len(models) != 1 else ''} {_listed([str(item) for item in models])}, "
            f"with {_count(recycles, 'recycle')}"
        )
        if tolerance := settings.get("recycle_early_stop_tolerance"):
            text += f" at the most (stopped once CA distances changed by less than {tolerance:g} Å)"
        text += f", {_count(seeds, 'seed')} a model (the first is {settings.get('random_seed', 0)})"
        limits = [
            f"{settings[name]} {rows}"
            for name, rows in (("max_msa_clusters", "clustered"), ("max_extra_msa", "extra"))
            if settings.get(name)
        ]
        text += f" and at most {' and '.join(limits)} rows of the MSA" if limits else ""
        sentences.append(f"{text}, in {settings.get('precision', 'bfloat16')}.")
    if found.folds and found.engine == "alphafold2":
        sentences.append(
            "The network's parameters were random."
            if found.rehearsal
            else "AlphaFold2's parameters are licensed under CC BY 4.0."
        )
    return sentences


def _alignments(found: _Used) -> list[str]:
    if found.engine != "alphafold2" or not found.msa:
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
    listed = [_database(item) + found.cite(str(item.get("name"))) for item in found.databases]
    where = f" in {_listed(listed)}" if listed else ""
    made = [f"Multiple sequence alignments were made with {_listed(tools)}{where}."]
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
        how = "ColabFold's profile search" if values.get("recipe") == "colabfold" else "a plain search"
        return f"MMseqs2 {values.get('version', '')} ({how}){found.cite('mmseqs')}"
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
        return "No templates were used." if settings and found.engine == "alphafold2" else ""
    tool = found.templates.get("tool", "")
    date = found.templates.get("max_template_date", "")
    cited = found.cite("hmmer" if tool == "hmmsearch" else "hhsuite", "templates")
    return f"Templates released until {date} were searched with {tool}{cited}."


def _relaxation(found: _Used) -> str:
    choice = found.relax.get("models_to_relax")
    if choice in (None, "none") or found.engine != "alphafold2":
        return "Models were not relaxed." if choice == "none" and found.engine == "alphafold2" else ""
    which = "The best model of each target was" if choice == "best" else "All models were"
    steps = found.relax.get("max_iterations")
    limit = f", at most {steps} steps," if steps else ""
    program = found.package("openmm").replace("openmm", "OpenMM")
    return f"{which} relaxed by AlphaFold's protocol{limit} in Amber99SB with {program}{found.cite('relax')}."


def _reuse(found: _Used) -> str:
    if not found.settings.get("reuse"):
        return ""
    return (
        "Targets whose exact sequence was in a collection of structures were not predicted: those structures "
        f"were taken; where they are AlphaFold DB's, cite it{found.cite('reuse')}."
    )


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


def _preset(recipe: Recipe) -> str:
    return str(_mapping(_mapping(recipe.get("engine")).get("settings")).get("model_preset", ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:-1]) + (" and " if len(items) > 1 else "") + "".join(items[-1:])


def _count(number: Any, noun: str) -> str:
    return f"{number} {noun}{'' if str(number) == '1' else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
