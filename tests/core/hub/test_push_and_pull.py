"""`evenfall checkpoints push` and `pull` through the real huggingface_hub, against a Hub on this
machine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evenfall.checkpoints import Checkpoint
from evenfall.errors import HubError
from evenfall.testing.hub.server import Hub

FILES = {"README.md", "config.json", "model.safetensors", "results.json"}


def files(hub: Hub, repo: str = "ann/words", revision: str = "main") -> dict[str, bytes]:
    repository = hub.store.repositories[repo]
    commit = repository.commits[repository.names[revision]]
    return {path: blob.content for path, blob in commit.items()}


def test_a_push_is_one_commit_and_a_pull_gets_its_bytes(hub: Hub, shell: Any, folder: Path) -> None:
    said = shell("push", folder, "ann/words")
    repository = hub.store.repositories["ann/words"]
    assert f"published: {hub.url}/ann/words/commit/{repository.names['main']}" in said
    assert repository.messages == ["initial commit", "Publish words"]
    assert files(hub) == {name: (folder / name).read_bytes() for name in FILES}

    place = Path(shell("pull", "ann/words").rpartition(" ")[2])
    assert {path.name: path.read_bytes() for path in place.iterdir()} == files(hub)


def test_another_process_finds_the_hub_by_its_address(hub: Hub, shell: Any, folder: Path) -> None:
    push = [sys.executable, "-m", "evenfall", "checkpoints", "push", str(folder), "ann/words"]
    done = subprocess.run(push, capture_output=True, text=True, env=shell.environment())
    assert done.returncode == 0, done.stderr
    assert set(files(hub)) == FILES


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(
    hub: Hub, shell: Any, folder: Path
) -> None:
    said = shell("push", folder, "ann/words", "--dry-run")
    assert "ann/words does not exist yet; nothing is sent" in said
    assert "config.json new 55 bytes" in said
    assert not hub.store.repositories
    shell("push", folder, "ann/words", "--message", "first")
    (folder / "config.json").write_text('{"model_type": "other-thing"}')
    (folder / "results.json").unlink()
    said = shell("push", folder, "ann/words", "--dry-run")
    assert "config.json changed 29 bytes" in said
    assert "model.safetensors same" in said
    assert "results.json stays" in said
    assert hub.store.repositories["ann/words"].messages == ["initial commit", "first"]


def test_only_what_changed_is_sent_and_other_files_stay_unless_deleted(
    hub: Hub, shell: Any, folder: Path
) -> None:
    shell("push", folder, "ann/words")
    (folder / "results.json").unlink()
    before = len(hub.requests)
    shell("push", folder, "ann/words")
    assert not any("commit/" in request for request in hub.requests[before:])
    assert set(files(hub)) == FILES
    shell("push", folder, "ann/words", "--delete")
    assert set(files(hub)) == FILES - {"results.json"}


def test_a_branch_is_created_and_pulled_by_name_and_by_commit(
    hub: Hub, shell: Any, folder: Path
) -> None:
    shell("push", folder, "ann/words")
    (folder / "config.json").write_text('{"model_type": "second-thing"}')
    shell("push", folder, "ann/words", "--revision", "v2", "--private")
    names = hub.store.repositories["ann/words"].names
    assert names["v2"] != names["main"]
    for revision in ("v2", names["v2"]):
        place = Path(shell("pull", "ann/words", "--revision", revision).rpartition(" ")[2])
        assert "second" in (place / "config.json").read_text()


def test_a_folder_without_a_card_gets_a_small_one(hub: Hub, shell: Any, folder: Path) -> None:
    (folder / "README.md").unlink()
    shell("push", folder, "ann/words")
    assert files(hub)["README.md"].decode() == (
        "---\nlicense: apache-2.0\nlibrary_name: transformers\ntags:\n- tiny-thing\n---\n\n"
        "# words\n"
    )
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "there is no token; run `hf auth login`"),
        ("hf_wrong", "the Hub does not accept the token"),
        ("hf_reader", "the token may not do this; use one with write access"),
    ],
)
def test_a_push_without_the_right_token_creates_nothing(
    hub: Hub, shell: Any, folder: Path, token: str, message: str
) -> None:
    said = shell("push", folder, "ann/words", token=token, code=1)
    assert "Error: pushing to ann/words failed: " + message in said
    assert not hub.store.repositories


def test_nobody_pushes_to_the_repository_of_another_user(
    hub: Hub, shell: Any, folder: Path
) -> None:
    said = shell("push", folder, "bob/words", code=1)
    assert "pushing to bob/words failed: the token may not do this" in said


@pytest.mark.parametrize("where", ["PUT", "commit/"])
def test_a_connection_that_breaks_publishes_nothing_and_a_second_push_goes_on(
    hub: Hub, shell: Any, folder: Path, where: str
) -> None:
    hub.fault = lambda method, path: "cut" if where in f"{method} {path}" else None
    said = shell("push", folder, "ann/words", code=1)
    assert "pushing to ann/words failed: the connection broke" in said
    assert files(hub) == {}
    arrived = len(hub.store.objects)
    assert arrived == (where == "commit/")

    hub.fault, before = None, len(hub.requests)
    shell("push", folder, "ann/words")
    assert set(files(hub)) == FILES
    sent = [request for request in hub.requests[before:] if request.startswith("PUT")]
    assert len(sent) == 1 - arrived


def test_a_file_that_arrives_in_part_is_not_published(
    hub: Hub, shell: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = hub.store.receive
    monkeypatch.setattr(hub.store, "receive", lambda digest, data: receive(digest, data[:-1]))
    said = shell("push", folder, "ann/words", code=1)
    assert "the Hub answers with status 400 (the Hub: The uploaded object" in said
    assert files(hub) == {}
    assert not hub.store.objects


def test_the_second_of_two_pushes_at_once_is_refused(hub: Hub, shell: Any, folder: Path) -> None:
    shell("push", folder, "ann/words")
    (folder / "config.json").write_text('{"model_type": "ours"}')

    def another(method: str, path: str) -> None:
        if "preupload" in path:
            repository = hub.store.repositories["ann/words"]
            repository.add(dict(repository.commits[repository.names["main"]]), "theirs", "main")

    hub.fault = another
    said = shell("push", folder, "ann/words", code=1)
    assert "the repository changed meanwhile; look at the other change, then try again" in said
    assert hub.store.repositories["ann/words"].messages[-1] == "theirs"
    assert b"ours" not in files(hub)["config.json"]


def test_metadata_that_the_hub_refuses_is_named(hub: Hub, shell: Any, folder: Path) -> None:
    hub.fault = lambda method, path: 500 if path == "/api/validate-yaml" else None
    said = shell("push", folder, "ann/words", code=1)
    assert "the Hub answers with status 500" in said
    assert files(hub) == {}


def test_a_pull_of_nothing_says_so(hub: Hub, shell: Any, folder: Path) -> None:
    missing = "the Hub has no such repository, revision or file, or the token may not read it"
    assert f"pulling ann/none failed: {missing}" in shell("pull", "ann/none", code=1)
    shell("push", folder, "ann/words")
    assert f"pulling ann/words failed: {missing}" in shell(
        "pull", "ann/words", "--revision", "v9", code=1
    )
    assert "pulling a/b/c failed: " in shell("pull", "a/b/c", code=1)


def test_a_private_repository_is_read_by_its_owner_alone(
    hub: Hub, shell: Any, folder: Path
) -> None:
    shell("push", folder, "ann/words", "--private")
    assert "the token may not read it" in shell("pull", "ann/words", token="", code=1)
    assert "4 files" in shell("pull", "ann/words", token="hf_reader")


def test_pickles_are_not_pulled(hub: Hub, shell: Any, folder: Path) -> None:
    shell("push", folder, "ann/words")
    repository = hub.store.repositories["ann/words"]
    commit = repository.commits[repository.names["main"]]
    commit["pytorch_model.bin"] = commit["config.json"]
    said = shell("pull", "ann/words")
    assert "not fetched, since they are pickles: pytorch_model.bin" in said
    assert not (Path(said.rpartition(" ")[2]) / "pytorch_model.bin").exists()


def test_a_file_that_changed_in_the_cache_is_named(hub: Hub, shell: Any, folder: Path) -> None:
    shell("push", folder, "ann/words")
    place = Path(shell("pull", "ann/words").rpartition(" ")[2])
    (place / "config.json").resolve().write_text("{}")
    said = shell("pull", "ann/words", code=1)
    assert "config.json is not that of ann/words: its digest is" in said


def test_a_pull_breaks_off_and_goes_on(hub: Hub, shell: Any, folder: Path) -> None:
    shell("push", folder, "ann/words")
    hub.fault = lambda method, path: "cut" if path.endswith("model.safetensors") else None
    assert "Error: pulling ann/words failed" in shell("pull", "ann/words", code=1)
    hub.fault = None
    assert "4 files" in shell("pull", "ann/words")


def test_a_folder_that_cannot_be_published_is_not_sent(hub: Hub, shell: Any, folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"")
    said = shell("push", folder, "ann/words", code=1)
    assert "cannot be published: it has pickles ['optimizer.pt']" in said
    assert not hub.requests


def test_a_checkpoint_that_is_in_no_folder_is_pulled(
    hub: Hub, shell: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("push", folder, "ann/words")
    monkeypatch.chdir(tmp_path)
    there = Checkpoint("words", "cards/words", lambda found: found, hub_id="ann/words")
    with pytest.raises(FileNotFoundError, match="folder cards/words not found"):
        replace(there, hub_id=None).load()
    place = there.load()
    assert {path.name for path in place.iterdir()} == FILES
    wrong = replace(there, hashes={"config.json": "0" * 64})
    with pytest.raises(ValueError, match="not the published file"):
        wrong.load()
    hub.fault = lambda method, path: 403  # the Hub says nothing any more
    assert there.load() == place
    with pytest.raises(HubError, match="pulling ann/none failed"):
        replace(there, hub_id="ann/none").load()
