"""`evenfall checkpoints`: the list, and folders to publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evenfall.cli.app import app
from evenfall.cli.checkpoint_names import checkpoint_of

PLUGIN = """
    @hookimpl
    def evenfall_register_checkpoints(register):
        register(
            "tiny-words", "site_weights:TINY", folder="cards/tiny-words", summary="words",
            model_types=["tiny", "tinier"],
        )
        register("old", "site_weights:Model", summary="a model class")
"""

KINDS = """
    @hookimpl
    def evenfall_register_checkpoints(register):
        for name in ("A", "B"):
            register(
                f"tiny-{name.lower()}", f"site_models:{name}", model_types=["tiny"],
                architectures=[f"Tiny{name}"],
            )
"""

MODULE = """
from evenfall.checkpoints import Checkpoint

class Model:
    pass

def complete(folder):
    (folder / "code.py").write_text("code")

TINY = Checkpoint(
    "tiny-words", "cards/tiny-words", print, complete, hashes={"model.safetensors": "0" * 64}
)
"""


@pytest.fixture
def tiny(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plugin's checkpoint and one of a user, which is the working directory."""
    world.install("tiny", PLUGIN)
    world.write_module("site_weights", MODULE)
    for name, kind in (("cards/tiny-words", "tiny"), ("mine", "tinier"), ("alien", "bert")):
        folder = tmp_path / "work" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        (folder / "model.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["checkpoints", *arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_both_spellings_list_the_same(tiny: Path) -> None:
    assert "tiny-words" in run()
    assert "a model class" in run()
    assert run() == run("list")
    assert run("--json") == run("list", "--json")
    assert [row["name"] for row in json.loads(run("--json"))] == ["old", "tiny-words"]
    assert "--json must come after 'list'" in run("--json", "list", code=2)


def test_help_names_both_commands(tiny: Path) -> None:
    assert "list" in run("--help")
    assert "publish" in run("--help")


def test_a_folder_of_ones_own_is_published_as_its_kind_is(tiny: Path) -> None:
    assert run("publish", "mine", "out/mine") == "ready to upload: out/mine"
    names = sorted(path.name for path in (tiny / "out" / "mine").iterdir())
    assert names == ["code.py", "config.json", "model.safetensors"]
    assert "exists" in run("publish", "mine", "out/mine", code=1)
    assert run("publish", "mine", "[a] [/b]") == "ready to upload: [a] [/b]"
    words = run("publish", "mine", "other", "--folder", "cards/tiny-words", code=1)
    assert "--folder is for registered checkpoints, and mine is a folder" in words
    assert not (tiny / "other").exists()


def test_of_several_kinds_of_one_model_type_the_class_decides(world: Any, tmp_path: Path) -> None:
    world.install("kinds", KINDS)
    world.write_module(
        "site_models",
        "from evenfall.checkpoints import Checkpoint\n"
        "A, B = (Checkpoint(n, n, print, trainer=n) for n in ('tiny-a', 'tiny-b'))\n",
    )
    for classes, trainer in ((["TinyB"], "tiny-b"), (["TinyA"], "tiny-a"), (None, "tiny-a")):
        config = {"model_type": "tiny", "architectures": classes}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert checkpoint_of(str(tmp_path)).trainer == trainer


def test_a_registered_one_must_be_what_was_registered(tiny: Path) -> None:
    words = run("publish", "tiny-words", "out", code=1)
    assert "cards/tiny-words/model.safetensors is not the published file" in words
    assert run("publish", "cards/tiny-words", "out") == "ready to upload: out"
    words = run("publish", "tiny-words", "other", "--folder", "absent", code=1)
    assert "checkpoint tiny-words: folder absent not found" in words
    assert not (tiny / "other").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny-word", "Closest: 'tiny-words'. There is no folder of that name either."),
        ("alien", "publishes model_type 'bert'; known are ['tinier', 'tiny']"),
        ("cards", "folder cards has no config.json, so it is not a checkpoint"),
        ("old", "'site_weights:Model' is a type, want an evenfall.checkpoints.Checkpoint"),
    ],
)
def test_what_cannot_be_published_is_one_line(tiny: Path, name: str, words: str) -> None:
    found = run("publish", name, "out", code=1)
    assert found.startswith("Error: ")
    assert words in found
    assert not (tiny / "out").exists()


def test_the_list_says_where_each_is(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    places = {row["name"]: row["where"] for row in json.loads(run("--json"))}
    assert places == {"tiny-words": str(tiny / "cards" / "tiny-words"), "old": None}
    assert str(tiny / "cards") in run().replace(" ", "")  # the column may be narrow
    monkeypatch.chdir(tmp_path)
    assert "not here" in run()
    monkeypatch.setenv("EVENFALL_CHECKPOINTS", str(tiny / "cards"))
    assert str(tiny / "cards" / "tiny-words") in run().replace(" ", "")


def test_the_list_imports_no_plugin_that_states_the_folder(tiny: Path, world: Any) -> None:
    world.write_module("site_weights", "raise RuntimeError('imported')")
    assert str(tiny / "cards" / "tiny-words") in run().replace(" ", "")


def test_one_checkpoint_is_shown_with_its_files(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    shown = json.loads(run("show", "tiny-words", "--json", code=1))
    assert shown["folder"] == str(tiny / "cards" / "tiny-words")
    assert shown["hub_id"] is None
    assert shown["files"] == {
        "config.json": {"bytes": 22, "sha256": None, "state": "has no published hash"},
        "model.safetensors": {
            "bytes": 0, "sha256": "0" * 64, "state": "differs from the published file",
        },
    }  # fmt: skip
    (tiny / "cards" / "tiny-words" / "model.safetensors").unlink()
    assert "0 bytes, missing" in run("show", "tiny-words", code=1)
    assert "24 bytes" in run("show", "mine")
    assert "is a type, want an evenfall" in run("show", "old", code=1)
    monkeypatch.chdir(tmp_path)
    assert "folder │ none" in run("show", "tiny-words", code=1)
