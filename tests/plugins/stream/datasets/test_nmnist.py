"""N-MNIST: the counts of the subset, its splits, the published layout and corrupt files."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from evenfall_stream.datasets import NMNIST

LABELS = [d for d in range(10) for _ in range(10)]


@pytest.fixture(scope="module")
def subset(data_dir: Path) -> Path:
    folder = data_dir / "nmnist_small"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    return folder


def one_event(x: int = 1, t: int = 5) -> bytes:
    return bytes([x, 2, 128, 0, t])


def small_files(prefix: str = "NMNISTsmall/") -> dict[str, bytes]:
    """A subset of one hundred training recordings and one test recording."""
    rows = "".join(f"{i + 1}\t{label}\n" for i, label in enumerate(LABELS))
    files = {f"{prefix}{i + 1}.bs2": one_event(i % 34) for i in range(len(LABELS))}
    files |= {f"{prefix}train1K.txt": b"#sample #class\n" + rows.encode()}
    return files | {f"{prefix}test100.txt": b"60001\t7\n", f"{prefix}60001.bs2": one_event()}


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, raw in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw)
    return path


def test_published_counts(subset: Path) -> None:
    train, test = NMNIST(subset, "train+valid"), NMNIST(subset, "test")
    assert (len(train), len(test)) == (1000, 100)
    assert sum(item.num_nodes for item in train) == 4_133_231
    assert sum(item.num_nodes for item in test) == 385_596
    assert train.labels.bincount().tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
    assert test.labels.bincount().tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
    assert train.ids.tolist() == list(range(1, 1001))
    assert test.ids.tolist() == list(range(60001, 60101))


def test_items_of_the_real_data(subset: Path) -> None:
    dataset = NMNIST(subset / "NMNISTsmall.tar.gz", "test")
    for item in dataset:
        time = item.pos[:, 0]
        assert time[0] == 0
        assert bool((time.diff() >= 0).all())
        assert 290 < time[-1] < 340
        assert bool(((item.pos[:, 1:] >= 0) & (item.pos[:, 1:] <= 33)).all())
        assert set(item.x.unique().tolist()) == {0.0, 1.0}
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    assert batch.num_graphs == 4
    assert batch.y.shape == (4,)
    assert batch.y.dtype == torch.int64


def test_valid_is_a_fixed_tenth_of_each_class(subset: Path) -> None:
    train, valid = NMNIST(subset, "train"), NMNIST(subset, "valid")
    assert len(train) + len(valid) == 1000
    assert not set(train.ids.tolist()) & set(valid.ids.tolist())
    both = train.labels.bincount() + valid.labels.bincount()
    assert valid.labels.bincount().tolist() == [round(n / 10) for n in both.tolist()]
    assert valid.ids[:6].tolist() == [70, 71, 77, 85, 101, 112]


@pytest.mark.parametrize("form", ["archive", "folder of archive", "folder", "nested folder"])
def test_every_form_of_the_subset(tmp_path: Path, form: str) -> None:
    path = tmp_path
    if "archive" in form:
        archive = write_tar(tmp_path / "NMNISTsmall.tar.gz", small_files())
        path = archive if form == "archive" else tmp_path
    else:
        write_folder(tmp_path, small_files("NMNISTsmall/" if "nested" in form else ""))
    sizes = {split: len(NMNIST(path, split)) for split in ("train", "valid", "test", "train+valid")}
    assert sizes == {"train": 90, "valid": 10, "test": 1, "train+valid": 100}
    assert NMNIST(path, "test")[0].y.tolist() == [7]
    assert NMNIST(path, "train").num_classes == 10


@pytest.mark.parametrize("packed", [True, False])
def test_the_published_layout(tmp_path: Path, packed: bool) -> None:
    for part in ("Train", "Test"):
        files = {f"{part}/{d}/{d + 1:05}.bin": one_event(d) for d in range(10)}
        if packed:
            with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
                for name, raw in files.items():
                    archive.writestr(name, raw)
        else:
            write_folder(tmp_path, files)
    dataset = NMNIST(tmp_path, "train+valid")
    assert dataset.labels.tolist() == list(range(10))
    assert [item.pos[0, 1].item() for item in dataset] == list(range(10))
    assert len(NMNIST(tmp_path, "test")) == 10


def test_transform_and_subset(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", small_files())

    def brighter(data):
        data.x = data.x + 1
        return data

    dataset = NMNIST(path, "train", transform=brighter)
    assert dataset[0].x.item() == 2
    assert dataset[0].x.item() == 2
    assert dataset[5:9].ids.tolist() == dataset.ids[5:9].tolist()


def test_corrupt_data_is_named(tmp_path: Path) -> None:
    def read(changed: dict[str, bytes | None], split: str = "train+valid") -> NMNIST:
        files = small_files() | {f"NMNISTsmall/{name}": raw for name, raw in changed.items()}
        present = {name: raw for name, raw in files.items() if raw is not None}
        return NMNIST(write_tar(tmp_path / "a.tar.gz", present), split)

    with pytest.raises(ValueError, match=r"lists 3\.bs2, which is missing"):
        read({"3.bs2": None})
    with pytest.raises(ValueError, match=r"recording 3 of N-MNIST is corrupt.*ends 1 bytes"):
        read({"3.bs2": bytes(6)})
    with pytest.raises(ValueError, match=r"recording 3 .*x = 34, y = 2 at event 0"):
        read({"3.bs2": one_event(34)})
    with pytest.raises(
        ValueError, match=r"recording 3 .*must not decrease, got 4 us after 5 us at event 1"
    ):
        read({"3.bs2": one_event() + one_event(t=4)})
    with pytest.raises(ValueError, match=r"line 2 of .*train1K.txt must be an id and a class"):
        read({"train1K.txt": b"1\t5\n2\t11\n"})
    with pytest.raises(FileNotFoundError, match="no test recordings"):
        read({"test100.txt": None}, "test")
    assert len(read({"3.bs2": bytes(6)}, "test")) == 1


def test_corrupt_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'validation'"):
        NMNIST(tmp_path, "validation")
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nowhere"):
        NMNIST(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no train recordings"):
        NMNIST(tmp_path)
    noise = tmp_path / "noise"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match="is corrupt or not a tar or zip archive"):
        NMNIST(noise)
    whole = write_tar(tmp_path / "a.tar.gz", small_files()).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is corrupt or not a tar or zip archive"):
        NMNIST(tmp_path / "a.tar.gz")
    with pytest.raises(ValueError, match=r"leaves the archive: '\.\./1\.bs2'"):
        NMNIST(write_tar(tmp_path / "b.tar", {"../1.bs2": one_event()}))
