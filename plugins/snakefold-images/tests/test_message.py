"""The message: what senders send is taken, and what is wrong is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from snakefold_images import choices
from snakefold_images.errors import ChoicesError, MessageError
from snakefold_images.message import read_message

#: As the program sends it whose worker this is.
SENT: dict[str, Any] = {
    "job_id": "job_123",
    "user_id": "u_abc",
    "preset": "interior",
    "concepts": {
        "Floor": {"action": "recolor", "value": "oak_a"},
        "Wall": {"action": "recolor", "value": "offwhite_b"},
    },
    "protect": ["Grout", "Frame_Molding"],
    "items": [
        {
            "idx": 0,
            "input_key": "inputs/u_abc/job_123/0.jpg",
            "output_key": "outputs/u_abc/job_123/0_result.png",
            "preview_key": "previews/u_abc/job_123/0_thumb.jpg",
        }
    ],
    "callback_url": "https://workers.example/jobs/job_123/callback",
    "idempotency_prefix": "job_123",
    "batch_concurrency": 4,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    given = copy.deepcopy(SENT)
    *steps, last = path.split(".")
    place: Any = given
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return given


def test_what_is_sent_is_taken() -> None:
    message = read_message(json.dumps(SENT))
    assert list(message.concepts) == ["Floor", "Wall"]
    assert message.protected() == ("Grout", "Frame_Molding")
    assert message.idempotency_key(message.items[0]) == "job_123:0"


def test_the_readmes_message_is_one() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    message = read_message(text.split("```json\n")[1].split("```")[0])
    assert [change.action for change in message.concepts.values()] == ["recolor", "tone", "texture", "remove"]


def test_every_action_is_taken() -> None:
    given = changed(
        "concepts",
        {
            "Floor": {"action": "texture", "value": "tiles/oak.jpg"},
            "Countertop": {"action": "texture", "value": {"image": "tiles/marble.jpg", "width": 200}},
            "Wall": {"action": "tone", "value": "warmer"},
            "Ceiling": {"action": "tone", "value": {"lightness": 5, "contrast": 1.1}},
            "Light": {"action": "remove"},
            "Handle": {"action": "remove", "value": None},
            "Door": {"action": "recolor", "value": "#fff"},
            "Window": {"action": "recolor", "value": "RebeccaPurple"},
        },
    )
    message = read_message(given)
    assert message.concepts["Wall"].value == choices.palette().tones["warmer"]


def test_without_protect_it_is_the_presets_but_for_what_is_edited() -> None:
    given = changed("concepts.Grout", {"action": "recolor", "value": "white"})
    del given["protect"]
    assert read_message(given).protected() == ("Frame_Molding", "Glass_highlight")
    assert read_message({**given, "protect": []}).protected() == ()
    assert read_message({**given, "protect": ["Grout"]}).protected() == ("Grout",)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("preset", "exterior", ["preset", "exterior", "interior", "seller"]),
        ("concepts", {}, ["concepts"]),
        ("concepts.Flor", {"action": "remove"}, ["concepts", "'Flor'", "did you mean Floor", "Wall"]),
        ("concepts.Floor.value", "oka_a", ["concepts.Floor.value", "'oka_a'", "oak_a", "walnut"]),
        ("concepts.Floor.value", "#12345", ["concepts.Floor.value", "'#12345'"]),
        ("concepts.Floor.value", 5, ["concepts.Floor.value"]),
        ("concepts.Floor", {"action": "recolor"}, ["concepts.Floor.value", "required"]),
        ("concepts.Floor.action", "paint", ["concepts.Floor", "'paint'", "recolor", "texture"]),
        ("concepts.Floor", {"action": "remove", "value": "oak_a"}, ["concepts.Floor.value"]),
        ("concepts.Floor", {"action": "tone", "value": "wram"}, ["concepts.Floor.value", "'wram'", "warmer"]),
        (
            "concepts.Floor",
            {"action": "tone", "value": {"lightness": 500}},
            ["concepts.Floor.value.lightness", "100"],
        ),
        ("concepts.Floor", {"action": "tone", "value": {"hue": 1}}, ["concepts.Floor.value.hue", "unknown"]),
        ("concepts.Floor", {"action": "texture", "value": "../a.jpg"}, ["concepts.Floor.value.image", ".."]),
        ("protect", ["Groud"], ["protect", "'Groud'", "did you mean Grout"]),
        ("items", [], ["items"]),
        ("items.0.input_key", "/etc/passwd", ["items.0.input_key", "absolute"]),
        ("items.0.output_key", "a/../../b", ["items.0.output_key", ".."]),
        ("items.0.output_key", SENT["items"][0]["input_key"], ["items.0.output_key", "is an input"]),
        (
            "items.0.preview_key",
            SENT["items"][0]["output_key"],
            ["items.0.preview_key", "items.0.output_key"],
        ),
        ("items.0.idx", -1, ["items.0.idx"]),
        ("items.0.index", 1, ["items.0.index", "unknown"]),
        ("protekt", [], ["protekt", "unknown"]),
        ("batch_concurrency", 0, ["batch_concurrency"]),
        ("job_id", "", ["job_id"]),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, told: list[str]) -> None:
    with pytest.raises(MessageError) as caught:
        read_message(changed(path, value))
    for word in told:
        assert word in str(caught.value)


def test_all_wrong_fields_are_named_at_once() -> None:
    given = changed("concepts.Floor.value", "oka_a")
    given["items"][0]["idx"] = "x"
    with pytest.raises(MessageError, match=r"concepts\.Floor\.value.*items\.0\.idx"):
        read_message(given)


@pytest.mark.parametrize("given", ["{", b"\xff", "[1]", "null", 5])
def test_what_is_no_message_is_refused(given: Any) -> None:
    with pytest.raises(MessageError):
        read_message(given)


def test_the_presets_protect_what_the_senders_do() -> None:
    presets = choices.presets()
    assert presets["interior"].protect == ("Grout", "Frame_Molding", "Glass_highlight")
    assert presets["interior"].concepts["Frame_Molding"].prompt == "frame and molding trim"
    assert presets["seller"].protect == ("Label_Text", "Logo", "Gloss")


def test_a_folder_of_ones_own_adds_to_the_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "palette.yaml").write_text('materials: {oak_a: "#010203", pool: aqua}\n')
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "garden.yaml").write_text(
        "threshold: 0.4\nmask_threshold: 0.5\nconcepts: {Lawn: {prompt: lawn}}\n"
    )
    monkeypatch.setenv(choices.FOLDER, str(tmp_path))
    assert choices.palette().colour("oak_a") == (1, 2, 3)
    assert choices.palette().colour("pool") == (0, 255, 255)
    assert choices.palette().colour("walnut") == (95, 67, 48)
    given = {**SENT, "preset": "garden", "protect": [], "concepts": {"Lawn": {"action": "remove"}}}
    assert read_message(given).chosen_preset().threshold == 0.4


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("palette.yaml", "materials: {a: blau}", "blau"),
        ("palette.yaml", "materials: [", "not YAML"),
        ("presets/a.yaml", "concepts: {A: {prompt: a}}", "threshold"),
        (
            "presets/a.yaml",
            "{threshold: 0.5, mask_threshold: 0.5, concepts: {A: {prompt: a}}, protect: [B]}",
            "'B'",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, told: str
) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / name).write_text(text)
    monkeypatch.setenv(choices.FOLDER, str(tmp_path))
    with pytest.raises(ChoicesError, match=told) as caught:
        choices.presets() if name.startswith("presets") else choices.palette()
    assert str(tmp_path / name) in str(caught.value)
