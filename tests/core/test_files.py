"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from evenfall.files import file_aside, is_full, write_text, writing, written_aside


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with written_aside(tmp_path / "deep" / "run") as aside:
        (aside / "a").write_text("1")
        assert aside.name == "run"  # writers that use the name write the right one
        assert not (tmp_path / "deep" / "run").exists()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["run"]
    assert (tmp_path / "deep" / "run" / "a").read_text() == "1"


def test_others_may_read_a_folder_and_enter_its_subfolders(tmp_path: Path) -> None:
    with written_aside(tmp_path / "run") as aside:
        write_text(aside / "deep" / "deeper" / "a", "1")
        (aside / "deep").chmod(0o700)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "run").rglob("*")}
    assert modes == {"deep": 0o755, "deeper": 0o755, "a": 0o644}
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_text(tmp_path / "run" / "old", "1")
    with pytest.raises(FileExistsError, match="run already exists"):
        written_aside(tmp_path / "run").__enter__()
    with written_aside(tmp_path / "run", replace=True) as aside:
        (aside / "new").write_text("2")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["new"]


def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "run" / "old", "1")

    def fail_in_folder() -> None:
        with written_aside(tmp_path / "run", replace=True) as aside:
            (aside / "new").write_text("2")
            raise RuntimeError

    def fail_in_file() -> None:
        with file_aside(tmp_path / "run" / "old") as file:
            file.write_text("3")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_folder()
    with pytest.raises(RuntimeError):
        fail_in_file()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["old"]
    assert (tmp_path / "run" / "old").read_text() == "1"


def test_a_replacement_that_fails_at_the_end_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "run" / "old", "1")
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if (source / "new").exists():
            raise OSError("disk")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with (
        pytest.raises(OSError, match="disk"),
        written_aside(tmp_path / "run", replace=True) as aside,
    ):
        (aside / "new").write_text("2")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "old").read_text() == "1"


def test_a_file_keeps_its_suffix_while_it_is_written(tmp_path: Path) -> None:
    with file_aside(tmp_path / "picture.png") as aside:
        assert aside.suffix == ".png"
        assert aside.parent == tmp_path
        aside.write_bytes(b"1")
    assert (tmp_path / "picture.png").read_bytes() == b"1"


def test_private_files_become_readable(tmp_path: Path) -> None:
    with file_aside(tmp_path / "model.safetensors") as file:
        file.touch(mode=0o600)
    with written_aside(tmp_path / "folder") as folder:
        (folder / "model.safetensors").touch(mode=0o600)
    for path in (tmp_path / "model.safetensors", tmp_path / "folder" / "model.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o644


def test_only_a_known_folder_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "thesis" / "text", "1")
    (tmp_path / "empty").mkdir()
    write_text(tmp_path / "graph" / "mark", "1")
    with (
        pytest.raises(FileExistsError, match=r"has other files \(no mark\) and is not replaced"),
        written_aside(tmp_path / "thesis", replace=True, known=("mark",)),
    ):
        pass
    assert (tmp_path / "thesis" / "text").read_text() == "1"
    for name in ("empty", "graph"):
        with written_aside(tmp_path / name, replace=True, known=("mark",)) as aside:
            (aside / "new").touch()
        assert (tmp_path / name / "new").exists()


def test_of_two_writers_the_first_keeps_the_folder(tmp_path: Path) -> None:
    def write_second() -> None:
        with written_aside(tmp_path / "run") as second:
            (second / "second").touch()
            with written_aside(tmp_path / "run") as first:
                (first / "first").touch()

    with pytest.raises(FileExistsError, match="run already exists"):
        write_second()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["first"]


def test_weights_that_cannot_be_written_are_an_os_error(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import save_file

    weights = numpy.zeros(1 << 20)
    with pytest.raises(OSError, match="run cannot be written"), writing(tmp_path / "run"):
        torch.save({"a": torch.from_numpy(weights)}, "/dev/full")
    with pytest.raises(OSError, match="run cannot be written"), writing(tmp_path / "run"):
        save_file({"a": weights}, tmp_path / "none" / "a.safetensors")
    with pytest.raises(RuntimeError, match="other"), writing(tmp_path / "run"):
        raise RuntimeError("other")


def test_an_interrupted_clean_up_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree, calls = shutil.rmtree, []

    def interrupted(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        rmtree(*args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), written_aside(tmp_path / "out") as folder:
        (folder / "a").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_of_a_full_disk_names_the_output(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(OSError, match=r"out cannot be written: No space left"),
        written_aside(tmp_path / "out"),
    ):
        raise full
    with (
        pytest.raises(OSError, match=r"a.txt cannot be written: No space left"),
        file_aside(tmp_path / "a.txt"),
    ):
        raise full
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"is a folder, want a file: '.*'"):
        write_text(tmp_path, "text")


def test_an_array_that_numpy_writes_in_part_is_a_full_disk(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(1 << 16)
    with pytest.raises(OSError, match=r"\d+ requested and \d+ written") as caught:
        array.tofile("/dev/full")
    assert caught.value.errno is None
    assert is_full(caught.value)
    message = r"out cannot be written: No space left"
    with pytest.raises(OSError, match=message), writing(tmp_path / "out"):
        array.tofile("/dev/full")
    assert not is_full(OSError("no such device"))
