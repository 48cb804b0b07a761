"""The files of a split in a folder with one folder for each class.

The layouts, in which a suffix tells the files of the data from others:

    DATA/CLASS/FILE            the files of each class are split by the hash of their path
    DATA/CLASS/GROUP/FILE      whole groups, such as subjects or days, are split by the hash of
                               their name
    DATA/SPLIT/CLASS/FILE      SPLIT is train, valid (or val) or test
    DATA/CLASS/SPLIT/FILE      the same, as in ModelNet
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from evenfall.checks import check_choice, check_number
from evenfall.errors import shorten

from .walking import files_below

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test", "train+valid")
_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
"""Names of split folders, in lower case, to splits."""


class ClassFile(NamedTuple):
    """A file of the data.

    Attributes:
        path: of the file.
        label: number of its class.
        group: what must not be divided between splits: the folder in that of its class, or the
            file itself.
        split: train, valid or test if a folder says so.
    """

    path: Path
    label: int
    group: str
    split: str | None


def list_files(folder: Path, suffixes: Collection[str]) -> tuple[list[str], list[ClassFile]]:
    """The names of the classes, sorted, and all files with one of the suffixes, in lower case.

    Hidden files and folders are skipped; other files are skipped with a message.

    Raises:
        FileNotFoundError: no such folder, or no folders of classes in it.
        ValueError: a class has no files, there are less than 2 classes, or folders of splits lie
            beside others.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"data must be a folder with a folder for each class, got {folder}")
    top = _folders(folder)
    if not top:
        raise FileNotFoundError(f"{folder} must have a folder for each class, but has no folders")
    by_split = {one: _FOLDERS.get(one.name.lower()) for one in top}
    named = [one.name for one in top if by_split[one] is not None]
    others = [one.name for one in top if by_split[one] is None]
    inside = {one.name for split in top if by_split[split] is not None for one in _folders(split)}
    # A single one may be a class, such as the vehicle train.
    if others and (len(named) > 1 or inside & set(others)):
        raise ValueError(
            f"{folder} must have folders of splits alone, or of classes alone, got {named} and "
            f"{shorten(others)}"
        )
    if None not in by_split.values():
        classes = sorted({one.name for split in top for one in _folders(split)})
        places = [(split / name, name, by_split[split]) for split in top for name in classes]
    else:
        classes = [one.name for one in top]
        places = [(one, one.name, None) for one in top]
    numbers = {name: number for number, name in enumerate(classes)}
    files: list[ClassFile] = []
    skipped: Counter[str] = Counter()
    for place, name, split in places:
        found, unread = _files_of(place, numbers[name], split, suffixes)
        files += found
        skipped.update(unread)
    _check_classes(folder, classes, files, suffixes)
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in skipped.most_common(5))
        logger.warning("%s: %d files are skipped (%s)", folder, skipped.total(), kinds)
    return classes, files


def select_split(
    files: Sequence[ClassFile], split: str, valid_share: float, test_share: float
) -> list[ClassFile]:
    """The files of one split.

    Folders named after splits decide. Without them, whole groups go to test, then to valid, in the
    order of the hash of their name, until the share is reached; the rest is train. If groups occur
    in several classes, as subjects do, each is in one split for all classes; otherwise each class
    is divided alone. With a train folder and no valid folder, valid is taken from train.

    Raises:
        ValueError: the split is unknown or a share is out of range; too few groups for all splits.
        FileNotFoundError: the folders have no such split.
    """
    check_choice("split", split, SPLITS)
    for name, share in (("valid_share", valid_share), ("test_share", test_share)):
        check_number(name, share, below=1)
    named = {file.split for file in files} - {None}
    if named and any(file.split is None for file in files):
        at = next(file.path for file in files if file.split is None)
        raise ValueError(f"{at} must be in a folder {' or '.join(sorted(map(str, named)))}")
    if not named and not valid_share + test_share < 1:
        raise ValueError(
            "valid_share and test_share must leave files for train, "
            f"got {valid_share} and {test_share}"
        )
    test = [file for file in files if file.split == "test"]
    valid = [file for file in files if file.split == "valid"]
    rest = [file for file in files if file.split in ("train", None)]
    if not named:
        test, rest = _divide(rest, test_share, valid_share)
    if "valid" not in named:
        valid, rest = _divide(rest, valid_share / (1 if named else 1 - test_share), 0.0)
    chosen = {"train": rest, "valid": valid, "test": test, "train+valid": [*rest, *valid]}[split]
    if not chosen:
        reason = "no folder test" if split == "test" and named else "no files for it"
        raise FileNotFoundError(f"the data has no split {split!r}: {reason}")
    if split.startswith("train"):
        trained = {file.label for file in chosen}
        absent = next((file for file in files if file.label not in trained), None)
        if absent is not None:
            raise ValueError(f"the class of {absent.path} has no files to train on")
    return sorted(chosen)


def _divide(
    files: list[ClassFile], share: float, later: float
) -> tuple[list[ClassFile], list[ClassFile]]:
    """(the share, the rest); whole groups. `later` is the share that will be taken from the rest.

    Raises:
        ValueError: a class has too few groups.
    """
    if not share:
        return [], files
    least = 3 if later else 2
    classes: dict[int, Counter[str]] = {}
    for file in files:
        classes.setdefault(file.label, Counter())[file.group] += 1
    for groups in classes.values():
        if len(groups) < least:
            at = next(file.path for file in files if file.group in groups)
            raise ValueError(
                f"{at.parent} has {len(groups)} recording or group; splits need at least {least} "
                "in each class, or folders train, valid and test; set test_share: 0 or "
                "valid_share: 0 in dataset_options"
            )
    shared = len({group for groups in classes.values() for group in groups}) < sum(
        map(len, classes.values())
    )
    units: Iterable[Counter[str]] = (
        [sum(classes.values(), Counter())] if shared else classes.values()
    )
    chosen = {group for unit in units for group in _first_groups(unit, share, least)}
    return (
        [file for file in files if file.group in chosen],
        [file for file in files if file.group not in chosen],
    )


def _first_groups(groups: Counter[str], share: float, least: int) -> list[str]:
    """Groups in the order of their hash, until they have the share of the files."""
    chosen: list[str] = []
    wanted, count = share * groups.total(), 0
    for group in sorted(groups, key=_rank)[: len(groups) - least + 1]:
        if chosen and count + groups[group] / 2 > wanted:
            break
        chosen.append(group)
        count += groups[group]
    return chosen


def _files_of(
    folder: Path, label: int, split: str | None, suffixes: Collection[str]
) -> tuple[list[ClassFile], list[str]]:
    """The files of a class, and the suffixes of those that are skipped."""
    found, others = [], []
    for path in files_below(folder) if folder.is_dir() else ():
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        if path.suffix.lower() not in suffixes:
            others.append(path.suffix.lower() or path.name)
            continue
        named = _FOLDERS.get(parts[0].lower()) if len(parts) > 1 else None
        below = parts if named is None else parts[1:]
        group = below[0] if len(below) > 1 else f"{folder.name}/{'/'.join(parts)}"
        found.append(ClassFile(path, label, group, split or named))
    return found, others


def _check_classes(
    folder: Path, classes: Sequence[str], files: Sequence[ClassFile], suffixes: Collection[str]
) -> None:
    counts = Counter(file.label for file in files)
    for label, name in enumerate(classes):
        if not counts[label]:
            raise ValueError(
                f"{folder}: class {shorten(name)} has no files with a suffix in {sorted(suffixes)}"
            )
    if len(classes) < 2:
        raise ValueError(
            f"{folder} must have a folder for each of at least 2 classes, got {shorten(classes)}"
        )


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _rank(group: str) -> bytes:
    return hashlib.sha256(f"folders {group}".encode()).digest()
