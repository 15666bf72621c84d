"""Templates from the MSA server: entries of its pdb70, as ColabFold's client and ours ask for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import hhsuite
import httpx
import numpy as np
import pytest
from erythrocruorin import CHAINS, RELATIVE, write_pdb
from families import UBIQUITIN, chain
from serving import Serving, running

from snakefold.kernel import archive, recipes
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, open_store
from snakefold.msa import template_files, templates
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases.presets import load_preset
from snakefold.msa.planned import PlannedChunk
from snakefold.msa.search import recipe
from snakefold.msa.server import facts as server_facts
from snakefold.msa.server.client import Pace
from snakefold.msa.settings import MsaSettings
from snakefold.service.msa.settings import ServedMsa

pytestmark = pytest.mark.needs("hhblits")  # makes the database


def named(prefix: Path) -> None:
    """Name entries by their first sequence, as pdb70 does, and not by their number."""
    index, data = (prefix.with_name(f"pdb70_a3m.ff{end}") for end in ("index", "data"))
    names = {}
    for line in index.read_text().splitlines():
        key, offset, size = line.split("\t")
        entry = data.read_bytes()[int(offset) : int(offset) + int(size)].decode()
        names[key] = next(
            part.split()[0][1:] for part in entry.splitlines() if part[:5] in (">2GTL", ">9ZZZ")
        )
    assert len(set(names.values())) == len(names) > 2
    for kind in ("a3m", "hhm", "cs219"):
        index = prefix.with_name(f"pdb70_{kind}.ffindex")
        lines = [line.split("\t", 1) for line in index.read_text().splitlines()]
        index.write_text("".join(sorted(f"{names[key]}\t{rest}\n" for key, rest in lines)))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server of AlphaFold's reduced_dbs in small, with a pdb70 of one structure's chains."""
    root = tmp_path_factory.mktemp("reduced_dbs")
    write_pdb(root)
    (root / "pdb_mmcif").mkdir()
    shutil.move(root / "mmcif_files", root / "pdb_mmcif" / "mmcif_files")
    shutil.move(root / "obsolete.dat", root / "pdb_mmcif" / "obsolete.dat")
    for name in ("uniref90/uniref90", "small_bfd/bfd-first_non_consensus_sequences", "uniprot/uniprot"):
        path = root / f"{name}.fasta"
        path.parent.mkdir()
        path.write_text(f">sp|P0000{len(name)}|HBD_ECOLI\n{CHAINS['D']}\n")
    (root / "mgnify").mkdir()
    (root / "mgnify" / "mgy_clusters_2022_05.fa").write_text(f">MGYP1\n{CHAINS['D'][10:]}\n")
    (root / "pdb70").mkdir()
    # An entry without a structure is no template.
    records = {f"2GTL_{name}": text for name, text in CHAINS.items()} | {"9ZZZ_A": CHAINS["A"][::-1]}
    named(hhsuite.database(root / "pdb70", "pdb70", records))
    settings = MsaSettings(
        tool="jackhmmer", db_preset="reduced_dbs", db_root=str(root), threads=2, templates="hhsearch"
    )
    with running(tmp_path_factory.mktemp("served"), settings) as server:
        assert server.wait(server.ask("msa", "env", RELATIVE, UBIQUITIN)) == "COMPLETE"
        yield server


def test_colabfolds_client_gets_the_templates_of_the_workflow(serving: Serving, tmp_path: Path) -> None:
    from colabfold.batch import mk_template
    from colabfold.colabfold import run_mmseqs2

    lines, (folder, _) = run_mmseqs2(
        [RELATIVE, UBIQUITIN],
        str(tmp_path / "theirs"),
        use_templates=True,
        host_url=serving.url,
        user_agent="test/1",
    )
    settings = serving.served.msa
    preset = load_preset(settings.db_preset, settings.db_root)
    name = recipes.digest(templates.recipe(settings, preset, recipe(settings, preset, multimer=False)))
    stored = template_files.unpack(
        serving.store.get(Entry("templates", name, sequence_key([RELATIVE]))) or b""
    )
    assert stored.names[0] == "2gtl_D"
    # The hits are the workflow's templates, in its order.
    hits = (tmp_path / "theirs_env" / "pdb70.m8").read_text().splitlines()
    own = [line.split("\t")[1].lower() for line in hits if line.startswith("101\t")]
    assert own == [name.lower() for name in stored.names]
    features = mk_template(lines[0], folder, RELATIVE)
    expected = templates.load(stored.npz or b"")
    assert features["template_domain_names"][0] == expected["template_domain_names"][0]
    np.testing.assert_array_equal(
        features["template_all_atom_positions"][0], expected["template_all_atom_positions"][0]
    )


def test_our_own_client_gets_them(serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("snakefold.msa.server.client.PACE", Pace(look=0.02))
    asked = MsaSettings.model_validate(
        {"tool": "server", "templates": "hhsearch", "server": {"url": serving.url}}
    )
    preset = load_preset("demo")
    msa = server_facts.recipe(asked.server)
    chunk = PlannedChunk(
        chunk="m0001",
        recipe=recipes.digest(msa),
        templates=recipes.digest(templates.recipe(asked, preset, msa)),
        chains=[chain(RELATIVE)],
    )
    store = open_store(tmp_path / "store")
    summary = search_to_store(chunk, asked, store, tmp_path, lambda _: None)
    assert summary["failed"] == {}
    entry = store.get(Entry("templates", chunk.templates or "", sequence_key([RELATIVE])))
    found = template_files.unpack(entry or b"")
    assert found.names[0] == "2gtl_D"
    hits = archive.unpack(store.get(Entry("msa", chunk.recipe, sequence_key([RELATIVE]))) or b"")
    assert hits["raw/pdb70_hits.txt"].decode().split()[0] == "2GTL_D"


@pytest.mark.parametrize("names", ["9ABC_A", "2gtl", "2GTL_A,../x", ",".join(f"{n}ABC_A" for n in range(90))])
def test_what_is_no_entry_is_not_here(names: str, serving: Serving) -> None:
    assert httpx.get(f"{serving.url}/template/{names}").status_code == 404


def test_settings_that_serve_nothing_are_refused() -> None:
    for wrong in ({"tool": "server"}, {"tool": "single_sequence"}, {"templates": "hmmsearch"}):
        with pytest.raises(ValueError, match=r"An MSA server needs one of|Set msa\.templates"):
            ServedMsa(msa=MsaSettings.model_validate(wrong))
