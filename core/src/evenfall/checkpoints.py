"""Checkpoints: where trained weights are, how they are loaded, and the folder that users get.

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

CONFIG = "config.json"
_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


@dataclass(frozen=True)
class Checkpoint:
    """What the hook `evenfall_register_checkpoints` registers a reference to.

    Attributes:
        name: the one it is registered under.
        folder: its files; a relative path is looked for in the working directory, in those above
            it, and in those above this package, so that any place in a checkout will do.
        load_folder: from a folder, and options of its own, to the model or what comes with it.
        complete: called with the copy that is to be published, to add what travels with the
            weights, such as code; None where nothing does.
        hashes: file name -> SHA-256 in hexadecimal, of files that must be those published.
        hub_id: repository on the Hugging Face Hub; None while it is not uploaded.
        revision: commit or tag there.
    """

    name: str
    folder: str | Path
    load_folder: Callable[..., Any]
    complete: Callable[[Path], None] | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    hub_id: str | None = None
    revision: str | None = None

    def find(self, folder: str | Path | None = None) -> Path:
        """The folder with its files, whose hashes are checked.

        Args:
            folder: where they are; `self.folder` when None.

        Raises:
            FileNotFoundError: no such folder, or it lacks a file.
            ValueError: a file is another one than the published one.
        """
        wanted = self.folder if folder is None else folder
        found = next((path for path in _places(Path(wanted)) if path.is_dir()), None)
        if found is None:
            raise FileNotFoundError(
                f"checkpoint {self.name}: folder {wanted} not found in {Path.cwd()} or above it; "
                "run this in a checkout, or name the folder"
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
        """What `load_folder` makes of the files; they are downloaded where no folder has them.

        Raises:
            FileNotFoundError: no folder has them and there is no `hub_id`.
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
        """Copy the files and complete the copy; nothing is evaluated.

        Args:
            output: the folder that users get; appears whole or not at all.
            folder: as `find`.

        Returns:
            `output`.

        Raises:
            FileExistsError: `output` exists.
            FileNotFoundError: as `find`.
            ValueError: as `find`, or the folder is not that of one checkpoint.
        """
        files = _files(self.find(folder))
        with written_aside(output) as copy:
            for file in files:
                shutil.copyfile(file, copy / file.name)
            if self.complete is not None:
                self.complete(copy)
        return Path(output)


def model_type(folder: str | Path) -> str:
    """The "model_type" of a folder's config.json, which says what kind of model it holds.

    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: it is no JSON object, or it does not say.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise FileNotFoundError(f"folder {folder} has no {CONFIG}: it is no checkpoint")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from None
    found = values.get("model_type") if isinstance(values, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{file} must name a model_type, got {found!r}")
    return found


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    if not folder.is_absolute():
        for above in (*Path.cwd().parents, *Path(__file__).parents):
            yield above / folder


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    """What is published of a folder: its files, hidden ones left out."""
    shown = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__"))]
    names = {path.name for path in shown}
    folders = [path.name for path in shown if path.is_dir()]
    pickles = [path.name for path in shown if path.suffix in _PICKLES]
    problem = ""
    if folders:
        problem = f"it has folders {folders}"
    elif pickles:
        problem = f"it has pickles {pickles}"
    elif CONFIG not in names:
        problem = f"it has no {CONFIG}"
    elif not any(path.suffix == ".safetensors" for path in shown):
        problem = "it has no .safetensors file"
    if problem:
        raise ValueError(
            f"folder {folder} cannot be published: {problem}; name the folder of one checkpoint, "
            "such as a run's best/"
        )
    return shown
