"""Digests of files, as the Hub and the registrations of checkpoints state them."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest_of(content: Path | bytes, algorithm: str = "sha256") -> str:
    """The digest of a file or of bytes in hexadecimal: "sha256", or "git" for that of a blob."""
    if algorithm == "git":
        data = content if isinstance(content, bytes) else content.read_bytes()
        blob = b"blob %d\0" % len(data) + data
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
