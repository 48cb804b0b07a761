"""Machine code on disk: entries that are whole and checked, and folders of versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evenfall.caches import cache_folder, machine_code_folder, versioned_folder
from evenfall.machine_code import Entries

pytest.importorskip("numba")


def test_an_entry_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("signature", "processor", "code")
    entries = Entries(tmp_path, "function")
    entries.save(key, "old")

    def write_part(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_part)
    with pytest.raises(OSError, match="no space left"):
        entries.save(key, "new")
    assert entries.load(key) == "old"
    assert len([*tmp_path.iterdir()]) == 1


def test_load_checks_the_key(tmp_path: Path) -> None:
    """Another process can have replaced the file, from other code."""
    entries = Entries(tmp_path, "function")
    entries.save(("signature", "processor", "code"), "machine code")
    assert entries.load(("signature", "processor", "other code")) is None
    assert entries.load(("other signature", "processor", "code")) is None
    assert entries.load(("signature", "processor", "code")) == "machine code"
    entries.flush()
    assert entries.load(("signature", "processor", "code")) is None


def test_the_folder_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine_code_folder() == tmp_path / "evenfall" / "machine-code"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "evenfall"
    monkeypatch.setenv("NUMBA_CACHE_DIR", "elsewhere")
    assert machine_code_folder() == Path("elsewhere")


def test_without_a_home_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", fail)
    assert machine_code_folder() is None


def test_the_versions_used_last_are_kept(tmp_path: Path) -> None:
    other = versioned_folder(tmp_path, "kernels-of-others", "0" * 8)
    assert other is not None
    os.utime(other, (1, 1))
    for number in range(8):
        folder = versioned_folder(tmp_path, "kernels", f"{number:08}")
        assert folder is not None
        os.utime(folder, (10 + number, 10 + number))
    assert versioned_folder(tmp_path, "kernels", "00000000") is not None  # used again
    versioned_folder(tmp_path, "kernels", "0000000a")
    left = {path.name for path in tmp_path.iterdir()}
    numbers = [*(f"{number:08}" for number in (0, *range(2, 8))), "0000000a"]
    assert left == {other.name, *(f"kernels-{number}" for number in numbers)}


def test_a_folder_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert versioned_folder(tmp_path / "file", "kernels", "0" * 8) is None
