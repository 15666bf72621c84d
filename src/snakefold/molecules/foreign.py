"""What a text is that stands where a sequence should, or a file that is none of those that are read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from snakefold.kernel.names import shown
from snakefold.molecules.smiles import is_smiles

#: Longer texts are no names.
_LONGEST = 100_000

_UNIPROT = r"(?:[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2})"
_SEPARATORS = re.compile(r"[\s,;:]+")
_MODIFIED = re.compile(r"[A-Za-z\s]*(?:\(([A-Z\d]{2,5})\)[A-Za-z\s]*)+", re.ASCII)


@dataclass(frozen=True)
class Foreign:
    """What a text is: a code for programs, a sentence, and what to do."""

    code: str
    message: str
    advice: str


@dataclass(frozen=True)
class _Name:
    """Names of a database: what they are called, and where their sequence is."""

    pattern: re.Pattern[str]
    called: str
    address: str


_NAMES = [
    _Name(
        re.compile(rf"{_UNIPROT}(?:[-.]\d{{1,4}})?", re.ASCII),
        "a UniProt accession",
        "https://rest.uniprot.org/uniprotkb/{}.fasta",
    ),
    _Name(
        re.compile(rf"AF-{_UNIPROT}(?:-\d+)?-F\d+(?:-model_v\d+)?", re.ASCII),
        "an entry of the AlphaFold database",
        "https://alphafold.ebi.ac.uk",
    ),
    _Name(
        re.compile(r"[A-Z\d]{1,10}_[A-Z\d]{3,5}", re.ASCII),
        "a UniProt entry name",
        "https://rest.uniprot.org/uniprotkb/{}.fasta",
    ),
    _Name(re.compile(r"UPI[\dA-F]{10}", re.ASCII), "a UniParc identifier", "https://www.uniprot.org/uniparc"),
    _Name(
        re.compile(r"UniRef(?:100|90|50)_\w{6,20}", re.ASCII),
        "a UniRef cluster",
        "https://rest.uniprot.org/uniref/{}.fasta",
    ),
    _Name(
        re.compile(r"[ANWXY]P_\d{6,12}(?:\.\d{1,3})?", re.ASCII),
        "a RefSeq accession",
        "https://www.ncbi.nlm.nih.gov/protein/{}",
    ),
    _Name(
        re.compile(r"(?:pdb_0000)?[1-9](?=\w*[A-Za-z])[A-Za-z\d]{3}(?:_[A-Za-z\d]{1,4})?", re.ASCII),
        "a PDB code",
        "https://www.rcsb.org/fasta",
    ),
]


def recognised(text: str) -> Foreign | None:
    """What a text is that is no sequence; None if nobody can say. Asked only of what is refused anyway."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    if text.startswith(("http://", "https://", "ftp://", "s3://", "gs://")):
        return Foreign("address", f"{shown(text, 60)!r} is an address, not a sequence.", "Download it first.")
    if (name := _name_of(text)) is not None:
        return name
    if is_smiles(text):
        return Foreign(
            "smiles",
            f"{shown(text, 60)!r} is a SMILES: a ligand, not a protein.",
            "Expected is a sequence of amino acids. A ligand belongs in a Boltz YAML or AlphaFold 3 JSON.",
        )
    if found := _MODIFIED.fullmatch(text):
        return Foreign(
            "modification",
            f"'({found.group(1)})' in the sequence is a modified residue, as Chai writes it.",
            "Give the standard residue. A modification belongs in a Boltz YAML or AlphaFold 3 JSON.",
        )
    return None


def _name_of(text: str) -> Foreign | None:
    words = [word for word in _SEPARATORS.split(text) if word]
    if not words:
        return None
    first, *more = words
    for name in _NAMES:
        if name.pattern.fullmatch(first):
            if not all(name.pattern.fullmatch(word) for word in more):
                return None
            several = f" (and {len(more)} more)" if more else ""
            return Foreign(
                "accession",
                f"{shown(first, 40)!r}{several} is {name.called}, not a sequence.",
                f"Give the sequence; it is at {name.address.format(first)}.",
            )
    return None


#: How files begin that people have at hand, and that hold no sequence that could be read without a choice.
_FILES = [
    (r"HEADER  |ATOM   |HETATM|CRYST1|REMARK |TITLE   |MODEL   ", "a structure in PDB format"),
    (r"data_\w", "a structure in mmCIF format"),
    (r"LOCUS  ", "a GenBank entry"),
    (r"ID   \w", "an entry of UniProt or EMBL in their text format"),
    (r"# STOCKHOLM", "an alignment in Stockholm format"),
    (r"CLUSTAL", "an alignment in Clustal format"),
    (r"@<TRIPOS>", "a molecule in MOL2 format"),
    (r"@\S+", "a FASTQ file of reads"),
    (r"PK\x03\x04", "a zip archive"),
    (r"%PDF", "a PDF"),
]
_BEGINNINGS = [(re.compile(begin), called) for begin, called in _FILES]


def file_kind(first: str) -> str:
    """What a file is that begins with the line `first`; empty if nobody can say."""
    return next((called for begin, called in _BEGINNINGS if begin.match(first)), "")
