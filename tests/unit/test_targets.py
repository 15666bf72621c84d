"""Bad and odd records, one by one: what becomes of each, or what exactly is said of it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import pytest
from sequence_files import CRN, UBQ, read, write


@dataclass
class Taken:
    """An input that is accepted: its bytes, and the ids and sequences that come of it."""

    content: str | bytes
    expected: dict[str, str]
    name: str = "set.fasta"
    note: str = ""


TAKEN = {
    "plain": Taken(f">a\n{UBQ}\n", {"a": UBQ}),
    "no newline at the end": Taken(f">a\n{UBQ}", {"a": UBQ}),
    "wrapped": Taken(f">a\n{UBQ[:30]}\n{UBQ[30:]}\n", {"a": UBQ}),
    "CRLF": Taken(f">a\r\n{UBQ[:9]}\r\n{UBQ[9:]}\r\n>b\r\n{CRN}\r\n", {"a": UBQ, "b": CRN}),
    "CR alone": Taken(f">a\r{UBQ[:9]}\r{UBQ[9:]}\r", {"a": UBQ}),
    "UTF-8 mark": Taken(b"\xef\xbb\xbf>a\n" + UBQ.encode(), {"a": UBQ}),
    "blank lines and spaces": Taken(f"\n\n>a\n\n {UBQ[:9]} {UBQ[9:20]}\t{UBQ[20:]} \n\n", {"a": UBQ}),
    "comment lines": Taken(f">a\n;a comment with 123\n{UBQ}\n", {"a": UBQ}),
    "lower case": Taken(f">a\n{UBQ.lower()}\n", {"a": UBQ}),
    "stop at the end": Taken(f">a\n{UBQ}*\n", {"a": UBQ}),
    "stop at the end of each chain": Taken(f">a\n{CRN}*:{CRN}*\n", {"a": f"{CRN}:{CRN}"}),
    "two chains": Taken(f">a\n{CRN}:\n{CRN}\n", {"a": f"{CRN}:{CRN}"}),
    "X": Taken(">a\nMQIFVXTLTGKT\n", {"a": "MQIFVXTLTGKT"}),
    "U becomes C": Taken(">a\nMQIFUKTLTGKU\n", {"a": "MQIFCKTLTGKC"}, note="U→C at 2 places"),
    "B becomes D": Taken(">a\nMQIFbKTLTGKT\n", {"a": "MQIFDKTLTGKT"}, note="B→D at 1 place"),
    "Z becomes E": Taken(">a\nMQIFZKTLTGKT\n", {"a": "MQIFEKTLTGKT"}, note="Z→E at 1 place"),
    "J becomes X": Taken(">a\nMQIFJKTLTGKT\n", {"a": "MQIFXKTLTGKT"}, note="J→X at 1 place"),
    "O becomes X": Taken(">a\nMQIFOKTLTGKT\n", {"a": "MQIFXKTLTGKT"}, note="O→X at 1 place"),
    "poly-alanine is no DNA": Taken(f">a\n{'A' * 30}\n", {"a": "A" * 30}),
    "header of 10,000 characters": Taken(f">a{'x' * 9999}\n{UBQ}\n", {"a" + "x" * 99: UBQ}),
    "header without a name": Taken(f">\n{UBQ}\n", {"record-1": UBQ}),
    "blank before the name": Taken(f"> a b\n{UBQ}\n", {"a": UBQ}),
    "UniProt header": Taken(f">sp|P0CG47|UBB_HUMAN Ub\n{UBQ}\n", {"sp_P0CG47_UBB_HUMAN": UBQ}),
    "id with slashes and dots": Taken(f">../../etc/passwd\n{UBQ}\n", {"etc_passwd": UBQ}),
    "id of dots": Taken(f">..\n{UBQ}\n", {"record-1": UBQ}),
    "hidden id": Taken(f">.bashrc\n{UBQ}\n", {"bashrc": UBQ}),
    "id like an option": Taken(f">-rf\n{UBQ}\n", {"rf": UBQ}),
    "absolute path as id": Taken(f">/etc/shadow\n{UBQ}\n", {"etc_shadow": UBQ}),
    "backslashes in the id": Taken(f">C:\\x\\y\n{UBQ}\n", {"C_x_y": UBQ}),
    "shell in the id": Taken(f">$(rm\n{UBQ}\n>`x`;y&&z\n{CRN}\n", {"rm": UBQ, "x_y_z": CRN}),
    "quotes in the id": Taken(f">'a'\"b\"\n{UBQ}\n", {"a_b": UBQ}),
    "wildcards in the id": Taken(f">{{x}}*?\n{UBQ}\n", {"x": UBQ}),
    "escape codes in the id": Taken(f">a\x1b[31mred\n{UBQ}\n", {"a_31mred": UBQ}),
    "reserved by Windows": Taken(
        f">CON\n{UBQ}\n>nul.txt\n{CRN}\n", {"target-CON": UBQ, "target-nul.txt": CRN}
    ),
    "id in Chinese": Taken(f">蛋白质\n{UBQ}\n", {"record-1": UBQ}),
    "id with an accent": Taken(f">protéine\n{UBQ}\n", {"prot_ine": UBQ}),
    "equal ids": Taken(f">a\n{UBQ}\n>a\n{CRN}\n>a\n{CRN}\n", {"a": UBQ, "a-2": CRN, "a-3": CRN}),
    "ids equal but for case": Taken(f">Aa\n{UBQ}\n>aA\n{CRN}\n", {"Aa": UBQ, "aA-2": CRN}),
    "a suffix that is taken": Taken(
        f">a\n{UBQ}\n>a\n{CRN}\n>a-2\n{CRN}\n", {"a": UBQ, "a-3": CRN, "a-2": CRN}
    ),
    "long ids that are cut alike": Taken(
        f">{'x' * 120}1\n{UBQ}\n>{'x' * 120}2\n{CRN}\n", {"x" * 100: UBQ, "x" * 98 + "-2": CRN}
    ),
    "gzip": Taken(gzip.compress(f">a\n{UBQ}\n".encode()), {"a": UBQ}, "set.fasta.gz"),
    "gzip under another name": Taken(gzip.compress(f">a\n{UBQ}\n".encode()), {"a": UBQ}, "set.fa"),
    "FASTA under another name": Taken(f">a\n{UBQ}\n", {"a": UBQ}, "set.txt"),
    "ending in capitals": Taken(f">a\n{UBQ}\n", {"a": UBQ}, "SET.FASTA"),
    "samplesheet": Taken(f"id,sequence\na,{UBQ}\nb,{CRN}:{CRN}\n", {"a": UBQ, "b": f"{CRN}:{CRN}"}, "s.csv"),
    "samplesheet with quotes": Taken(f'"id","sequence"\n"a, b","{UBQ}"\n', {"a_b": UBQ}, "s.csv"),
    "samplesheet over two lines": Taken(f'id,sequence\na,"{UBQ[:9]}\n{UBQ[9:]}"\n', {"a": UBQ}, "s.csv"),
    "samplesheet, other columns": Taken(f"n,Sequence,ID\n1,{UBQ},a\n", {"a": UBQ}, "s.csv"),
    "samplesheet with semicolons": Taken(f"id;sequence\na;{UBQ}\n", {"a": UBQ}, "s.csv"),
    "samplesheet below blank lines": Taken(f"\n \nid,sequence\na,{UBQ}\n", {"a": UBQ}, "s.csv"),
    "samplesheet with tabs": Taken(f"id\tsequence\na\t{UBQ}\n", {"a": UBQ}, "s.tsv"),
    "samplesheet, CRLF, mark, gap": Taken(f"\ufeffid,sequence\r\n\r\na,{UBQ}\r\n", {"a": UBQ}, "s.csv"),
    "samplesheet, equal ids": Taken(f"id,sequence\na,{UBQ}\na,{CRN}\n", {"a": UBQ, "a-2": CRN}, "s.csv"),
    "samplesheet, path as id": Taken(f"id,sequence\n../a,{UBQ}\n", {"a": UBQ}, "s.csv"),
    "samplesheet, no id": Taken(f"id,sequence\n,{UBQ}\n", {"record-1": UBQ}, "s.csv"),
    "A3M": Taken(f">q\n{UBQ}\n>h\n{'-' * 70}aaGGGGGG\n", {"ubq": UBQ}, "ubq.a3m"),
    "A3M, wrapped, CRLF": Taken(f">q\r\n{UBQ[:9]}\r\n{UBQ[9:]}\r\n", {"ubq": UBQ}, "ubq.a3m"),
    "A3M with a comment": Taken(f"#ubiquitin\n>q\n{UBQ}\n", {"ubq": UBQ}, "ubq.a3m.gz"),
    "A3M, selenocysteine": Taken(">q\nMQIFUKTLTGKT\n", {"q": "MQIFCKTLTGKT"}, "q.a3m", "U→C at 1 place"),
    "A3M of ColabFold, monomer": Taken(f"#46\t1\n>101\n{CRN}\n", {"m": CRN}, "m.a3m"),
    "A3M of a homodimer": Taken(f"#46\t2\n>101\n{CRN}\n", {"m": f"{CRN}:{CRN}"}, "m.a3m"),
    "A3M of a heterotrimer": Taken(
        f"#12,10\t2,1\n>101\t102\n{UBQ[:22]}\n>101\n{UBQ[:12]}{'-' * 10}\n>x\n{'-' * 12}{UBQ[12:22]}\n",
        {"m": f"{UBQ[:12]}:{UBQ[:12]}:{UBQ[12:22]}"},
        "m.a3m",
    ),
}


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN.keys())
def test_odd_input_is_taken(case: Taken, tmp_path: Path) -> None:
    targets, refusals = read(write(tmp_path, case.name, case.content))
    assert refusals == []
    assert {target.id: ":".join(target.chains) for target in targets} == case.expected
    assert targets[0].note == case.note


@dataclass
class Refused:
    """An input of which something is refused: where, and what is said."""

    content: str | bytes
    code: str
    says: str
    line: int
    record: int = 1
    name: str = "set.fasta"
    taken: int = 0


GOOD = f">good\n{UBQ}\n"
REFUSED = {
    "empty file": Refused("", "empty", "The file is empty", 0, 0),
    "blank file": Refused("\n \n\t\n", "empty", "The file is empty", 0, 0),
    "empty gzip file": Refused(gzip.compress(b""), "empty", "The file is empty", 0, 0, "a.fa.gz"),
    "only comments": Refused(";a\n;b\n", "no_records", "No line begins with '>'", 0, 0),
    "no header": Refused(f"{UBQ}\n", "no_records", "No line begins with '>'", 0, 0),
    "text before the first header": Refused(
        f"MQI\n{GOOD}", "no_header", "before the first '>'", 1, 0, taken=1
    ),
    "empty sequence": Refused(f">a\n{GOOD}", "no_sequence", "The sequence is empty", 1, taken=1),
    "header only, at the end": Refused(f"{GOOD}>a", "no_sequence", "The sequence is empty", 3, 2, taken=1),
    "blanks only": Refused(f">a\n  \n\t\n{GOOD}", "no_sequence", "The sequence is empty", 1, taken=1),
    "stop only": Refused(f">a\n*\n{GOOD}", "no_sequence", "The sequence is empty", 1, taken=1),
    "stop inside": Refused(
        f">a\n{UBQ}\nMQ*IF\n{GOOD}", "stop_codon", "stop ('*') before its end", 3, taken=1
    ),
    "stop inside the second chain": Refused(f">a\n{UBQ}:\nMQ*IF\n", "stop_codon", "Chain 2 has a stop", 3),
    "digit": Refused(f"{GOOD}>a\n{UBQ}\n1 MQIF\n", "digit", "The digit '1'", 5, 2, taken=1),
    "gap": Refused(f">a\nMQIF-KTLTGKT\n{GOOD}", "gap", "The gap '-'", 2, taken=1),
    "dot": Refused(
        f">a\nMQIF.KTLTGKT\n{GOOD}", "gap", "an alignment needs a file name ending in .a3m", 2, taken=1
    ),
    "slash between chains": Refused(f">a\n{CRN}/{CRN}\n", "letter", "':' separates chains, not '/'", 2),
    "other sign": Refused(f">a\nMQIF@KTLTGKT\n{GOOD}", "letter", "COMMERCIAL AT", 2, taken=1),
    "Greek letter": Refused(f">a\nMQIFΑKTLTGKT\n{GOOD}", "letter", "GREEK CAPITAL LETTER ALPHA", 2, taken=1),
    "letter that folds to s": Refused(">a\nMQIFſKTLTGKT\n", "letter", "U+017F", 2),
    "sign that folds to k": Refused(">a\nMQIF\u212aKTLTGKT\n", "letter", "KELVIN SIGN", 2),
    "Arabic digit": Refused(">a\nMQIF٣KTLTGKT\n", "digit", "The digit '٣'", 2),
    "no-break space": Refused(">a\nMQIF\u00a0KTLTGKT\n", "letter", "NO-BREAK SPACE", 2),
    "zero-width space": Refused(">a\nMQIF\u200bKTLTGKT\n", "letter", "ZERO WIDTH SPACE", 2),
    "control character": Refused(">a\nMQIF\x07KTLTGKT\n", "letter", "a control character", 2),
    "DNA": Refused(f">a\nATGCATTTTAAACGCTACGN\n{GOOD}", "nucleotides", "looks like DNA or RNA", 1, taken=1),
    "RNA": Refused(f">a\nAUGCAUUUUAAACGCUACGU\n{GOOD}", "nucleotides", "Translate it", 1, taken=1),
    "unknown residues only": Refused(
        f">a\n{'X' * 20}\n{GOOD}", "all_unknown", "unknown residues", 1, taken=1
    ),
    "O and J only": Refused(f">a\n{'OJ' * 20}\n", "all_unknown", "unknown residues", 1),
    "too short": Refused(
        f">a\nMQIF\n{GOOD}", "too_short", "4 residues, fewer than min_length 10", 1, taken=1
    ),
    "too long": Refused(f">a\n{UBQ}{UBQ}\n{GOOD}", "too_long", "more than max_length 100", 1, taken=1),
    "too long together": Refused(f">a\n{UBQ}:{UBQ}\n", "too_long", "152 residues", 1),
    "empty chain": Refused(f">a\n{CRN}::{CRN}\n", "no_sequence", "Chain 2 is empty", 2),
    "colon at the end": Refused(f">a\n{CRN}:\n", "no_sequence", "take the ':' away", 2),
    "colon at the start": Refused(f">a\n:{CRN}\n", "no_sequence", "Chain 1 is empty", 1),
    "1001 chains": Refused(f">a\n{':'.join(['A'] * 1001)}\n", "too_many_chains", "There are 1001 chains", 1),
    "NUL": Refused(f"{GOOD}>a\nMQ\nMQ\0IF\n>b\n{CRN}\n", "nul", "NUL byte is in the sequence", 5, 2, taken=2),
    "NUL in a header": Refused(f"{GOOD}>a\0b\n{UBQ}\n>b\n{CRN}\n", "nul", "in the header", 3, 2, taken=2),
    "NUL at the end": Refused(f"{GOOD}>a\n{UBQ}\n\0\0\n", "nul", "copy it again", 5, 2, taken=1),
    "NUL over the end of a record": Refused(
        f"{GOOD}>a\nMQ\0\0\0QI\n", "nul", "may be missing", 4, 2, taken=1
    ),
    "NUL in the first header": Refused(f">a\0b\n{UBQ}\n{GOOD}", "binary", "NUL bytes", 1, 0),
    "NUL before the first header": Refused(f"MQI\nM\0Q\n{GOOD}", "binary", "NUL bytes", 2, 0),
    "NUL in a gzip file": Refused(
        gzip.compress(f"{GOOD}>a\nMQ\0IF\n".encode()), "nul", "NUL byte", 4, 2, "a.fa.gz", 1
    ),
    "samplesheet, NUL": Refused(f"id,sequence\na,{UBQ}\0\n", "binary", "NUL bytes", 2, 0, "s.csv"),
    "binary": Refused(bytes(range(256)) * 9, "binary", "it is binary or UTF-16", 1, 0),
    "UTF-16 with mark": Refused(GOOD.encode("utf-16"), "encoding", "UTF-16", 1, 0),
    "UTF-16 without mark": Refused(GOOD.encode("utf-16-le"), "binary", "UTF-16", 1, 0),
    "Latin-1 header": Refused(
        b">prot\xe9ine\n" + UBQ.encode() + b"\n" + GOOD.encode(), "encoding", "Byte 5 of the text", 1, taken=1
    ),
    "Latin-1 sequence": Refused(b">a\nMQIF\xe9KTLTGKT\n", "encoding", "The byte 0xE9 in the sequence", 2),
    "gzip cut short": Refused(
        gzip.compress(GOOD.encode())[:-9], "damaged_gzip", "damaged or cut short", 0, 0, "a.fasta.gz"
    ),
    "gzip with an error": Refused(
        gzip.compress(GOOD.encode())[:-8] + b"\0" * 8, "damaged_gzip", "CRC", 0, 0, "a.fasta.gz"
    ),
    "gzip in name only": Refused(b"\x1f\x8bxxxxxxxxxxxxxxxx", "damaged_gzip", "damaged", 0, 0, "a.fasta.gz"),
    "unknown kind": Refused("HEADER    PROTEIN\nATOM\n", "unknown_kind", "no known ending", 0, 0, "1crn.pdb"),
    "samplesheet without columns": Refused(
        f"a,{UBQ}\n", "no_columns", "must name the columns", 1, 0, "s.csv"
    ),
    "samplesheet of separators": Refused(",\n,\n", "no_columns", "The table is empty", 0, 0, "s.csv"),
    "samplesheet below blank lines": Refused(
        f"\n\nid,sequence\na,MQ-\nb,{UBQ}\n", "gap", "The gap '-'", 4, 1, "s.csv", 1
    ),
    "samplesheet, one column": Refused("id\na\n", "no_columns", "The columns are 'id'", 1, 0, "s.csv"),
    "samplesheet, a column twice": Refused(
        f"id,sequence,sequence\na,{UBQ},{CRN}\n", "no_columns", "id,sequence,sequence", 1, 0, "s.csv"
    ),
    "samplesheet, both contents": Refused(
        f"id,sequence,fasta\na,{UBQ},a.fa\n", "no_columns", "The columns are", 1, 0, "s.csv"
    ),
    "samplesheet of A3M paths": Refused(
        f"id,sequence,a3mpath\na,{UBQ},x.a3m\n", "no_columns", "'a3mpath' is not supported", 1, 0, "s.csv"
    ),
    "samplesheet without rows": Refused("id,sequence\n\n", "no_records", "no rows", 0, 0, "s.csv"),
    "samplesheet, missing cell": Refused(
        f"id,sequence\na\nb,{UBQ}\n", "columns", "1 cells, the header 2", 2, 1, "s.csv", 1
    ),
    "samplesheet, cell too many": Refused(
        f"id,sequence\nb,{UBQ}\na,b,{UBQ}\n", "columns", "3 cells, the header 2", 3, 2, "s.csv", 1
    ),
    "samplesheet, empty sequence": Refused(
        f"id,sequence\n\na,\nb,{UBQ}\n", "no_sequence", "The sequence is empty", 3, 1, "s.csv", 1
    ),
    "samplesheet, open quote": Refused(
        f'id,sequence\nb,{UBQ}\na,"{UBQ}\n', "csv", "Check its quotes", 3, 0, "s.csv"
    ),
    "samplesheet, Latin-1": Refused(
        b"id,sequence\n\xe9," + UBQ.encode(), "encoding", "Byte 1 of the text", 2, 1, "s.csv"
    ),
    "samplesheet, no such FASTA": Refused(
        "id,fasta\na,nowhere.fa\n", "no_fasta", "'nowhere.fa': There is no such file", 2, 1, "s.csv"
    ),
    "samplesheet, address": Refused(
        "id,fasta\na,https://example.org/a.fa\n", "no_fasta", "Download it first", 2, 1, "s.csv"
    ),
    "samplesheet, no path": Refused("id,fasta\na,\n", "no_fasta", "no such file", 2, 1, "s.csv"),
    "samplesheet, device": Refused("id,fasta\na,/dev/zero\n", "no_fasta", "no such file", 2, 1, "s.csv"),
    "samplesheet, endless path": Refused(f"id,fasta\na,{'x' * 9999}\n", "no_fasta", "no such", 2, 1, "s.csv"),
    "samplesheet, itself": Refused("id,fasta\na,s.csv\n", "no_records", "No line begins", 2, 1, "s.csv"),
    "A3M, text only": Refused("MQIFVK\n", "no_header", "before the first '>'", 0, 1, "a.a3m"),
    "A3M, comment only": Refused("#hello\n", "no_records", "No line begins with '>'", 0, 0, "a.a3m"),
    "A3M, row too short": Refused(
        f">q\n{UBQ}\n>h\n{UBQ[:-1]}\n", "a3m_row", "The row has 75 columns, the query 76", 3, 2, "a.a3m"
    ),
    "A3M, row too long": Refused(f">q\n{CRN}\n>h\n{CRN}aaA\n", "a3m_row", "47 columns", 3, 2, "a.a3m"),
    "A3M, empty row": Refused(
        f">q\n{CRN}\n>h\n>i\n", "a3m_row", "row of the alignment is empty", 3, 2, "a.a3m"
    ),
    "A3M, dots": Refused(f">q\n{CRN}\n>h\n{CRN[:-1]}.\n", "a3m_row", "'.' is in a row", 3, 2, "a.a3m"),
    "A3M, digits": Refused(f">q\n{CRN}\n>h\n{CRN[:-1]}1\n", "a3m_row", "'1' is in a row", 3, 2, "a.a3m"),
    "A3M, structure rows": Refused(f">ss_pred\nCCHHH\n>q\n{CRN}\n", "a3m_row", "ss_ rows", 1, 1, "a.a3m"),
    "A3M, gap in the query": Refused(f">q\n-{CRN}\n", "a3m_query", "The query (first row)", 1, 1, "a.a3m"),
    "A3M, insertion in the query": Refused(f">q\na{CRN}\n", "a3m_query", "lower-case", 1, 1, "a.a3m"),
    "A3M, query too short": Refused(">q\nMQIF\n", "too_short", "4 residues", 1, 1, "a.a3m"),
    "A3M, query of X": Refused(f">q\n{'X' * 20}\n", "all_unknown", "unknown", 1, 1, "a.a3m"),
    "A3M, blank for tab": Refused(
        f"#46 1\n>q\n{CRN}\n", "complex_header", "is not ColabFold's", 1, 0, "a.a3m"
    ),
    "A3M, other lengths": Refused(f"#40,5\t1,1\n>q\n{CRN}\n", "a3m_query", "says 45", 2, 1, "a.a3m"),
    "A3M, copies missing": Refused(
        f"#40,6\t1\n>q\n{CRN}\n", "complex_header", "2 lengths and 1", 1, 0, "a.a3m"
    ),
    "A3M, no copies": Refused(f"#46\t0\n>q\n{CRN}\n", "complex_header", "none of them 0", 1, 0, "a.a3m"),
    "A3M, a million copies": Refused(
        f"#46,46\t999,999\n>q\n{CRN}\n", "complex_header", "at most 1000", 1, 0, "a.a3m"
    ),
    "A3M, Latin-1": Refused(b">q\xe9\n" + CRN.encode(), "encoding", "Byte 2 of the text", 1, 1, "a.a3m"),
    "A3M, NUL in a row": Refused(f">q\n{CRN[:9]}\0{CRN[9:]}\n", "binary", "NUL bytes", 2, 0, "a.a3m"),
    "A3M, NUL in a header": Refused(f">q\0\n{CRN}\n", "binary", "NUL bytes", 1, 0, "a.a3m"),
    "A3M, NUL, then a row": Refused(f">q\n{CRN}\0\n{CRN}\n", "binary", "NUL bytes", 3, 0, "a.a3m"),
    "A3M, NUL first": Refused(f"\0>q\n{CRN}\n", "binary", "NUL bytes", 1, 0, "a.a3m"),
    "A3M, binary": Refused(bytes(range(256)) * 9, "binary", "it is binary", 1, 0, "a.a3m"),
    "A3M, UTF-16": Refused(f">q\n{CRN}\n".encode("utf-16-le"), "binary", "UTF-16", 1, 0, "a.a3m"),
    "A3M, UTF-16, big": Refused(f">q\n{CRN}\n".encode("utf-16-be"), "binary", "UTF-16", 1, 0, "a.a3m"),
    "A3M, two chains": Refused(
        f">101\n{CRN}\n>r\n{CRN}\n\0>102\n{UBQ}\n\0", "a3m_blocks", "first '101', then '102'", 5, 0, "a.a3m"
    ),
    "A3M, two chains of one length": Refused(
        f">101\n{CRN}\0\n>102\n{CRN[::-1]}\n\0", "a3m_blocks", "an A3M file for each", 3, 0, "a.a3m"
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused(case: Refused, tmp_path: Path) -> None:
    path = write(tmp_path, case.name, case.content)
    targets, refusals = read(path)
    assert len(refusals) == 1
    (refusal,) = refusals
    assert case.says in f"{refusal.message} {refusal.advice}"
    assert (refusal.code, refusal.line, refusal.record) == (case.code, case.line, case.record)
    assert refusal.file == str(path)
    assert refusal.advice
    assert len(targets) == case.taken
