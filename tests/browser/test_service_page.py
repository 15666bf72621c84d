"""The page of `snakefold serve` in Chromium: from the form to the report by keyboard, and axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snakefold.service.users import Quota
from tests.browser.conftest import PATIENCE, eventually
from tests.service.served_sets import Served, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: An antibody (7CTH's chains): real parameters, in seconds.
HEAVY = (
    "QVQLVQSGAEVKKPGASVKVSCKASGYTFTSYWMHWVRQAPGQGLEWMGRIDPNSGSTKYNEKFKSRVTMTRDTSISTAYMELSRLRSDDTAVYYCARDYYGSS"
    "YFDYWGQGTTVTVSS"
)
LIGHT = (
    "DIQMTQSPSSLSASVGDRVTITCRASQGISSALAWYQQKPGKAPKLLIYDASSLESGVPSRFSGSGSGTDFTLTISSLQPEDFATYYCQQFNSYPLTFGGGTK"
    "VEIK"
)
FASTA = f">first antibody\n{HEAVY}:{LIGHT}\n>with a digit\nMKT4\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    workers = {"jobs": 0, "runs": 1, "quotes": 1, "searches": 0}
    users = {"ada": Quota(), "bob": Quota()}
    with serving(tmp_path_factory.mktemp("page"), users, workers=workers) as service:
        yield service


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    """A page; `page.errors` has what its console said, `page.asked` the addresses that it asked for."""
    # axe-core is put into the page, which its policy would not allow.
    context = chromium.new_context(color_scheme=request.param, bypass_csp=True)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.errors, page.asked = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda asked: page.asked.append(asked.url))
    yield page
    context.close()


def accessible(page: Any) -> None:
    """Nothing of what axe-core finds wrong."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not found, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


def press(page: Any, name: str, role: str = "button") -> None:
    """Go to what has this name with the keyboard alone, and press it."""
    wanted = page.get_by_role(role, name=name, exact=True)
    wanted.wait_for()
    for _ in range(60):
        if wanted.evaluate("each => each === document.activeElement"):
            page.keyboard.press("Enter")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no way by keyboard to {name}")


def enter(page: Any, label: str, text: str) -> None:
    """Fill in a field that has this label."""
    field = page.get_by_label(label, exact=True)
    field.focus()
    page.keyboard.insert_text(text)


def test_from_the_form_to_the_report(served: Served, page: Any) -> None:
    page.goto(f"{served.address}/ui/")
    enter(page, "Token", "sf_wrong")
    press(page, "Sign in")
    eventually(lambda: page.get_by_role("alert").inner_text(), "This token is not known here.")
    accessible(page)
    page.get_by_label("Token", exact=True).fill(served.tokens["ada"])
    press(page, "Sign in")

    page.get_by_role("heading", name="New set").wait_for()
    press(page, "Get a quote")
    eventually(lambda: page.locator("form .fault").inner_text(), "Choose files, or paste sequences.")
    enter(page, "Or paste sequences", FASTA)
    enter(page, "Name of the set", "Antibodies <b>of</b> today")
    page.get_by_label("Engine", exact=True).locator("option[value=flashabb]").wait_for(state="attached")
    page.get_by_label("Engine", exact=True).select_option("flashabb")
    accessible(page)
    press(page, "Get a quote")

    state = page.locator(".lead .tag")
    eventually(state.inner_text, "waits for your consent")
    assert page.locator("h1").inner_text() == "Antibodies <b>of</b> today"
    assert "record 2, line 4" in page.locator(".records").inner_text()
    accessible(page)
    press(page, "Start")
    eventually(state.inner_text, "complete")
    accessible(page)
    assert not page.errors

    press(page, "Report", role="link")
    page.wait_for_selector("body[data-ready]")
    assert page.locator("[data-summary=folded]").inner_text() == "1"
    page.locator("a.name").first.click()
    page.wait_for_selector("#target[data-state=ready] .viewer[data-state=ready]")
    assert all(url.startswith((served.address, "data:", "blob:")) for url in page.asked)
    assert not page.errors


def test_a_run_is_its_users(served: Served, chromium: Any) -> None:
    with served.client("ada") as ada:
        name = ada.get("/api/runs").json()["runs"][0]["id"]
    context = chromium.new_context()
    context.add_cookies([{"name": "snakefold_token", "value": served.tokens["bob"], "url": served.address}])
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{served.address}/ui/#/runs/{name}")
    page.get_by_role("heading", name="There is no such run").wait_for()
    page.goto(f"{served.address}/ui/")
    page.get_by_text("No runs yet.").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token", exact=True).wait_for()
    assert context.cookies() == []
    context.close()


def test_files_are_chosen_and_a_plan_that_is_refused_says_why(
    served: Served, chromium: Any, tmp_path: Path
) -> None:
    file = tmp_path / "broken.fasta"
    file.write_text("no header\nMKT\n")
    context = chromium.new_context()
    context.add_cookies([{"name": "snakefold_token", "value": served.tokens["bob"], "url": served.address}])
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{served.address}/ui/")
    page.get_by_label("Files", exact=True).set_input_files(file)
    page.get_by_role("button", name="Remove broken.fasta").wait_for()
    page.get_by_role("button", name="Get a quote").click()
    eventually(lambda: page.locator(".lead .tag").inner_text(), "refused")
    assert "broken.fasta" in page.locator(".fault").first.inner_text()
    context.close()
