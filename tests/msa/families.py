"""Protein families for search tests: natural sequences and descendants drawn from them with a fixed seed."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from snakefold.kernel.recipes import sequence_key
from snakefold.msa import programs
from snakefold.msa.planned import PlannedChain

ALPHABET = "ACDEFGHIKLMNPQRSTVWY"
SPECIES = ("HUMAN", "MOUSE", "YEAST", "ECOLI", "BACSU", "ARATH", "DROME", "CAEEL", "DANRE", "XENLA")
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
HAEMOGLOBIN_ALPHA = (
    "MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKLRVDPVNFKLLS"
    "HCLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR"
)
LYSOZYME = (
    "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPCSALLSSDITASVNCAKKIVSDGN"
    "GMNAWVAWRNRCKGTDVQAWIRGCRL"
)
THIOREDOXIN = (
    "SDKIIHLTDDSFDTDVLKADGAILVDFWAEWCGPCKMIAPILDEIADEYQGKLTVAKLNIDQNPGTAPKYGIRGIPTLLLFKNGEVAATKVGALSKGQLKEFL"
    "DANLA"
)
NATURAL = {"UBIQ": UBIQUITIN, "HBA": HAEMOGLOBIN_ALPHA, "LYSC": LYSOZYME, "THIO": THIOREDOXIN}
ORPHAN = "WCMHWCYHMWCHYMWPCHMWYCHWMPCYHWMCHYW"


def chain(sequence: str) -> PlannedChain:
    return PlannedChain(key=sequence_key([sequence]), sequence=sequence)


def queries() -> list[PlannedChain]:
    """Four natural proteins and one that resembles nothing."""
    return [chain(sequence) for sequence in (*NATURAL.values(), ORPHAN)]


def family(name: str, members: int, seed: int) -> dict[str, str]:
    """Descendants of a natural protein by UniProt-like name: 5 to 60 % substitutions, short indels."""
    draw = random.Random(f"{name}{seed}")
    return {
        f"sp|{name[0]}{seed}{number:04d}|{name}_{SPECIES[number % len(SPECIES)]}": descendant(
            NATURAL[name], draw, rate=0.05 + 0.55 * number / members
        )
        for number in range(members)
    }


def descendant(sequence: str, draw: random.Random, rate: float) -> str:
    """A relative: residues substituted at this rate, one in a hundred lost, one in a hundred inserted."""
    residues: list[str] = []
    for residue in sequence:
        if draw.random() < 0.01:
            continue
        residues.append(draw.choice(ALPHABET) if draw.random() < rate else residue)
        if draw.random() < 0.01:
            residues.append(draw.choice(ALPHABET))
    return "".join(residues)


def background(count: int, seed: int) -> dict[str, str]:
    """Random sequences of 60 to 300 residues."""
    draw = random.Random(seed)
    return {
        f"sp|X{seed}{number:04d}|RAND{number}_{draw.choice(SPECIES)}": "".join(
            draw.choices(ALPHABET, k=draw.randint(60, 300))
        )
        for number in range(count)
    }


def database(seed: int, members: int = 40, random_sequences: int = 150) -> dict[str, str]:
    """Families of all natural queries, and background."""
    records: dict[str, str] = {}
    for name in NATURAL:
        records |= family(name, members, seed)
    return records | background(random_sequences, seed)


def write_fasta(records: dict[str, str], path: Path) -> Path:
    path.write_text("".join(f">{name} description of {name}\n{text}\n" for name, text in records.items()))
    return path


def mmseqs(folder: Path, *arguments: str) -> None:
    command = [str(programs.find("mmseqs")), *arguments, "-v", "1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def expandable_database(folder: Path, name: str, seed: int, records: dict[str, str] | None = None) -> Path:
    """An expandable database as ColabFold's: `name` (consensus), `name_seq` (members), `name_aln`."""
    write_fasta(database(seed) if records is None else records, folder / f"{name}.fasta")
    mmseqs(folder, "createdb", f"{name}.fasta", f"{name}_seq")
    mmseqs(folder, "linclust", f"{name}_seq", "clusters", "tmp", "--min-seq-id", "0.5", "--threads", "2")
    sequences = f"{name}_seq"
    mmseqs(folder, "align", sequences, sequences, "clusters", f"{name}_aln", "-a", "-e", "inf")
    mmseqs(folder, "result2profile", sequences, sequences, f"{name}_aln", "profiles")
    mmseqs(folder, "profile2consensus", "profiles", name)
    for left in ("clusters", "profiles", "profiles_h"):
        mmseqs(folder, "rmdb", left)
    return folder / name
