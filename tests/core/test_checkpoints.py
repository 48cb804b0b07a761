"""Where weights are found, that they are the published ones, and the folder that users get."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evenfall.checkpoints import Checkpoint, locate, model_type

WEIGHTS = b"some weights"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


def load(folder: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    return folder, options


TINY = Checkpoint("tiny", "cards/tiny", load, hashes={"model.safetensors": DIGEST})


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of `TINY` in a checkout, and the working directory within it."""
    folder = tmp_path / "checkout" / "cards" / "tiny"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text('{"model_type": "tiny"}')
    (folder / "README.md").write_text("# Tiny")
    (folder / ".hidden").write_text("")
    inside = tmp_path / "checkout" / "docs"
    inside.mkdir()
    monkeypatch.chdir(inside)
    return folder


def test_files_are_found_from_anywhere_in_a_checkout(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TINY.find() == card
    monkeypatch.chdir(card.parents[1])
    assert TINY.find().resolve() == card
    assert TINY.load(device="cpu") == (Path("cards/tiny"), {"device": "cpu"})


def test_files_are_found_elsewhere(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"checkpoint tiny: folder cards/tiny not found in"):
        TINY.find()
    assert TINY.find(card) == card
    assert replace(TINY, folder=card).find() == card
    with pytest.raises(FileNotFoundError, match="folder absent not found"):
        TINY.find("absent")


def test_a_copy_of_the_folders_serves_outside_of_a_checkout(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("cards/tiny") is None
    with pytest.raises(FileNotFoundError, match="set EVENFALL_CHECKPOINTS to a copy"):
        TINY.find()
    monkeypatch.setenv("EVENFALL_CHECKPOINTS", str(card.parent))
    assert TINY.find() == locate("cards/tiny") == card
    assert TINY.load(device="cpu") == (card, {"device": "cpu"})
    with pytest.raises(FileNotFoundError, match="folder absent not found"):
        TINY.find("absent")


def test_it_knows_its_files(card: Path) -> None:
    assert [*TINY.files] == ["README.md", "config.json", "model.safetensors"]
    assert TINY.files["model.safetensors"].read_bytes() == WEIGHTS
    (card / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="not the published file"):
        TINY.files  # noqa: B018


def test_a_folder_can_be_loaded_from_elsewhere(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TINY.load(card, device="cpu") == (card, {"device": "cpu"})


def test_the_hub_s_cache_is_a_place(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached(repository: str, file: str, revision: str | None) -> object:
        return str(card / file) if (repository, revision) == ("us/tiny", "v1") else object()

    hub = SimpleNamespace(try_to_load_from_cache=cached)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.chdir(tmp_path)
    assert locate("cards/tiny", "us/tiny", "v1") == card
    assert locate("cards/tiny", "us/tiny", "v2") is None
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert locate("cards/tiny", "us/tiny", "v1") is None


def test_other_files_than_the_published_are_refused(card: Path) -> None:
    (card / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ValueError, match=rf"not the published file.*want {DIGEST[:12]}"):
        TINY.find()
    (card / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        TINY.find()


def test_publishing_copies_and_completes(card: Path, tmp_path: Path) -> None:
    def complete(folder: Path) -> None:
        (folder / "code.py").write_text((folder / "config.json").read_text())

    output = tmp_path / "out" / "tiny"
    assert replace(TINY, complete=complete).publish(output) == output
    names = {"README.md", "code.py", "config.json", "model.safetensors"}
    assert {path.name for path in output.iterdir()} == names
    assert (output / "model.safetensors").read_bytes() == WEIGHTS
    assert not (card / "code.py").exists()
    with pytest.raises(FileExistsError, match="exists"):
        TINY.publish(output)
    assert (output / "code.py").exists()


def test_publishing_leaves_nothing_where_it_fails(card: Path, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "code.py").write_text("half")
        raise RuntimeError("no code")

    with pytest.raises(RuntimeError, match="no code"):
        replace(TINY, complete=fail).publish(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkout"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("checkpoint-100/", r"it has folders \['checkpoint-100'\].*such as a run's best/"),
        ("optimizer.pt", r"it has pickles \['optimizer.pt'\]"),
        ("-config.json", r"it has no config.json"),
        ("-model.safetensors", r"it has no .safetensors file"),
    ],
)
def test_what_is_no_checkpoint_is_not_published(
    card: Path, tmp_path: Path, name: str, words: str
) -> None:
    if name.startswith("-"):
        (card / name[1:]).unlink()
    elif name.endswith("/"):
        (card / name).mkdir()
    else:
        (card / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"folder .* cannot be published: {words}"):
        replace(TINY, hashes={}).publish(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_model_type(card: Path) -> None:
    assert model_type(card) == "tiny"
    for text, words in (
        ("{", r"config\.json cannot be read: Expecting"),
        ("[]", "it must be a JSON object, got list"),
        ('{"model_type": 3}', "must contain a model_type, got 3"),
    ):
        (card / "config.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            model_type(card)
    (card / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config.json, so it is not a checkpoint"):
        model_type(card)
