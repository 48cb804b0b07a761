"""Send a folder to the Hub in one commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evenfall.errors import HubError, shorten
from evenfall.reading import read_json

from .cards import card_text
from .checking import CONFIG, find_problems, published_files
from .digests import digest_of
from .failures import explained
from .folders import CARD

Change = Literal["new", "changed", "same"]


@dataclass(frozen=True)
class PushPlan:
    """What a push sends.

    Attributes:
        repo_id: the repository, `user/name`.
        parent: the commit that the push is made on; None if the repository does not exist.
        changes: file name -> whether the repository has it: "new", "changed" or "same".
        sizes: file name -> bytes.
        others: files of the repository that the folder lacks; they stay unless they are deleted.
    """

    repo_id: str
    parent: str | None
    changes: dict[str, Change]
    sizes: dict[str, int]
    others: list[str]


def plan_push(
    folder: str | Path,
    repo_id: str,
    *,
    revision: str | None = None,
    make_card: Callable[[dict[str, Any]], object] | None = None,
    token: str | None = None,
) -> PushPlan:
    """Compare a folder with a repository. Nothing is sent.

    Args:
        folder: the folder of one checkpoint.
        repo_id: the repository, `user/name`.
        revision: its branch; None for main.
        make_card: as for `checking.find_problems`.
        token: the user's token; None for the one that is logged in.

    Raises:
        ValueError: the folder cannot be published, or its card and results differ.
        HubError: the Hub refuses or cannot be reached.
    """
    return _plan(_contents(folder, make_card), repo_id, revision, token)


def _plan(
    contents: dict[str, Path | bytes], repo_id: str, revision: str | None, token: str | None
) -> PushPlan:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(token=token)
    with explained(f"reading {repo_id}"):
        try:
            parent = str(api.model_info(repo_id, revision=revision).sha)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            parent, there = None, {}
        else:
            there = {
                entry.path: _digest_there(entry)
                for entry in api.list_repo_tree(repo_id, revision=parent, recursive=True)
                if hasattr(entry, "blob_id")
            }
    changes: dict[str, Change] = {
        name: _change(content, there.get(name)) for name, content in contents.items()
    }
    sizes = {
        name: len(content) if isinstance(content, bytes) else content.stat().st_size
        for name, content in contents.items()
    }
    others = sorted(set(there) - set(changes) - {".gitattributes"})
    return PushPlan(repo_id, parent, changes, sizes, others)


def push(
    folder: str | Path,
    repo_id: str,
    *,
    revision: str | None = None,
    message: str | None = None,
    private: bool | None = None,
    delete: bool = False,
    make_card: Callable[[dict[str, Any]], object] | None = None,
    token: str | None = None,
) -> str:
    """Send the files of a folder to the Hub in one commit, and return the commit's URL.

    Large files are sent first and do not appear in the repository until the commit is made, so a
    push that breaks off publishes nothing. Those that have arrived are not sent again by the next
    push.

    Args:
        folder: the folder of one checkpoint. If it has no card, one with its library and license
            is sent.
        repo_id: the repository, `user/name`; it is created if it does not exist.
        revision: the branch; it is created if it does not exist. None for main.
        message: the commit's message; None for "Publish" and the folder's name.
        private: whether a new repository is private; None for the account's default.
        delete: whether files of the repository that the folder lacks are deleted in the commit.
        make_card: as for `checking.find_problems`.
        token: the user's token; None for the one that is logged in.

    Raises:
        ValueError: the folder cannot be published, or its card and results differ.
        HubError: no token, no write access, the repository changed during the push, or the
            connection broke. Nothing is published then.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    contents = _contents(folder, make_card)
    api = HfApi(token=token)
    with explained(f"pushing to {repo_id}"):
        api.whoami()
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
    plan = _plan(contents, repo_id, revision, token)
    operations: list[Any] = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=contents[name])
        for name, change in plan.changes.items()
        if change != "same"
    ]
    if delete:
        operations += [CommitOperationDelete(path_in_repo=name) for name in plan.others]
    if not operations:
        return f"{api.endpoint}/{repo_id}/commit/{plan.parent}"
    with explained(f"pushing to {repo_id}"):
        try:
            commit = api.create_commit(
                repo_id,
                operations,
                commit_message=message or f"Publish {Path(folder).resolve().name}",
                revision=revision,
                parent_commit=plan.parent,
            )
        except ValueError as error:
            if "Invalid metadata" not in str(error):
                raise
            raise HubError(
                f"pushing to {repo_id} failed: the Hub refuses the metadata of {CARD}: "
                f"{shorten(str(error))}"
            ) from error
    return str(commit.commit_url)


def _change(content: Path | bytes, there: tuple[str, str] | None) -> Change:
    if there is None:
        return "new"
    algorithm, digest = there
    return "same" if digest_of(content, algorithm) == digest else "changed"


def small_card(folder: str | Path) -> str:
    """The card of a folder that has none: the library, the license and the kind of model.

    Raises:
        ValueError: config.json cannot be read.
    """
    config = read_json(Path(folder) / CONFIG)
    if "architecture" in config:
        library = "timm"
    elif "architectures" in config:
        library = "transformers"
    else:
        library = "evenfall"
    kind = config.get("model_type", config.get("architecture"))
    lines = ["license: apache-2.0", f"library_name: {library}"]
    if isinstance(kind, str):
        lines += ["tags:", f"- {kind}"]
    return card_text("\n".join(lines), f"# {Path(folder).resolve().name}\n")


def _contents(
    folder: str | Path, make_card: Callable[[dict[str, Any]], object] | None
) -> dict[str, Path | bytes]:
    """File name -> the file, or the bytes of a card that the folder lacks.

    Raises:
        ValueError: the folder cannot be published, or its card and results differ.
    """
    problems = find_problems(folder, make_card)
    if problems:
        raise ValueError(problems[0])
    contents: dict[str, Path | bytes] = {file.name: file for file in published_files(folder)}
    if CARD not in contents:
        contents[CARD] = small_card(folder).encode()
    return contents


def _digest_there(entry: Any) -> tuple[str, str]:
    """The algorithm and the digest by which the Hub knows a file."""
    if entry.lfs is not None:
        return "sha256", entry.lfs.sha256
    return "git", entry.blob_id
