"""Repositories in memory: commits, branches, and the LFS objects that they name."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any


class Refusal(Exception):
    """A request that the Hub answers with an error.

    Attributes:
        status: the HTTP status.
        code: the header X-Error-Code; huggingface_hub chooses its error by it.
        message: what the Hub says.
        values: what else its JSON has.
    """

    def __init__(self, status: int, message: str, code: str = "", **values: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.values = status, message, code, values


@dataclass(frozen=True)
class Blob:
    """A file of a commit."""

    content: bytes
    is_lfs: bool

    def entry(self, path: str) -> dict[str, Any]:
        """The file as the listing of a commit has it."""
        pointer = self.content
        lfs = None
        if self.is_lfs:
            digest = hashlib.sha256(self.content).hexdigest()
            pointer = f"oid sha256:{digest}\nsize {len(self.content)}\n".encode()
            lfs = {"oid": digest, "size": len(self.content), "pointerSize": len(pointer)}
        blob = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False)
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": blob.hexdigest()}
        return {**entry, "lfs": lfs} if lfs else entry


@dataclass
class Repository:
    """Commits, from the oldest, and the branches and tags that name one each."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, files: dict[str, Blob], message: str, branch: str) -> str:
        """Add a commit to a branch and return its identifier."""
        text = f"{len(self.commits)}{message}{sorted(files)}"
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = files
        self.names[branch] = commit
        self.messages.append(message)
        return commit

    def commit_of(self, revision: str) -> str:
        """The identifier of a branch, tag or commit."""
        commit = self.names.get(revision, revision)
        if commit not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit


class Store:
    """Accounts, repositories and LFS objects.

    Attributes:
        tokens: token -> (the user's name, whether the token may write).
        repositories: name -> the repository.
        objects: SHA-256 in hexadecimal -> contents of an LFS object that has arrived.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, tuple[str, bool]] = {}
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.lock = threading.RLock()

    def user(self, token: str) -> str:
        """The user whose token it is."""
        if token not in self.tokens:
            raise Refusal(401, "Invalid user token.")
        return self.tokens[token][0]

    def want_writer(self, token: str, repo_id: str) -> None:
        """Refuse a token that may not write to a repository."""
        if repo_id.partition("/")[0] != self.user(token) or not self.tokens[token][1]:
            raise Refusal(403, f"You don't have the rights to write to {repo_id}.")

    def repository(self, repo_id: str, token: str) -> Repository:
        """The repository, if the token may read it."""
        found = self.repositories.get(repo_id)
        owner = repo_id.partition("/")[0]
        if found is None or (found.private and self.tokens.get(token, ("",))[0] != owner):
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return found

    def create(self, repo_id: str, private: bool) -> None:
        """Create a repository with one empty commit on main."""
        if repo_id in self.repositories:
            raise Refusal(409, "You already created this model repo", url=f"/{repo_id}")
        self.repositories[repo_id] = Repository(private)
        self.repositories[repo_id].add({}, "initial commit", "main")

    def receive(self, digest: str, content: bytes) -> None:
        """Keep an LFS object if it has arrived whole."""
        if hashlib.sha256(content).hexdigest() != digest:
            raise Refusal(400, "The uploaded object does not have the announced digest")
        self.objects[digest] = content

    def commit(self, repo_id: str, branch: str, lines: bytes) -> str:
        """Add the commit that newline-separated JSON describes, and return its identifier."""
        with self.lock:
            repository = self.repositories[repo_id]
            if branch not in repository.names:
                raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
            head = repository.names[branch]
            files, message = dict(repository.commits[head]), ""
            for line in lines.splitlines():
                item = json.loads(line)
                key, value = item["key"], item["value"]
                if key == "header":
                    message = value["summary"]
                    if value.get("parentCommit", head) != head:
                        raise Refusal(412, "A commit has happened since. Please refresh and retry.")
                elif key == "file":
                    files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
                elif key == "lfsFile":
                    if value["oid"] not in self.objects:
                        raise Refusal(400, f"LFS object of {value['path']} has not been uploaded")
                    files[value["path"]] = Blob(self.objects[value["oid"]], True)
                elif key == "deletedFile":
                    del files[value["path"]]
                else:
                    raise Refusal(400, f"unknown operation {key}")
            return repository.add(files, message, branch)
