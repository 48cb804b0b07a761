"""tonic's data sets, and others of that form, as torch_geometric data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from torch_geometric.loader import DataLoader

from evenfall_stream.datasets import from_tonic, tonic_split
from evenfall_stream.transforms import DropEvents

CAMERA = np.dtype([("x", np.int16), ("y", np.int16), ("p", bool), ("t", np.int64)])
AUDIO = np.dtype([("t", int), ("x", int), ("p", int)])


class Camera:
    """Two recordings as those of tonic's DVSGesture."""

    sensor_size = (128, 128, 2)
    classes: ClassVar[list[str]] = ["wave", "clap"]
    events: ClassVar[list[tuple[int, int, bool, int]]] = [
        (127, 3, True, 2000),
        (0, 127, False, 3500),
    ]

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return np.array(self.events, CAMERA), index


class Audio(Camera):
    """Recordings as those of tonic's SHD."""

    sensor_size = (700, 1, 1)
    classes = np.array([b"zero", b"one"])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return np.array([(1_000_000, 699, 1), (1_000_500, 0, 1)], AUDIO), np.int64(index)


def test_camera() -> None:
    dataset = from_tonic(Camera())
    assert (len(dataset), dataset.num_classes, dataset.sensor_size) == (2, 2, (128, 128))
    item = dataset[1]
    assert item.pos.tolist() == [[0, 127, 3], [1.5, 0, 127]]
    assert item.x.tolist() == [[1], [0]]
    assert item.y.tolist() == [1]


def test_audio() -> None:
    dataset = from_tonic(Audio())
    assert dataset.sensor_size == (700,)
    assert dataset.classes == ["zero", "one"]
    assert dataset[0].pos.tolist() == [[0, 699], [0.5, 0]]
    # The one polarity there is, as EventStreamClassifier(..., polarities=1) reads it.
    assert dataset[0].x.tolist() == [[0], [0]]
    assert from_tonic(Audio(), sensor_size=(700, 1, 2))[0].x.tolist() == [[1], [1]]


def test_loader_and_transform() -> None:
    batch = next(iter(DataLoader(from_tonic(Camera()), batch_size=2)))
    assert batch.y.tolist() == [0, 1]
    assert batch.batch.tolist() == [0, 0, 1, 1]
    assert len(from_tonic(Camera(), DropEvents(1.0))[0].pos) == 0


def test_unsorted_events_are_named_or_sorted() -> None:
    source = Camera()
    source.events = source.events[::-1]
    with pytest.raises(ValueError, match="recording 0 of Camera: timestamps must not decrease"):
        from_tonic(source)[0]
    assert from_tonic(source, sort=True)[0].pos.tolist() == [[0, 127, 3], [1.5, 0, 127]]


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"recording 1 of Camera: .*x = 127, y = 3 at event 0"):
        from_tonic(Camera(), sensor_size=(64, 64))[1]
    with pytest.raises(ValueError, match=r"the fields .*'y'.*, got \['t', 'x', 'p'\]"):
        from_tonic(Audio(), sensor_size=(700, 700))[0]
    with pytest.raises(
        ValueError, match="sensor_size must be passed, because list does not define it"
    ):
        from_tonic([])
    with pytest.raises(ValueError, match="split of SSC must be one of train, valid, test, got"):
        tonic_split("data", "SSC", "train+valid")


def test_absent_tonic_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(
        ImportError, match=r"SHD needs tonic; .* pip install 'evenfall-stream\[tonic\]'"
    ):
        tonic_split("data", "SHD")


def test_tonic_s_own_nmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("tonic.datasets")
    # tonic asks for the published ten thousand files, or downloads them.
    monkeypatch.setattr(datasets.NMNIST, "_check_exists", lambda self: True)
    for digit in range(10):
        folder = tmp_path / "NMNIST" / "Train" / str(digit)
        folder.mkdir(parents=True)
        for i in range(2):
            (folder / f"{i:05}.bin").write_bytes(bytes([digit, 2, 128, 3, 232, 4, 5, 0, 7, 208]))
    splits = {s: tonic_split(tmp_path, "NMNIST", s) for s in ("train", "valid", "train+valid")}
    assert {s: len(d) for s, d in splits.items()} == {"train": 18, "valid": 2, "train+valid": 20}
    item = splits["train+valid"][6]
    assert item.pos.tolist() == [[0, 3, 2], [1, 4, 5]]
    assert item.x.tolist() == [[1], [0]]
    assert item.y.tolist() == [3]
    assert splits["valid"].num_classes == 10
    with pytest.raises(ValueError, match=r"class of tonic\.datasets, got 'Nothing'"):
        tonic_split(tmp_path, "Nothing")


def test_tonic_s_own_shd_and_ssc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets, h5py = pytest.importorskip("tonic.datasets"), pytest.importorskip("h5py")
    monkeypatch.setattr(datasets.SHD, "_check_exists", lambda self: True)
    monkeypatch.setattr(datasets.SSC, "_check_exists", lambda self: True)
    for name in ("SHD/shd_train", "SHD/shd_test", "SSC/ssc_valid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (10,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (10,), h5py.vlen_dtype(np.uint16))
            for index in range(10):
                times[index], units[index] = [0.25, 0.5], [index, 699]
            file["labels"] = np.arange(10, dtype=np.uint16) % 2
            file["extra/keys"], file["extra/speaker"] = [b"zero", b"one"], np.zeros(10)
    sizes = {
        split: len(tonic_split(tmp_path, "SHD", split)) for split in ("train", "valid", "test")
    }
    assert sizes == {"train": 9, "valid": 1, "test": 10}
    for whole in (tonic_split(tmp_path, "SHD", "test"), tonic_split(tmp_path, "SSC", "valid")):
        item = whole[3]
        assert item.pos.tolist() == [[0, 3], [250, 699]]
        assert item.x.tolist() == [[0], [0]]
        assert item.y.tolist() == [1]
        assert whole.classes == ["zero", "one"]


def test_tonic_s_own_dvs_gesture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("tonic.datasets")
    monkeypatch.setattr(datasets.DVSGesture, "_check_exists", lambda self: True)
    folder = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user01_natural"
    folder.mkdir(parents=True)
    for label in range(11):
        np.save(folder / f"{label}.npy", np.array([[127.0, 3, 1, 20], [0, 127, 0, 22]]))
    whole = tonic_split(tmp_path, "DVSGesture", "train+valid")
    assert len(tonic_split(tmp_path, "DVSGesture", "valid")) == 1
    assert whole.num_classes == 11
    assert sorted(int(item.y) for item in whole) == list(range(11))
    assert whole[0].pos.tolist() == [[0, 127, 3], [2, 0, 127]]
    assert whole[0].x.tolist() == [[1], [0]]
