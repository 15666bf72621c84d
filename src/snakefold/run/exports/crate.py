"""`results/ro-crate-metadata.json`: what made the results from what, for programs and archives.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profiles Workflow RO-Crate 1.0 and Workflow Run Crate
0.5 (https://w3id.org/ro/wfrun/workflow/0.5). The workflow's own files are copied into results/workflow/, as
the profile asks. Structures are one entity, whatever their number: metrics.tsv lists them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakefold import __version__, engines
from snakefold.config import inputs_of, read_recorded
from snakefold.kernel import citations
from snakefold.kernel.paths import house
from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count, rehearsal_text
from snakefold.plan.provenance import predictions_of
from snakefold.run import methods
from snakefold.run.failures import read_failures
from snakefold.run.metrics import read_structures

FILE = "ro-crate-metadata.json"
Entity = dict[str, Any]

_CRATE, _WORKFLOW_CRATE = (
    "https://w3id.org/ro/crate/1.1",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    _WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
_CC_BY = "https://creativecommons.org/licenses/by/4.0/"
_SNAKEMAKE = "https://snakemake.github.io"
_NO_LICENCE = "#no-licence"
#: Results that are there after a run: name → (media type, what it is). A folder ends with a slash.
_RESULTS = {
    "metrics.tsv": ("text/tab-separated-values", "A row for every structure; columns in docs/results.md."),
    "metrics.parquet": ("application/vnd.apache.parquet", "metrics.tsv with types."),
    "failures.tsv": (
        "text/tab-separated-values",
        "Targets without a structure, each with reason and advice.",
    ),
    "bill.tsv": ("text/tab-separated-values", "Seconds and dollars of every batch and target."),
    "designs.tsv": ("text/tab-separated-values", "A row for every design; columns in docs/results.md."),
    "designs/passed.fasta": ("text/plain", "Designs that pass."),
    "methods.md": ("text/markdown", "Methods paragraph."),
    "citations.bib": ("application/x-bibtex", "Sources that the methods paragraph cites."),
    "report/": ("", "The report: open index.html."),
    "structures/": ("", "A folder for every target: models, confidence, PAE, alignment, scores."),
    "multiqc/": ("", "Custom content for MultiQC."),
}
_PLAN = {
    "config.yaml": ("application/yaml", "Settings of the run."),
    "plan/targets.tsv": ("text/tab-separated-values", "Records of the input and what was planned for them."),
    "plan/quote.json": ("application/json", "What the run was expected to take."),
    "provenance.json": ("application/json", "Versions, settings and recipes of the results."),
}


def write_crate(results: Path) -> Path:
    """Write the metadata of the run in `results`, and copy the workflow's files to results/workflow/.

    Raises:
        OSError, SnakefoldError: a file of the run is missing or damaged.
    """
    provenance = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    found = {
        "rules": _copy_workflow(results / "workflow"),
        "plan": [name for name in _PLAN if (results / name).exists()],
        "results": [name for name in _RESULTS if (results / name).exists()],
    }
    graph = _graph(results, provenance, found)
    content = {"@context": f"{_CRATE}/context", "@graph": graph}
    write_atomically(results / FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return results / FILE


def _graph(results: Path, provenance: Mapping[str, Any], found: Mapping[str, list[str]]) -> list[Entity]:
    done, failed = read_structures(results), read_failures(results)
    rehearsal = any(row.rehearsal for row in done)
    inputs, databases = _inputs(results), _databases(provenance)
    parameters = _parameters(provenance)
    software = _software(provenance)
    sources = _sources(provenance)
    files = [*_described(results, {**_PLAN, **_RESULTS}, [*found["plan"], *found["results"]])]
    rules = [_file(results, name, "text/plain", "Rules of the workflow.") for name in found["rules"]]
    start, end = _times(results)
    workflow: Entity = {
        **_file(results, "workflow/Snakefile", "text/x-snakemake", ""),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "snakefold",
        "description": "Batch protein folding as a Snakemake workflow.",
        "version": str(provenance.get("snakefold", __version__)),
        "license": {"@id": "https://spdx.org/licenses/MIT"},
        "programmingLanguage": {"@id": "#snakemake"},
        "softwareRequirements": _refs(software),
        "hasPart": _refs(rules),
    }
    mark = f"{rehearsal_text(sum(row.rehearsal for row in done), len(done))}. " if rehearsal else ""
    run: Entity = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"{'REHEARSAL of a' if rehearsal else 'A'} run of snakefold",
        "description": f"{mark}{count(len(done), 'structure')}; {count(len(failed), 'record')} without one.",
        "instrument": {"@id": workflow["@id"]},
        "object": _refs([*inputs, *databases, *parameters]) + [{"@id": name} for name in found["plan"][:1]],
        "result": [{"@id": name} for name in found["results"]],
        "startTime": start,
        "endTime": end,
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
    }
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{'REHEARSAL: ' if rehearsal else ''}Predicted structures of {count(len(done), 'target')}",
        "description": methods.paragraph(provenance),
        "datePublished": end,
        "license": {"@id": _NO_LICENCE},
        "conformsTo": [{"@id": profile} for profile in _PROFILES],
        "mainEntity": {"@id": workflow["@id"]},
        "mentions": {"@id": "#run"},
        "hasPart": _refs([workflow, *rules, *files, *(item for item in inputs if item["@type"] == "File")]),
        "citation": _refs(sources),
        **({"keywords": "REHEARSAL"} if rehearsal else {}),
    }
    descriptor: Entity = {
        "@id": FILE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": [{"@id": _CRATE}, {"@id": _WORKFLOW_CRATE}],
    }
    described = [*rules, *files, *inputs, *databases, *parameters, *software, *sources]
    return [descriptor, root, run, workflow, *described, *_fixed(provenance)]


def _fixed(provenance: Mapping[str, Any]) -> list[Entity]:
    """Profiles, licences and the workflow's language."""
    entities: list[Entity] = [
        {"@id": profile, "@type": "CreativeWork", "name": name, "version": version}
        for profile, (name, version) in _PROFILES.items()
    ]
    language: Entity = {
        "@id": "#snakemake",
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": _SNAKEMAKE},
        "url": {"@id": _SNAKEMAKE},
    }
    if version := provenance.get("packages", {}).get("snakemake"):
        language["version"] = str(version)
    return [
        *entities,
        language,
        {"@id": _CC_BY, "@type": "CreativeWork", "name": "Creative Commons Attribution 4.0 (CC BY 4.0)"},
        {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT License"},
        {
            "@id": _NO_LICENCE,
            "@type": "CreativeWork",
            "name": "No licence stated",
            "description": "Who publishes these results chooses one, and replaces this entity by it.",
        },
    ]


def _copy_workflow(folder: Path) -> list[str]:
    """Copy the Snakefile and its rules; returns the rules' names, as seen from the crate."""
    source = house() / "workflow"
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    rules = sorted((source / "rules").glob("*.smk"))
    for path in (source / "Snakefile", *rules):
        shutil.copyfile(path, folder / path.relative_to(source))
    return [f"workflow/rules/{path.name}" for path in rules]


def _described(results: Path, table: Mapping[str, tuple[str, str]], names: Iterable[str]) -> Iterable[Entity]:
    for name in names:
        media, text = table[name]
        if name.endswith("/"):
            yield {"@id": name, "@type": "Dataset", "name": name.rstrip("/"), "description": text}
        else:
            yield _file(results, name, media, text)


def _file(results: Path, name: str, media: str, text: str) -> Entity:
    content = (results / name).read_bytes()
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": text,
        "encodingFormat": media,
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _inputs(results: Path) -> list[Entity]:
    """Sequences are no part of the results: a file is named by its content (RFC 6920), not by its place."""
    entities: list[Entity] = []
    for number, path in enumerate(inputs_of(read_recorded(results)), 1):
        entity: Entity = {"@id": f"#input-{number}", "@type": "CreativeWork", "name": path.name}
        if path.is_file():
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            name = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            entity |= {"@id": f"ni:///sha-256;{name}", "@type": "File", "sha256": digest.hex()}
            entity |= {"contentSize": str(path.stat().st_size), "encodingFormat": "text/plain"}
        entities.append({**entity, "description": "Sequences to fold."})
    return list({entity["@id"]: entity for entity in entities}.values())


def _databases(provenance: Mapping[str, Any]) -> list[Entity]:
    entities: dict[str, Entity] = {}
    for recipe in (provenance.get("recipe") or {}).values():
        for item in recipe.get("databases", []) if isinstance(recipe, Mapping) else []:
            files = [f"{file['name']}: {json.dumps(file, sort_keys=True)}" for file in item.get("files", [])]
            entities[item["name"]] = {
                "@id": f"#database-{item['name']}",
                "@type": "Dataset",
                "name": str(item["name"]),
                "description": "; ".join(["Sequence or structure database that was searched", *files]),
            }
    return list(entities.values())


def _parameters(provenance: Mapping[str, Any]) -> list[Entity]:
    """Fingerprints of each engine's parameters."""
    recipes: dict[str, list[Mapping[str, Any]]] = {}
    for item in predictions_of(provenance):
        recipes.setdefault(item["engine"], []).append(item["recipe"])
    return [_parameters_of(name, made) for name, made in recipes.items()]


def _parameters_of(name: str, recipes: Sequence[Mapping[str, Any]]) -> Entity:
    random = any(recipe.get("rehearsal") for recipe in recipes)
    weights = [(recipe.get("engine") or {}).get("weights") for recipe in recipes]
    entity: Entity = {
        "@id": f"#parameters-{name}",
        "@type": "CreativeWork",
        "name": f"Random parameters of {name} (REHEARSAL)" if random else f"Parameters of {name}",
        "description": json.dumps(weights, sort_keys=True),
    }
    engine = engines.find(name)
    if not random and engine is not None and engine.licence:
        entity["license"] = {"@id": engine.licence}
    return entity


def _software(provenance: Mapping[str, Any]) -> list[Entity]:
    versions = {"python": provenance.get("python"), **(provenance.get("packages") or {})}
    return [
        {"@id": f"#software-{name}", "@type": "SoftwareApplication", "name": name, "version": str(version)}
        for name, version in versions.items()
        if version
    ]


def _sources(provenance: Mapping[str, Any]) -> list[Entity]:
    return [
        {"@id": f"https://doi.org/{item.doi}", "@type": "ScholarlyArticle", "name": item.title}
        for item in citations.cited(methods.used(provenance)).values()
    ]


def _times(results: Path) -> tuple[str, str]:
    """When the plan was made and when the last batch was collected, by their files."""
    tables = [path.stat().st_mtime for path in (results / "tables").glob("*.parquet")]
    start = (results / "config.yaml").stat().st_mtime
    # A result that is restored, or whose settings were written again, may be older than the plan.
    end = max([start, *tables])
    return _moment(start), _moment(end)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _refs(entities: Iterable[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]
