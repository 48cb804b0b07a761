"""The HTTP interface of the Hub, on a free port of the loopback interface."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from .store import Refusal, Store

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_LFS_FILES = (".safetensors", ".png")


class Hub(ThreadingHTTPServer):
    """The server.

    Attributes:
        store: what it holds.
        requests: method and path of each request, from the first.
        fault: called with (method, path) before each request; "cut" closes the connection after
            half of what is sent, a number answers with that status. None for no faults.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = Store()
        self.requests: list[str] = []
        self.fault: Callable[[str, str], str | int | None] | None = None

    @property
    def url(self) -> str:
        """The address for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a client that has gone: a push that was killed is one."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve() -> Iterator[Hub]:
    """Run the server in a thread."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        fault = self.server.fault(self.command, path) if self.server.fault else None
        length = int(self.headers.get("Content-Length") or 0)
        if fault == "cut":
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
            return
        body = self._chunks() if self._is_chunked() else self.rfile.read(length)
        try:
            if isinstance(fault, int):
                raise Refusal(fault, "the test asked for this")
            for method, pattern, answer in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and method == self.command:
                    with self.server.store.lock:
                        answer(self, body, **match.groupdict())
                    return
            raise Refusal(404, f"no route for {self.command} {path}")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            values = {"error": refusal.message, **refusal.values}
            self._send(refusal.status, values, **headers)

    def _is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def token(self) -> str:
        """The token of the request; empty if there is none."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def who(self, body: bytes) -> None:
        self._send(200, {"type": "user", "name": self.server.store.user(self.token), "orgs": []})

    def create(self, body: bytes) -> None:
        values = json.loads(body)
        owner = values.get("organization") or self.server.store.user(self.token)
        repo_id = f"{owner}/{values['name']}"
        self.server.store.want_writer(self.token, repo_id)
        private = bool(values.get("private")) or values.get("visibility") == "private"
        self.server.store.create(repo_id, private)
        self._send(200, {"url": f"{self.server.url}/{repo_id}", "name": repo_id})

    def branch(self, body: bytes, repo: str, revision: str) -> None:
        self.server.store.want_writer(self.token, repo)
        repository = self.server.store.repository(repo, self.token)
        if revision in repository.names:
            raise Refusal(409, f"Reference {revision} already exists")
        repository.names[revision] = repository.names["main"]
        self._send(200, {})

    def info(self, body: bytes, repo: str, revision: str | None = None) -> None:
        repository = self.server.store.repository(repo, self.token)
        commit = repository.commit_of(revision or "main")
        siblings = []
        for path, blob in repository.commits[commit].items():
            entry = blob.entry(path)
            sibling = {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]}
            if blob.is_lfs:
                lfs = entry["lfs"]
                sibling["lfs"] = {
                    "sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"],
                }  # fmt: skip
            siblings.append(sibling)
        self._send(200, {
            "id": repo, "modelId": repo, "sha": commit, "private": repository.private,
            "tags": [], "downloads": 0, "likes": 0, "siblings": siblings,
        })  # fmt: skip

    def tree(self, body: bytes, repo: str, revision: str) -> None:
        repository = self.server.store.repository(repo, self.token)
        files = repository.commits[repository.commit_of(revision)]
        self._send(200, [blob.entry(path) for path, blob in files.items()])

    def metadata(self, body: bytes) -> None:
        if "license:" not in json.loads(body)["content"]:
            errors = [{"message": '"license" is required'}]
            self._send(400, {"errors": errors, "warnings": []})
        else:
            self._send(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        self.server.store.want_writer(self.token, repo)
        self._send(200, {"files": [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(_LFS_FILES) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]})  # fmt: skip

    def batch(self, body: bytes, repo: str) -> None:
        self.server.store.want_writer(self.token, repo)
        objects = []
        for wanted in json.loads(body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.store.objects:
                address = f"{self.server.url}/lfs/{wanted['oid']}"
                answer["actions"] = {
                    "upload": {"href": address},
                    "verify": {"href": f"{address}/verify"},
                }
            objects.append(answer)
        self._send(200, {"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, digest: str) -> None:
        self.server.store.receive(digest, body)
        self._send(200, {})

    def verify(self, body: bytes, digest: str) -> None:
        if digest not in self.server.store.objects:
            raise Refusal(404, "the object has not arrived")
        self._send(200, {})

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        self.server.store.want_writer(self.token, repo)
        commit = self.server.store.commit(repo, revision, body)
        self._send(200, {
            "success": True, "commitOid": commit,
            "commitUrl": f"{self.server.url}/{repo}/commit/{commit}",
        })  # fmt: skip

    def file(self, body: bytes, repo: str, revision: str, path: str) -> None:
        repository = self.server.store.repository(repo, self.token)
        commit = repository.commit_of(revision)
        blob = repository.commits[commit].get(path)
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        entry = blob.entry(path)
        etag = entry["lfs"]["oid"] if blob.is_lfs else entry["oid"]
        self._send(200, blob.content, X_Repo_Commit=commit, ETag=f'"{etag}"')


_MODELS = rf"/api/models/{_REPO}"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", Handler.who),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.metadata),
    ("POST", rf"{_MODELS}/branch/(?P<revision>.+)", Handler.branch),
    ("POST", rf"{_MODELS}/preupload/(?P<revision>.+)", Handler.preupload),
    ("POST", rf"{_MODELS}/commit/(?P<revision>.+)", Handler.commit),
    ("GET", rf"{_MODELS}/revision/(?P<revision>.+)", Handler.info),
    ("GET", rf"{_MODELS}/tree/(?P<revision>[^/]+)", Handler.tree),
    ("GET", _MODELS, Handler.info),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/lfs/(?P<digest>[0-9a-f]{64})", Handler.upload),
    ("POST", "/lfs/(?P<digest>[0-9a-f]{64})/verify", Handler.verify),
    ("HEAD", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.file),
    ("GET", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.file),
]
