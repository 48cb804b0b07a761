"""The registered data sets as arrays, and data sets of other plugins as Data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from evenfall import registry
from evenfall.datasets import ArrayDataset
from evenfall.owners import Owner
from evenfall_stream.datasets import ModelNet10Clouds, from_tonic
from evenfall_stream.datasets.arrays import ArrayExamples, _events
from evenfall_stream.datasets.from_arrays import FromArrays, open_registered

from .test_modelnet10 import small
from .test_nmnist import small_files, write_tar
from .test_tonic import Audio, Camera


@pytest.fixture
def mirrored() -> Iterator[str]:
    """The data set "test-mirror" of another plugin."""
    registry.datasets.add("test-mirror", f"{__name__}:open_mirror", "tests", contents="points")
    registry.datasets.add("test-words", f"{__name__}:open_mirror", "tests", contents="text")
    yield "test-mirror"
    registry.datasets.remove_owner(Owner("tests"))


class Mirror:
    classes = ("left", "right")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"pos": np.full((3, 3), index, np.float64), "label": np.asarray(index)}


def test_recipes_and_the_registry_have_the_same_names() -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("timm")
    from evenfall_stream.training.data import DATASETS

    for name in DATASETS:
        entry = registry.datasets.provenance(name)
        assert entry.owner.name == "stream"
        assert entry.metadata["contents"] in ("events", "points", "segments")
        assert callable(registry.datasets.get(name))


def test_events_of_nmnist(tmp_path: Path) -> None:
    write_tar(tmp_path / "NMNISTsmall.tar.gz", small_files())
    opened = registry.datasets.get("nmnist")
    examples = opened(tmp_path, "valid")
    assert isinstance(examples, ArrayDataset)
    assert list(examples.classes) == list("0123456789")
    assert len(examples) == 10
    first = examples[0]
    assert {name: array.dtype for name, array in first.items()} == dict.fromkeys(
        ("t", "x", "y", "p", "label"), np.dtype(np.int64)
    )
    assert [first[name].tolist() for name in ("t", "y", "p")] == [[5], [2], [1]]
    assert (first["label"].shape, int(examples[-1]["label"])) == ((), 9)
    with pytest.raises(IndexError):
        examples[10]
    with pytest.raises(ValueError, match="split must be one of"):
        opened(tmp_path, "train2")
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "absent", "train")


def test_events_keep_their_microseconds_and_audio_has_no_rows() -> None:
    camera = ArrayExamples(from_tonic(Camera()), _events)
    assert [camera[1][name].tolist() for name in "txyp"] == [
        [2000, 3500],
        [127, 0],
        [3, 127],
        [1, 0],
    ]
    audio = ArrayExamples(from_tonic(Audio()), _events)
    assert sorted(audio[0]) == ["label", "p", "t", "x"]
    assert audio[0]["t"].tolist() == [1_000_000, 1_000_500]
    part = ArrayExamples(from_tonic(Camera())[1:], _events)
    assert [int(one["label"]) for one in (part[0], part[-1])] == [1, 1]


def test_clouds_of_modelnet10(tmp_path: Path) -> None:
    np.savez(tmp_path / "modelnet10_1024_int16.npz", **small())
    examples = registry.datasets.get("modelnet10")(tmp_path, "train", fold=1)
    clouds = ModelNet10Clouds(tmp_path, "train", fold=1)
    assert len(examples) == len(clouds)
    assert list(examples.classes) == clouds.classes
    first = examples[0]
    assert np.array_equal(first["pos"], clouds[0].pos.numpy())
    first["pos"][:] = 7
    assert not np.array_equal(examples[0]["pos"], first["pos"])
    with pytest.raises(TypeError, match="fast"):
        registry.datasets.get("modelnet10")(tmp_path, "train", fast=True)


def test_data_set_of_another_plugin(mirrored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def open_mirror(*args: Any, **options: Any) -> Mirror:
        opened.append((*args, options))
        return Mirror()

    monkeypatch.setattr("evenfall.entries.import_reference", lambda reference, what: open_mirror)
    data = open_registered(mirrored, "somewhere", "valid", small=True)
    assert opened == [("somewhere", "valid", {"small": True})]
    assert (len(data), data.classes, data.num_classes) == (2, ["left", "right"], 2)
    assert data[1].pos.tolist() == [[1.0] * 3] * 3
    assert data[1].pos.dtype == torch.float64
    assert data[1].y.tolist() == [1]
    with pytest.raises(ValueError, match=r"'test-words' must contain one of .*, got 'text'"):
        open_registered("test-words", "somewhere", "valid")


def test_recipes_can_name_it(mirrored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("timm")
    from evenfall_stream.training.data import class_names, open_dataset

    monkeypatch.setattr("evenfall.entries.import_reference", lambda *_: lambda *_: Mirror())
    assert class_names(open_dataset(mirrored, "somewhere", "train")) == ["left", "right"]


def test_events_there_and_back() -> None:
    dataset = from_tonic(Camera())
    back = FromArrays(ArrayExamples(dataset, _events), "events")
    for one, other in zip(dataset, back, strict=True):
        assert torch.equal(one.pos, other.pos)
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)


def test_array_that_is_absent_is_named() -> None:
    data = FromArrays(Mirror(), "events")
    with pytest.raises(
        ValueError, match=r"example 1: events must have .*'t'.* got \['label', 'pos'"
    ):
        data[1]


def test_segments_have_a_class_of_each_point(tmp_path: Path) -> None:
    rooms = registry.datasets.get("synthetic-rooms")(tmp_path, "valid", points=50, count=2)
    assert len(rooms) == 2
    assert set(rooms[1]) == {"pos", "label"}
    assert rooms[1]["pos"].shape == (50, 3)
    assert rooms[1]["label"].shape == (50,)
    assert rooms[1]["label"].dtype == np.int64
    assert set(rooms[0]["label"]) <= set(range(len(rooms.classes)))
