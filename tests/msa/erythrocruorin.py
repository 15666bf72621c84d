"""2GTL (erythrocruorin, in the wheel of tmtools): a structure, its chains, and a relative to search with."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import tmtools
from families import chain, descendant, write_fasta

CHAINS = {
    "A": "ADDEDCCSYEDRREIRHIWDDVWSSSFTDRRVAIVRAVFDDLFKHYPTSKALFERVKIDEPESGEFKSHLVRVANGLKLLINLLDDTLVL"
    "QSHLGHLADQHIQRKGVTKEYFRGIGEAFARVLPQVLSCFNVDAWNRCFHRLVARIAKDLP",
    "B": "KKQCGVLEGLKVKSEWGRAYGSGHDREAFSQAIWRATFAQVPESRSLFKRVHGDDTSHPAFIAHADRVLGGLDIAISTLDQPATLKEELD"
    "HLQVQHEGRKIPDNYFDAFKTAILHVVAAQLGRCYDREAWDACIDHIEDGIKGHH",
    "D": "ECLVTESLKVKLQWASAFGHAHERVAFGLELWRDIIDDHPEIKAPFSRVRGDNIYSPEFGAHSQRVLSGLDITISMLDTPDMLAAQLAHL"
    "KVQHVERNLKPEFFDIFLKHLLHVLGDRLGTHFDFGAWHDCVDQIIDGIK",
}
#: Chain D as a relative would have it: a few substitutions, no residues at the ends.
RELATIVE = CHAINS["D"][5:-5].replace("W", "F").replace("I", "V")
QUERY = chain(RELATIVE)


def write_pdb(folder: Path, seqres: str = "pdb_seqres.txt") -> None:
    """`mmcif_files/`, the sequences of its entries, and obsolete.dat."""
    (folder / "mmcif_files").mkdir(parents=True)
    shutil.copy(Path(tmtools.__file__).parent / "data" / "2gtl.cif", folder / "mmcif_files")
    entries = "".join(
        f">2gtl_{name} mol:protein length:{len(text)}  Hemoglobin chain\n{text}\n"
        for name, text in CHAINS.items()
    )
    # An entry whose structure is not there, and one that is replaced by 2GTL.
    entries += f">9zzz_A mol:protein length:{len(CHAINS['D'])}  Absent\n{CHAINS['D']}\n"
    entries += f">1old_B mol:protein length:{len(CHAINS['B'])}  Replaced\n{CHAINS['B']}\n"
    (folder / seqres).parent.mkdir(exist_ok=True)
    (folder / seqres).write_text(entries)
    (folder / "obsolete.dat").write_text(
        " LIST OF OBSOLETE COORDINATE ENTRIES AND SUCCESSORS\nOBSLTE    18-JUL-06 1OLD     2GTL\n"
    )


def write_reduced_dbs(root: Path) -> None:
    """AlphaFold's reduced_dbs in small, all but pdb70: relatives of chain D everywhere."""
    draw = random.Random(7)
    files = {
        "uniref90/uniref90.fasta": 60,
        "small_bfd/bfd-first_non_consensus_sequences.fasta": 20,
        "mgnify/mgy_clusters_2022_05.fa": 20,
        "uniprot/uniprot.fasta": 20,
    }
    for name, members in files.items():
        path = root / name
        path.parent.mkdir(parents=True)
        write_fasta(
            {
                f"sp|{path.stem[0].upper()}{number:04d}|HBD_ECOLI": descendant(
                    RELATIVE, draw, rate=0.05 + 0.45 * number / members
                )
                for number in range(members)
            },
            path,
        )
    write_pdb(root / "pdb_mmcif", "../pdb_seqres/pdb_seqres.txt")
