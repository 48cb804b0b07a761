"""Checkpoints: find trained weights, load them, and make the folder that users get.

>>> checkpoint = evenfall.registry.checkpoints.get("egru-ptb-small")
>>> model, tokenizer = checkpoint.load()
>>> checkpoint.publish("out/egru-ptb-small")
PosixPath('out/egru-ptb-small')
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall.errors import HubError, shorten
from evenfall.files import written_aside
from evenfall.hub.checking import CONFIG, published_files, visible_files
from evenfall.hub.digests import digest_of
from evenfall.reading import read_json

VARIABLE = "EVENFALL_CHECKPOINTS"
"""The variable with a folder of checkpoints for use outside of a checkout."""


@dataclass(frozen=True)
class Checkpoint:
    """What the hook `evenfall_register_checkpoints` registers a reference to.

    Attributes:
        name: the registered name.
        folder: the folder of its files. A relative path is searched in the working directory, its
            parents and the parents of this package, so it is found anywhere in a checkout.
            Elsewhere, `EVENFALL_CHECKPOINTS` names a folder that has it, such as a copy of
            hub_cards.
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
        found = locate(wanted) if folder is None else _first(_places(Path(wanted)))
        if found is None:
            raise FileNotFoundError(
                f"checkpoint {self.name}: folder {wanted} not found in {Path.cwd()} or above it; "
                f"run this in a checkout of Evenfall, set {VARIABLE} to a copy of its hub_cards, "
                "or pass the folder"
            )
        for name, digest in self.hashes.items():
            file = found / name
            if not file.is_file():
                raise FileNotFoundError(f"checkpoint {self.name}: {found} has no {name}")
            got = digest_of(file)
            if got != digest:
                raise ValueError(
                    f"checkpoint {self.name}: {file} is not the published file: its SHA-256 is "
                    f"{got[:12]}..., want {digest[:12]}..."
                )
        return found

    @property
    def files(self) -> dict[str, Path]:
        """The files that are here, by name: all of the folder but hidden ones.

        Raises:
            FileNotFoundError, ValueError: as `find`.
        """
        return {path.name: path for path in visible_files(self.find()) if path.is_file()}

    def load(self, folder: str | Path | None = None, **options: Any) -> Any:
        """Return the result of `load_folder`; download the files if the folder is not found.

        Args:
            folder: as `find`.
            **options: those of `load_folder`.

        Raises:
            FileNotFoundError: the folder is not found and there is no `hub_id`.
            HubError, ValueError: as `find`, and `evenfall.hub.pulling.pull`.
        """
        try:
            found = self.find(folder)
        except FileNotFoundError:
            if self.hub_id is None or folder is not None:
                raise
            found = self.find(self._pull(self.hub_id))
        return self.load_folder(found, **options)

    def _pull(self, hub_id: str) -> Path:
        """The folder in the Hub's cache; what it already has, where the Hub cannot be asked."""
        from evenfall.hub.pulling import pull

        try:
            return pull(hub_id, revision=self.revision).folder
        except HubError:
            cached = locate(self.folder, hub_id, self.revision)
            if cached is None:
                raise
            return cached

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


def locate(
    folder: str | Path, hub_id: str | None = None, revision: str | None = None
) -> Path | None:
    """Where the folder of a checkpoint is on this machine; None if it is not. Imports no framework
    unless there is a `hub_id`, and downloads nothing.

    Args:
        folder: as `Checkpoint.folder`.
        hub_id: a repository whose files the Hub's cache may have.
        revision: commit or tag of that repository.
    """
    folder, copies = Path(folder), os.environ.get(VARIABLE)
    copy = [Path(copies) / folder.name] if copies and not folder.is_absolute() else []
    found = _first([*copy, *_places(folder)])
    if found is None and hub_id is not None:
        with suppress(ImportError):
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(hub_id, CONFIG, revision=revision)
            found = Path(cached).parent if isinstance(cached, str) else None
    return found


def _first(folders: Iterable[Path]) -> Path | None:
    return next((path for path in folders if path.is_dir()), None)


def model_type(folder: str | Path) -> str:
    """The "model_type" in a folder's config.json.

    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: it is not a JSON object, or has no model_type.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise FileNotFoundError(f"folder {folder} has no {CONFIG}, so it is not a checkpoint")
    kind = read_json(file).get("model_type")
    if not isinstance(kind, str):
        raise ValueError(f"{file} must contain a model_type, got {shorten(kind)}")
    return kind


def architectures(folder: str | Path) -> set[str]:
    """The names of classes under "architectures" in a folder's config.json, which may have none."""
    names = read_json(Path(folder) / CONFIG).get("architectures")
    return {one for one in names if isinstance(one, str)} if isinstance(names, list) else set()


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    if not folder.is_absolute():
        for above in (*Path.cwd().parents, *Path(__file__).parents):
            yield above / folder
