"""Damaged files are a ValueError that names the file, and a large one is refused early."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenfall import reading
from evenfall.checkpoints import model_type
from evenfall.errors import EvenfallError, shorten, shorten_text
from evenfall.graph import Dense, Graph, Input, Readout
from evenfall.hub import write_card
from evenfall.reading import read_array, read_arrays, read_json, read_member, unzip
from evenfall.recipes import read_yaml
from evenfall.runs.grid_file import read_grid
from evenfall.runs.states import read_state
from evenfall.testing.damage import check_reader, fuzz_cases


def test_errors_of_contents_name_the_file_and_others_pass() -> None:
    for error in (KeyError("a"), SyntaxError("b"), RecursionError(), Exception("c"), OSError("d")):
        words = r"^data x/y\.z cannot be read: "
        with pytest.raises(ValueError, match=words), reading.reading("x/y.z", "data"):
            raise error
    words = "x declares more data than the memory holds"
    with pytest.raises(ValueError, match=words), reading.reading("x"):
        raise MemoryError
    for other in (FileNotFoundError(2, "no"), ImportError("no"), EvenfallError("no")):
        with pytest.raises(type(other), match="no"), reading.reading("x"):
            raise other


def test_a_named_file_is_named_once() -> None:
    with pytest.raises(ValueError, match=r"^a\.txt is empty$"), reading.reading("a.txt", "data"):
        raise ValueError("a.txt is empty")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff", '{"a": ' + "9" * 5000 + "}"])
def test_json_is_an_object_or_the_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"checkpoint .*config\.json cannot be read"):
        read_json(path, "checkpoint")
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}


def test_gzip_data_is_unpacked_as_gzip_does() -> None:
    text = b"one line\n" * 300_000
    packed = gzip.compress(text[:9]) + gzip.compress(text) + b"\0" * 7
    assert unzip(packed, "a.gz") == gzip.decompress(packed)
    assert unzip(b"", "a.gz") == b""


def test_gzip_data_that_is_truncated_or_too_large_is_refused() -> None:
    packed = gzip.compress(b"a" * 3_000_000)
    with pytest.raises(ValueError, match=r"data a\.gz cannot be read: it is truncated"):
        unzip(packed[:-9], "a.gz", "data")
    with pytest.raises(ValueError, match=r"a\.gz cannot be read: it unpacks to more than 10 "):
        unzip(packed, "a.gz", most=10)
    with pytest.raises(ValueError, match=r"a\.gz cannot be read"):
        unzip(packed[:-4] + b"\1\2\3\4", "a.gz")


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LARGEST", 1000)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(5000))
    with pytest.raises(ValueError, match=r"a\.npz cannot be read: it unpacks to 40,128 bytes"):
        read_arrays(path)
    words = r"a\.npz cannot be read: a\.npy unpacks to"
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match=words):
        read_member(archive, "a.npy", path)


def test_arrays_are_read_as_numpy_does(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6).reshape(2, 3),
        "b": np.float32(3),
        "c": np.asfortranarray(np.eye(3)),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == ["a", "b", "c"]
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    np.save(tmp_path / "a.npy", arrays["a"])
    assert np.array_equal(read_array(tmp_path / "a.npy"), arrays["a"])
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "none.npy")
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz")


def test_pickles_and_absurd_shapes_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy cannot be read: it contains Python objects, not"):
        read_array(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=np.array([{}]))
    with pytest.raises(ValueError, match=r"a\.npz cannot be read: it contains Python objects, not"):
        read_arrays(tmp_path / "a.npz")
    for shape in ("(1099511627776, 1099511627776)", "(1000000000000,)", "(-1,)", "(" * 300):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
        (tmp_path / "b.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.npy"):
            read_array(tmp_path / "b.npy")
        with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
            archive.writestr("b.npy", content)
        with pytest.raises(ValueError, match=r"b\.npz"):
            read_arrays(tmp_path / "b.npz")


def test_damaged_files_raise_value_errors_alone(tmp_path: Path) -> None:
    """A fixed budget: 300 cases of each format."""
    array, arrays = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(12.0).reshape(3, 4))
    np.savez_compressed(arrays, t=np.arange(5), x=np.eye(3))
    packed = gzip.compress(b"some text\n" * 20)
    document = json.dumps({"a": [1, 2.5, None, {"b": "c"}]})
    readers: list[tuple[str, bytes | str, Callable[[Path], Any]]] = [
        ("a.npy", array.getvalue(), read_array),
        ("a.npz", arrays.getvalue(), read_arrays),
        ("a.json", document, read_json),
        ("a.yaml", document, read_yaml),
        ("a.gz", packed, lambda path: unzip(path.read_bytes(), path)),
    ]
    for name, content, read in readers:
        cases = fuzz_cases(300)
        assert check_reader(read, content, tmp_path / name, name, cases) > cases / 3, name


def test_damaged_files_of_core_raise_value_errors_alone(tmp_path: Path) -> None:
    """A fixed budget: 200 cases of each file that core writes and reads."""
    graph = Graph(
        {"x": Input((3,)), "mix": Dense([[1.0, 0.0, 2.0]]), "out": Readout()},
        (("x", "mix"), ("mix", "out")),
    )
    folder = graph.save(tmp_path / "graph")
    config = json.dumps({"model_type": "egru", "sizes": [1, 2]})
    grid = "recipe: base.yaml\nseeds: [0, 1]\nvalues: {rate: [1e-3, 0.5]}\nsplits: [valid]\n"
    results = json.dumps({"name": "tiny", "scores": {"valid": 1.5}})
    states = json.dumps([{"masks": [1, 2.5, None]}, "words"])

    def load_graph(path: Path) -> Graph:
        for file in folder.iterdir():
            if file.name != path.name:
                shutil.copyfile(file, path.with_name(file.name))
        return Graph.load(path.parent)

    def in_folder(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        return lambda path: read(path.parent)

    readers: list[tuple[str, str, Callable[[Path], Any]]] = [
        ("graph.json", (folder / "graph.json").read_text(), load_graph),
        ("config.json", config, in_folder(model_type)),
        ("grid.yaml", grid, read_grid),
        ("results.json", results, in_folder(lambda place: write_card(place, lambda _: "card"))),
        ("callbacks.json", states, in_folder(lambda folder: read_state(folder, "callbacks"))),
    ]
    for name, content, read in readers:
        cases = fuzz_cases(200)
        assert check_reader(read, content, tmp_path / name, name, cases) > cases / 10, name


def test_values_in_messages_are_short() -> None:
    bomb: object = ["lol"]
    for _ in range(60):
        bomb = [bomb] * 9
    for value in (bomb, "a" * 10**6, 10**10_000, {"a": bomb}, [10**6] * 10**5, b"b" * 10**6):
        assert len(shorten(value)) <= 120
    assert shorten("it's") == repr("it's")
    assert shorten([1, "a", None, {"b": (2.5, True)}]) == "[1, 'a', None, {'b': (2.5, True)}]"
    assert shorten("\x1b[31m") == r"'\x1b[31m'"
    assert shorten_text("a" * 50, 20) == "a" * 10 + " ... " + "a" * 5


def test_many_members_take_linear_time() -> None:
    """Each member was once a copy of all that follow: ten times as many took a hundred times."""
    member = gzip.compress(b"a")
    assert unzip(member * 100_000, "a.gz") == b"a" * 100_000
