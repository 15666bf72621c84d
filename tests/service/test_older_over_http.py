"""Programs older than this package over `snakefold serve`: POST /run, which answers with the result.

The tests are those of the jobs API, with another client.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.served import Served, compiled, environment_of, new_environment, parameters, serving
from tests.worker.test_older_programs import (
    DATABASE,
    FINAL,
    UBIQUITIN,
    Program,
    design,
    designing,
    fold,
    search,
    test_a_search_gives_a_text_and_an_a3m,
    test_a_sequence_is_one_archive,
    test_clusters_have_the_callers_names,
    test_designs_are_native_and_samples,
)

__all__ = [  # fixtures, and tests that run here too
    "compiled",
    "designing",
    "environment_of",
    "new_environment",
    "parameters",
    "test_a_search_gives_a_text_and_an_a3m",
    "test_a_sequence_is_one_archive",
    "test_clusters_have_the_callers_names",
    "test_designs_are_native_and_samples",
]
pytestmark = pytest.mark.slow


class HttpProgram(Program):
    """As the client of those programs that knows no queue: it reads the keys named here, and no others."""

    served: Served

    def __init__(self, served: Served) -> None:
        self.served, self.folder = served, served.folder

    def job(self, **payload: Any) -> dict[str, Any]:
        try:
            answer = self.post("run", {"input": payload})
        except urllib.error.HTTPError as error:
            with error:
                body = json.load(error)
            said = next(
                text
                for key in ("error", "detail", "message")
                if isinstance(text := body.get(key), str) and text
            )
            return {"status": "FAILED", "error": said}
        assert not answer.get("error")
        assert answer["status"] in FINAL and isinstance(answer["job_id"], str)
        return answer

    def log(self) -> str:
        """What the worker printed for jobs of the service."""
        return "\n".join(line.get("message", "") for line in self.served.lines() if line.get("record"))

    def post(self, path: str, body: Any) -> dict[str, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.served.url}/{path}", data, headers)  # noqa: S310 (loopback)
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, environment_of: Callable[[Path], dict[str, str]]
) -> Iterator[HttpProgram]:
    folder = tmp_path_factory.mktemp("older-http")
    with serving(folder, environment_of(folder)) as served:
        made = HttpProgram(served)
        built = made.output(
            task="build", target_db="uniref90", target_fasta=DATABASE, threads=2, use_gpu=False
        )
        assert built["built"] is True
        yield made


def test_an_error_is_a_text_under_a_key_that_programs_read(program: HttpProgram) -> None:
    for given, says in (
        (search(target_db="uniref30"), "uniref30: no such MMseqs2 database"),
        (search(return_a3m=True, a3m_format_mode=1), "a3m_format_mode: 1 is ca3m"),
        (design(pdb_path_chains="Q"), "no protein chain 'Q'"),
        (
            {"sequence": UBIQUITIN, "alphafold_extra_flags": "--num_recycles=3"},
            "--num_recycles is not allowed",
        ),
        ({"task": "wait", "job_id": "../../etc/passwd"}, "no job of this id"),
    ):
        job = program.job(**given)
        assert job["status"] == "FAILED" and says in job["error"], job
    for body in (b"{", b"[]", b"1", b""):
        with pytest.raises(urllib.error.HTTPError) as caught:
            program.post("run", body)
        with caught.value as error:
            assert error.code == 400 and "JSON" in json.load(error)["detail"]


def test_a_job_is_asked_for_again_by_its_id(program: HttpProgram) -> None:
    job = program.job(**search())
    assert program.job(task="wait", job_id=job["job_id"])["output"] == job["output"]


def test_sequences_alone_are_answered_by_id(program: HttpProgram) -> None:
    """The form of an AlphaFold2 service: no `input` around it, and targets by id in the answer."""
    sequences = [{"id": "target", "sequence": UBIQUITIN[:30]}]
    answer = program.post("run", {"preset": "monomer_ptm", **fold(), "sequences": sequences})
    for found in (answer["target"], answer["results"]["target"]):
        assert found["ranked_0_pdb"].count("REHEARSAL") and "\nATOM " in found["ranked_0_pdb"]
        assert 0 < found["best_plddt"] <= 100
        assert found["ranking_debug"]["plddts"][found["ranking_debug"]["order"][0]] == found["best_plddt"]
