"""The folder of an image: written aside and renamed; read with every file checked by its hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from evenfall.errors import shorten
from evenfall.files import written_aside

from .blob import Blob
from .consistency import check_manifest, check_parts
from .routing import RoutingTable, unpack_table
from .unpacking import unpack

FORMAT, VERSION = "evenfall-spinnaker2-image", [1, 0]
MANIFEST, HOST_ARRAYS, TOKENIZER = "manifest.json", "host.safetensors", "tokenizer.json"
KNOWN = (MANIFEST, "pes", "routing")
"""Entries by which a folder is known as an image, so that it may be replaced."""
_MANIFEST_LIMIT = 1 << 28
_NAME = re.compile(r"(?!.*\.\.)[a-z0-9_]+([./-][a-z0-9_]+)*")


@dataclass(frozen=True, eq=False)
class Image:
    """An image in memory; `load_image` reads it.

    Attributes:
        folder: where it was read.
        manifest: manifest.json, checked against its schema.
        blobs: of each processing element, in the order of manifest["pes"].
        tables: (x, y) of a chip -> its routing table.
        arrays: of the host, such as the embedding, by name; read-only float32.
    """

    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)
    blobs: tuple[Blob, ...] = field(repr=False)
    tables: Mapping[tuple[int, int], RoutingTable] = field(repr=False)
    arrays: Mapping[str, Any] = field(repr=False)

    @property
    def tokenizer(self) -> Path | None:
        """The file of the tokenizer, if the image has one."""
        return self.folder / TOKENIZER if self.manifest["tokenizer"] else None


def write_image(
    folder: str | Path,
    manifest: Mapping[str, Any],
    contents: Mapping[str, bytes],
    *,
    replace: bool = False,
) -> Path:
    """Write an image; the folder appears whole or not at all. Equal arguments give equal bytes.

    Args:
        folder: where to write.
        manifest: everything but "format", "version" and "files".
        contents: bytes by file name.
        replace: whether an existing folder may be replaced.

    Raises:
        FileExistsError: the folder exists and `replace` is off.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        **manifest,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(contents.items())
        },
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with written_aside(folder, replace=replace, known=KNOWN) as aside:
        for name, data in contents.items():
            path = aside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (aside / MANIFEST).write_text(text, encoding="utf-8")
    return Path(folder)


def load_image(folder: str | Path) -> Image:
    """Read an image and check it whole: schema, hashes, checksums, sizes and keys.

    Args:
        folder: what `evenfall spinnaker2 compile` wrote.

    Raises:
        FileNotFoundError: no such folder, or a file is missing.
        ValueError: a file is damaged, from a newer version, or states something impossible.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    data = {name: _read(folder, name, row) for name, row in manifest["files"].items()}
    blobs = tuple(_blob(row, data) for row in manifest["pes"])
    limit = manifest["chip"]["router_entries"]
    tables = {
        (row["chip"][0], row["chip"][1]): unpack_table(
            _of(data, row["file"]), limit, f"image {folder}: {row['file']}"
        )
        for row in manifest["routing"]
    }
    arrays = _arrays(folder, data)
    try:
        check_parts(manifest, blobs, tables, arrays)
    except ValueError as error:
        raise ValueError(f"image {folder}: {error}") from None
    return Image(folder, manifest, blobs, tables, arrays)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """manifest.json, checked against its schema; no other file is read.

    Raises:
        FileNotFoundError: no such folder or manifest.
        ValueError: no manifest of an image, or one from a newer version.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"image {folder}: {MANIFEST} not found")
    if path.stat().st_size > _MANIFEST_LIMIT:
        raise ValueError(f"image {folder}: {MANIFEST} is larger than {_MANIFEST_LIMIT} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"image {folder}: {MANIFEST} is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"image {folder}: {MANIFEST} is not that of an image")
    version = document.get("version")
    if not isinstance(version, list) or version[:1] != VERSION[:1]:
        raise ValueError(
            f"image {folder}: format version {shorten(version)}; this release reads {VERSION[0]}"
        )
    try:
        _check_schema(document)
        check_manifest(document)
    except ValueError as error:
        raise ValueError(f"image {folder}: {MANIFEST}: {error}") from None
    return document


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator, validators

    checker = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict = validators.extend(Draft202012Validator, type_checker=checker)
    text = files(__package__).joinpath("manifest.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    return strict(_inline(schema, schema.pop("$defs")))


def _inline(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references, which take most of the time of a check."""
    if isinstance(part, list):
        return [_inline(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inline(definitions[part["$ref"].rpartition("/")[2]], definitions)
    return {key: _inline(value, definitions) for key, value in part.items()}


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _check_schema(document: object) -> None:
    error = next(iter(_validator().iter_errors(document)), None)
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the document"
        message = error.message if len(error.message) < 200 else f"{error.message[:200]}..."
        raise ValueError(f"{where}: {message}")


def _read(folder: Path, name: str, row: Mapping[str, Any]) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"image {folder}: the file name {shorten(name[:80])} is not allowed")
    path = folder / name
    if not path.is_file() or path.is_symlink():
        raise FileNotFoundError(f"image {folder}: {name} not found")
    if path.stat().st_size != row["bytes"]:
        raise ValueError(
            f"image {folder}: {name} has {path.stat().st_size} bytes, the manifest {row['bytes']}"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError(f"image {folder}: {name} differs from its SHA-256 in the manifest")
    return data


def _of(data: Mapping[str, bytes], name: str) -> bytes:
    if name not in data:
        raise ValueError(f"image: {shorten(name[:80])} is not in the manifest's list of files")
    return data[name]


def _blob(row: Mapping[str, Any], data: Mapping[str, bytes]) -> Blob:
    return unpack(_of(data, row["blob"]), row["blob"])


def _arrays(folder: Path, data: Mapping[str, bytes]) -> dict[str, Any]:
    if HOST_ARRAYS not in data:
        return {}
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, Any] = load(data[HOST_ARRAYS])
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"image {folder}: {HOST_ARRAYS} cannot be read: {error}") from error
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"image {folder}: host array {shorten(name)} must be finite float32")
        array.flags.writeable = False
    return arrays
