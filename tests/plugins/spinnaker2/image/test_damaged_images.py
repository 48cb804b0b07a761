"""Damaged and hostile images give a clear error or, where nothing is wrong, an image that runs.

`EVENFALL_FUZZ=10000 pytest tests/plugins/spinnaker2/image/test_damaged_images.py` tries more cases.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenfall.testing.damage import fuzz_cases
from evenfall_spinnaker2 import Emulator, compile, load_image
from evenfall_spinnaker2.image.routing import HEADER

from ..networks import language_model, spiking

CASES = fuzz_cases(500)
GROUPS = 5
INPUTS = (np.arange(3), np.ones((2, 2, 8, 8)))
"""Of the two images."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    return [
        compile(language_model(vocabulary=9, inputs=4, units=(6,)), folder / "egru"),
        compile(spiking(), folder / "spiking", precision="int8"),
    ]


def problem_of(folder: Path, inputs: Any) -> str | None:
    """The message of the error that reading or running raises, or None; any other error is a
    failure."""
    try:
        Emulator(load_image(folder)).run(inputs)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return None


def repair(path: Path, data: bytearray) -> None:
    """Make the checksum of a blob or a routing table right."""
    if path.parent.name == "pes" and len(data) >= 16:
        data[12:16] = bytes(4)
        struct.pack_into("<I", data, 12, zlib.crc32(data))
    if path.parent.name == "routing" and len(data) >= HEADER.size:
        struct.pack_into("<I", data, HEADER.size - 4, zlib.crc32(data[HEADER.size :]))


def rehash(folder: Path, name: str) -> None:
    """Make the manifest agree with a changed file, so that what reads the file must find it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / name).read_bytes()
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change_bytes(folder: Path, rng: Any) -> None:
    """Cut, lengthen or flip bits of any file; half of the time with the right hash, and in half of
    these with the right checksum."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[rng.integers(len(files))]
    data = bytearray(path.read_bytes())
    kind = rng.integers(3)
    if kind == 0:
        data = data[: rng.integers(len(data))]
    elif kind == 1:
        data += bytes(rng.integers(0, 256, rng.integers(1, 64), np.uint8))
    else:
        for _ in range(rng.integers(1, 9)):
            reach = 512 if rng.random() < 0.5 else len(data)
            data[rng.integers(min(len(data), reach))] ^= 1 << rng.integers(8)
    name = str(path.relative_to(folder))
    hashed, summed = rng.random() < 0.5, rng.random() < 0.5
    if summed:
        repair(path, data)
    path.write_bytes(data)
    if name != "manifest.json" and hashed:
        rehash(folder, name)


def change_manifest(folder: Path, rng: Any) -> None:
    """Replace, remove or add a value anywhere in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    place: Any = manifest
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        if not isinstance(place[key], dict | list) or rng.random() < 0.2:
            break
        place = place[key]
    strange = [
        None, -1, 0, 1, 2**31, 2**63, 1e300, "", "../../etc/passwd", "/etc/passwd", "pes/../x", [],
        {}, [[0]], True, "x" * 5000, float("nan"),
    ]  # fmt: skip
    if rng.random() < 0.2:
        del place[key]
    else:
        place[key] = strange[rng.integers(len(strange))]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("change", [change_bytes, change_manifest])
@pytest.mark.parametrize("group", range(GROUPS))
def test_damaged_image_is_refused_or_read(
    images: list[Path], tmp_path: Path, change: Callable, group: int
) -> None:
    rng = np.random.default_rng([group, change is change_bytes])
    read = 0
    for case in range(CASES // GROUPS // 2):
        folder = tmp_path / str(case)
        shutil.copytree(images[case % 2], folder)
        for _ in range(rng.integers(1, 3)):
            try:
                change(folder, rng)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                break  # the first change left nothing to change again
        problem = problem_of(folder, INPUTS[case % 2])
        read += problem is None
        assert problem is None or 0 < len(problem) < 3000
        shutil.rmtree(folder)
    assert read < CASES // GROUPS // 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=[2, 0]), r"format version \[2, 0\]; this release reads 1"),
        (lambda m: m.update(version=["x" * 5000, 0]), r"format version .{1,120}; this release"),
        (lambda m: m.update(format="other"), "not that of an image"),
        (lambda m: m["pes"][0].update(blob="../manifest.json"), "pes/0/blob"),
        (lambda m: m["pes"][0].update(blob="pes/9999.bin"), r"not in the manifest's list of files"),
        (lambda m: m["files"].update({"../x": m["files"]["pes/0000.bin"]}), "is not allowed"),
        (lambda m: m["files"].update({"/etc/x": m["files"]["pes/0000.bin"]}), "is not allowed"),
        (lambda m: m["pes"][0].update(units=2**40), "pes/0/units"),
        (lambda m: m["pes"][0].update(units=5), "populations/1: 5 units placed"),
        (lambda m: m.pop("host"), "'host' is a required property"),
    ],
)
def test_wrong_manifest_is_named(
    images: list[Path], tmp_path: Path, change: Callable, message: str
) -> None:
    folder = tmp_path / "image"
    shutil.copytree(images[0], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        load_image(folder)


def test_missing_file_is_named(images: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "image"
    shutil.copytree(images[0], folder)
    (folder / "pes" / "0000.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"pes/0000.bin not found"):
        load_image(folder)
    with pytest.raises(FileNotFoundError, match=r"manifest.json not found"):
        load_image(tmp_path)


def test_link_out_of_the_folder_is_refused(images: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "image"
    shutil.copytree(images[0], folder)
    blob = folder / "pes" / "0000.bin"
    blob.rename(tmp_path / "elsewhere.bin")
    blob.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(FileNotFoundError, match="not found"):
        load_image(folder)
