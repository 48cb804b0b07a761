"""Checkpoints: find trained weights, load them, and make the folder that users get.

>>> checkpoint = evenfall.registry.checkpoints.get("egru-ptb-small")
>>> model, tokenizer = checkpoint.load()
>>> checkpoint.publish("out/egru-ptb-small")
PosixPath('out/egru-ptb-small')
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall.files import written_aside
from evenfall.hub.checking import CONFIG, published_files


@dataclass(frozen=True)
class Checkpoint:
    """What the hook `evenfall_register_checkpoints` registers a reference to.

    Attributes:
        name: the registered name.
        folder: the folder of its files. A relative path is searched in the working directory, its
            parents and the parents of this package, so it is found anywhere in a checkout.
        load_folder: function that loads a folder, with options of its own, and returns the model,
            or the model and more.
        complete: function that adds files, such as code, to the copy that is published; None if
            there are none.
        hashes: file name -> SHA-256 in hexadecimal, for files that must equal the published ones.
        make_card: function that makes the card, README.md, from results.json; None if none does.
        trainer: name of the registered trainer that evaluates the model; None if none does.
        recorded: function that returns the trainer's metric on a split ("valid", "test") from the
            results; it raises KeyError if they have none.
        hub_id: repository on the Hugging Face Hub; None if not uploaded.
        revision: commit or tag of that repository.
    """

    name: str
    folder: str | Path
    load_folder: Callable[..., Any]
    complete: Callable[[Path], None] | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    make_card: Callable[[dict[str, Any]], object] | None = None
    trainer: str | None = None
    recorded: Callable[[dict[str, Any], str], float] | None = None
    hub_id: str | None = None
    revision: str | None = None

    def find(self, folder: str | Path | None = None) -> Path:
        """Find the folder of the files, and check their hashes.

        Args:
            folder: the folder; `self.folder` if None.

        Raises:
            FileNotFoundError: no such folder, or a file is missing.
            ValueError: a file differs from the published one.
        """
        wanted = self.folder if folder is None else folder
        found = next((path for path in _places(Path(wanted)) if path.is_dir()), None)
        if found is None:
            raise FileNotFoundError(
                f"checkpoint {self.name}: folder {wanted} not found in {Path.cwd()} or above it; "
                "run this in a checkout of Evenfall, or pass the folder"
            )
        for name, digest in self.hashes.items():
            file = found / name
            if not file.is_file():
                raise FileNotFoundError(f"checkpoint {self.name}: {found} has no {name}")
            got = _sha256(file)
            if got != digest:
                raise ValueError(
                    f"checkpoint {self.name}: {file} is not the published file: its SHA-256 is "
                    f"{got[:12]}..., want {digest[:12]}..."
                )
        return found

    def load(self, **options: Any) -> Any:
        """Return the result of `load_folder`; download the files if the folder is not found.

        Raises:
            FileNotFoundError: the folder is not found and there is no `hub_id`.
            ValueError: as `find`.
        """
        try:
            found = self.find()
        except FileNotFoundError:
            if self.hub_id is None:
                raise
            from huggingface_hub import snapshot_download

            found = self.find(snapshot_download(self.hub_id, revision=self.revision))
        return self.load_folder(found, **options)

    def publish(self, output: str | Path, *, folder: str | Path | None = None) -> Path:
        """Copy the files and complete the copy. Nothing is evaluated.

        Args:
            output: the folder that users get; it is written completely or not at all.
            folder: as `find`.

        Returns:
            `output`.

        Raises:
            FileExistsError: `output` exists.
            FileNotFoundError: as `find`.
            ValueError: as `find`, or the folder does not contain exactly one checkpoint.
        """
        files = published_files(self.find(folder))
        with written_aside(output) as copy:
            for file in files:
                shutil.copyfile(file, copy / file.name)
            if self.complete is not None:
                self.complete(copy)
        return Path(output)


def model_type(folder: str | Path) -> str:
    """The "model_type" in a folder's config.json.

    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: it is not a JSON object, or has no model_type.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise FileNotFoundError(f"folder {folder} has no {CONFIG}, so it is not a checkpoint")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from None
    kind = values.get("model_type") if isinstance(values, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"{file} must contain a model_type, got {kind!r}")
    return kind


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    if not folder.is_absolute():
        for above in (*Path.cwd().parents, *Path(__file__).parents):
            yield above / folder


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
