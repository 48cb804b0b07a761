"""ScanObjectNN from HDF5 files in the official layout, which the tests write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from evenfall_stream.datasets import ScanObjectNN
from evenfall_stream.transforms import FarthestPoints

h5py = pytest.importorskip("h5py")

FILES = {
    ("objectbg", "train"): "main_split/training_objectdataset.h5",
    ("objectbg", "test"): "main_split/test_objectdataset.h5",
    ("objectonly", "train"): "main_split_nobg/training_objectdataset.h5",
    ("objectonly", "test"): "main_split_nobg/test_objectdataset.h5",
    ("hardest", "train"): "main_split/training_objectdataset_augmentedrot_scale75.h5",
    ("hardest", "test"): "main_split/test_objectdataset_augmentedrot_scale75.h5",
}


def write(file: Path, **changes: Any) -> Path:
    """Six clouds of 64 points, of the last six classes."""
    points = np.random.default_rng(len(file.name)).normal(2.0, 3.0, (6, 64, 3))
    arrays = {"data": points.astype(np.float32), "label": np.arange(9, 15)} | changes
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as h5:
        for name, array in arrays.items():
            if array is not None:
                h5[name] = array
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES.values():
        write(tmp_path / "h5_files" / name)
    return tmp_path


@pytest.mark.parametrize(("variant", "split"), FILES)
def test_each_variant_reads_its_file(root: Path, variant: str, split: str) -> None:
    file = root / "h5_files" / FILES[variant, split]
    with h5py.File(file, "r+") as h5:
        h5["label"][:] = 4
        h5["data"][0] = 7.0
    scans = ScanObjectNN(root, split, variant, normalize=False)
    assert len(scans) == 6
    assert scans.num_classes == 15
    assert scans.classes[4] == "chair"
    assert scans.y.tolist() == [4] * 6
    assert (scans[0].pos == 7).all()
    assert scans[0].pos.dtype == torch.float32
    in_folder = ScanObjectNN(root / "h5_files", split, variant, normalize=False)
    assert torch.equal(in_folder[1].pos, scans[1].pos)


def test_clouds_fill_the_unit_sphere(root: Path) -> None:
    for item in ScanObjectNN(root, "test"):
        torch.testing.assert_close(item.pos.norm(dim=1).max(), torch.tensor(1.0))
        torch.testing.assert_close(item.pos.mean(0), torch.zeros(3), rtol=0, atol=1e-6)


def test_float64_points_are_centred_as_such(root: Path) -> None:
    near = np.random.default_rng(0).normal(size=(6, 64, 3))
    far = near + np.array([500_000, 5_400_000, 300])  # map coordinates
    file = root / "h5_files" / FILES["objectonly", "test"]
    read = []
    for points in (near, far):
        file.unlink()
        write(file, data=points)
        read.append(ScanObjectNN(root, "test", "objectonly")[0].pos)
    assert read[1].dtype == torch.float32
    torch.testing.assert_close(read[1], read[0], rtol=0, atol=2e-7)
    pos = ScanObjectNN(root, "test", "objectonly", normalize=False)[0].pos
    assert torch.equal(pos, torch.from_numpy(far[0]))


def test_transforms_and_loader(root: Path) -> None:
    scans = ScanObjectNN(root, variant="hardest", transform=FarthestPoints(16))
    batch = next(iter(DataLoader(scans, batch_size=3)))
    assert batch.pos.shape == (48, 3)
    assert batch.y.tolist() == [9, 10, 11]
    once = ScanObjectNN(root, variant="hardest", pre_transform=FarthestPoints(16))
    assert torch.equal(once[2].pos, once[2].pos)
    assert once[2].num_nodes == 16


def test_labels_may_be_a_column(root: Path) -> None:
    write(root / "h5_files" / FILES["objectbg", "test"], label=np.arange(6)[:, None])
    assert ScanObjectNN(root, "test").y.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "corrupt or not a ScanObjectNN file"),
        ({"data": None}, "corrupt or not a ScanObjectNN file"),
        ({"label": np.arange(5)}, r"got \(6, 64, 3\) and \(5,\)"),
        ({"data": np.zeros((6, 64, 2), np.float32)}, r"got \(6, 64, 2\) and \(6,\)"),
        ({"data": np.zeros((6, 0, 3), np.float32)}, r"got \(6, 0, 3\) and \(6,\)"),
        ({"data": np.full((6, 8, 3), np.nan, np.float32)}, "must have finite points"),
        ({"data": np.full((6, 8, 3), b"x")}, "must have numeric data"),
        ({"label": np.arange(10, 16)}, "labels between 0 and 14, got 10 to 15"),
        ({"label": np.arange(-1, 5)}, "labels between 0 and 14, got -1 to 4"),
    ],
)
def test_a_wrong_file_is_refused(root: Path, changes: dict[str, Any], message: str) -> None:
    write(root / "h5_files" / FILES["objectbg", "train"], **changes)
    with pytest.raises(ValueError, match=message):
        ScanObjectNN(root)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_file_is_refused(root: Path, part: float) -> None:
    file = root / "h5_files" / FILES["objectbg", "train"]
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="corrupt or not a ScanObjectNN file"):
        ScanObjectNN(root)


def test_no_such_file_split_or_variant(tmp_path: Path, root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file main_split_nobg/test_objectdataset.h5"):
        ScanObjectNN(tmp_path / "nowhere", "test", "objectonly")
    with pytest.raises(ValueError, match="split must be one of train, test, got 'valid'"):
        ScanObjectNN(root, "valid")
    with pytest.raises(ValueError, match=r"variant must be one of .*, got 'easy'"):
        ScanObjectNN(root, variant="easy")


def test_without_h5py_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"ScanObjectNN needs h5py; .* 'evenfall-stream\[io\]'"):
        ScanObjectNN(root)


def test_a_file_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    folder = tmp_path / "main_split"
    folder.mkdir()
    with h5py.File(folder / "training_objectdataset.h5", "w") as file:
        file.create_dataset("data", (2**30, 2048, 3), "f4", chunks=(1, 2048, 3))
        file["label"] = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match=r"there must be at most .* values in data"):
        ScanObjectNN(tmp_path)
