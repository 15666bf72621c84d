"""Make the demo's micro database: homologs of the demo's proteins and a random background, out of Swiss-Prot.

Sequences and accessions come from Swiss-Prot 2014_01 as Debian's `metastudent-data` packs it; the species
names that pairing needs come from the globin names in Debian's `emboss-test`, joined on identical sequences.

    apt-get install metastudent-data ncbi-blast+
    apt-get download emboss-test && dpkg -x emboss-test_*.deb emboss
    python resources/demo/make_database.py --globins emboss/usr/share/EMBOSS/test/data/hmm/globins630.fa

The output depends on the inputs alone: samples are drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyhmmer

HERE = Path(__file__).resolve().parent
METASTUDENT = Path("/usr/share/metastudent-data/dataset_201401")
HITS_PER_CHAIN = 150
LONGEST_HOMOLOG = 1000
BACKGROUND = 1500
LONGEST_BACKGROUND = 800
#: Against all of Swiss-Prot, which is two hundred times the subset: remote homologs are wanted too.
E_VALUE = 1e-2


def swissprot(folder: Path) -> dict[str, str]:
    """Accession → sequence: the union of the three BLAST databases, each split by Gene Ontology branch."""
    found: dict[str, str] = {}
    for branch in ("MFO", "BPO", "CCO"):
        command = [
            "blastdbcmd",
            "-db",
            str(folder / branch / "goasp.fasta"),
            "-entry",
            "all",
            "-outfmt",
            "%t\t%s",
        ]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        for line in lines:
            title, sequence = line.split("\t")
            found.setdefault(title.split("|")[0], sequence)
    return found


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """First word of the header, and the sequence in capitals."""
    for record in path.read_text().split(">")[1:]:
        header, _, body = record.partition("\n")
        yield header.split()[0], "".join(body.split()).upper()


def demo_chains(path: Path) -> list[str]:
    """Every different chain of the demo set; records that are to be refused have no part in it."""
    records = [sequence for _, sequence in read_fasta(path)]
    chains = [
        chain for sequence in records if sequence.replace(":", "").isalpha() for chain in sequence.split(":")
    ]
    return list(dict.fromkeys(chains))


def homologs(chains: list[str], sequences: dict[str, str]) -> list[list[str]]:
    """Accessions found for each chain by one pass of phmmer."""
    alphabet = pyhmmer.easel.Alphabet.amino()

    def digital(name: str, sequence: str) -> pyhmmer.easel.DigitalSequence:
        return pyhmmer.easel.TextSequence(name=name, sequence=sequence).digitize(alphabet)

    block = pyhmmer.easel.DigitalSequenceBlock(alphabet, [digital(*item) for item in sequences.items()])
    queries = [digital(str(number), chain) for number, chain in enumerate(chains)]
    return [
        [hit.name for hit in hits if hit.included or hit.evalue <= E_VALUE]
        for hits in pyhmmer.hmmer.phmmer(queries, block, E=E_VALUE)
    ]


def write_fasta(path: Path, records: list[tuple[str, str]]) -> None:
    """Write records in order, 80 letters a line."""
    with path.open("w") as stream:
        for name, sequence in records:
            stream.write(f">{name}\n")
            stream.writelines(f"{sequence[start : start + 80]}\n" for start in range(0, len(sequence), 80))
    print(f"{path}: {len(records)} sequences, {path.stat().st_size} bytes")


def main() -> None:
    """Write `database/*.fasta` beside this script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--swissprot", type=Path, default=METASTUDENT, help="dataset folder of metastudent-data"
    )
    parser.add_argument("--globins", type=Path, required=True, help="globins630.fa of emboss-test")
    options = parser.parse_args()
    sequences = swissprot(options.swissprot)
    draw = random.Random(2014)  # noqa: S311 - a sample that anyone can draw again

    chosen: set[str] = set()
    for found in homologs(demo_chains(HERE / "proteins.fasta"), sequences):
        fitting = sorted(name for name in found if len(sequences[name]) <= LONGEST_HOMOLOG)
        chosen.update(draw.sample(fitting, min(HITS_PER_CHAIN, len(fitting))))
    others = sorted(
        name for name, text in sequences.items() if name not in chosen and len(text) <= LONGEST_BACKGROUND
    )
    chosen.update(draw.sample(others, BACKGROUND))
    write_fasta(HERE / "database/swissprot.fasta", [(name, sequences[name]) for name in sorted(chosen)])

    accessions = {text: name for name, text in sequences.items()}
    # EMBOSS's names are of mature chains: Swiss-Prot keeps the initiator methionine.
    accessions = {text[1:]: name for text, name in accessions.items() if text[:1] == "M"} | accessions
    named = {
        f"sp|{accessions[text]}|{entry}": sequences[accessions[text]]
        for entry, text in read_fasta(options.globins)
        if text in accessions and entry.startswith(("HBA_", "HBB_"))
    }
    write_fasta(HERE / "database/uniprot.fasta", sorted(named.items()))


if __name__ == "__main__":
    main()
