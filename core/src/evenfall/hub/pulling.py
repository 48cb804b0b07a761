"""Fetch a checkpoint from the Hub, and compare every file with what the Hub has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .checking import PICKLES
from .digests import digest_of
from .failures import explained


@dataclass(frozen=True)
class Pulled:
    """A checkpoint in the cache.

    Attributes:
        folder: where its files are.
        commit: the commit that they are of.
        files: their names.
        left_out: names of pickles in the repository; they are not fetched.
    """

    folder: Path
    commit: str
    files: list[str]
    left_out: list[str]


def pull(
    repo_id: str,
    *,
    revision: str | None = None,
    cache: str | Path | None = None,
    token: str | None = None,
) -> Pulled:
    """Fetch a repository into the cache and check the digest of each file.

    A branch or tag is resolved once, so that all files are of one commit. Pickles are left out.

    Args:
        repo_id: the repository, `user/name`.
        revision: a branch, tag or commit; None for main.
        cache: the folder of the cache; None for huggingface_hub's.
        token: the user's token; None for the one that is logged in.

    Raises:
        HubError: there is no such repository or revision, or the Hub cannot be reached.
        ValueError: a file differs from the Hub's.
    """
    from huggingface_hub import HfApi, snapshot_download

    with explained(f"pulling {repo_id}"):
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                cache_dir=cache,
                token=token,
                ignore_patterns=[f"*{ending}" for ending in PICKLES],
            )
        )
        commit = folder.name  # as the cache names it; the branch may have moved since
        info = HfApi(token=token).model_info(repo_id, revision=commit, files_metadata=True)
    files, left_out = [], []
    for sibling in info.siblings or []:
        name = sibling.rfilename
        if name.endswith(PICKLES):
            left_out.append(name)
            continue
        algorithm, want = (
            ("sha256", sibling.lfs.sha256) if sibling.lfs else ("git", sibling.blob_id)
        )
        got = digest_of(folder / name, algorithm)
        if got != want:
            raise ValueError(
                f"file {folder / name} is not that of {repo_id}: its digest is {got[:12]}..., want "
                f"{want[:12]}...; remove it and the file it links to, then pull again"
            )
        files.append(name)
    return Pulled(folder, commit, files, left_out)
