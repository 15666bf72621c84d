"""templates.tsv says which templates a target's network was given."""

from __future__ import annotations

import io

import numpy as np

from snakefold.engines.spec import ChainMsa
from snakefold.engines.template_table import template_table


def archive(names: list[bytes], sequences: list[bytes], scores: list[float]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        template_domain_names=np.array(names),
        template_sequence=np.array(sequences),
        template_sum_probs=np.array(scores, np.float32)[:, None],
    )
    return buffer.getvalue()


def test_templates_of_each_chain_with_identity_and_coverage() -> None:
    found = archive([b"1abc_A", b"2xyz_B"], [b"ACDEFG--", b"--WE----"], [7.5, 0.0])
    chains = [
        ChainMsa(">q\nACDE\nFGHI\n>r\n--DEFGHI\n", depth=2, neff=1.0, templates=found),
        ChainMsa(">q\nMKV\n", depth=1, neff=1.0),
    ]
    table = template_table(chains)
    assert table is not None
    assert table.decode().splitlines() == [
        "chain\ttemplate\tidentity\tcoverage\tsum_probs",
        "1\t1abc_A\t1.000\t0.750\t7.50",
        "1\t2xyz_B\t0.500\t0.250\t",
    ]


def test_no_more_than_the_network_reads() -> None:
    many = archive([b"1abc_%d" % number for number in range(9)], [b"AC"] * 9, [1.0] * 9)
    table = template_table([ChainMsa(">q\nAC\n", depth=1, neff=1.0, templates=many)])
    assert table is not None and table.count(b"\n") == 5


def test_without_templates_there_is_no_table() -> None:
    assert template_table([ChainMsa(">q\nAC\n", depth=1, neff=1.0)]) is None
