"""Clouds with a label for each point, read from small files in the published formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evenfall_stream.datasets import S3DIS, ShapeNetPart, SyntheticRooms
from evenfall_stream.training.data import open_dataset

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def shapenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chairs and a mug."""
    path = tmp_path_factory.mktemp("shapenet")
    (path / "synsetoffset2category.txt").write_text("Chair\t03001627\nMug\t03797390\n")
    (path / "train_test_split").mkdir()
    shapes = {"train": ["03001627/a", "03797390/c"], "val": ["03001627/b"], "test": []}
    for split, names in shapes.items():
        file = path / "train_test_split" / f"shuffled_{split}_file_list.json"
        file.write_text(json.dumps([f"shape_data/{name}" for name in names]))
        for name in names:
            first = 12 if name.startswith("03001627") else 36
            rows = [[*RNG.normal(size=6), first + i % 2] for i in range(20)]
            (path / name).parent.mkdir(exist_ok=True)
            np.savetxt(path / f"{name}.txt", rows, fmt="%.6f")
    return path


def test_shapenet_part(shapenet: Path) -> None:
    data = ShapeNetPart(shapenet, "train", normals=True)
    assert len(data) == 2
    assert data.num_classes == len(data.classes) == 50
    assert data.classes[36] == "Mug 36"
    table = np.loadtxt(shapenet / "03797390/c.txt")
    mug = data[1]
    assert mug.y.tolist() == table[:, 6].tolist()
    assert float(mug.pos.norm(dim=1).max()) == pytest.approx(1)
    torch.testing.assert_close(mug.x, torch.from_numpy(table[:, 3:6]).float())
    assert data.parts_of_categories[int(mug.category)] == range(36, 38)
    assert len(ShapeNetPart(shapenet, "train+valid", categories=["Chair"])) == 2
    assert "x" not in ShapeNetPart(shapenet, "valid")[0]


def test_shapenet_part_refuses(shapenet: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"categories must be of .*, got \['Boat'\]"):
        ShapeNetPart(shapenet, categories=["Boat"])
    with pytest.raises(ValueError, match="split must be one of train, valid"):
        ShapeNetPart(shapenet, "val")
    with pytest.raises(FileNotFoundError):
        ShapeNetPart(tmp_path)
    file = shapenet / "03001627" / "b.txt"
    good = file.read_text()
    for bad, words in (("1 2 3\n", "7 columns"), ("1 2 x 4 5 6 12\n", "b.txt: .*'x'"),
                       ("0 0 0 0 0 1 36\n", "parts of Chair must be 12 to 15"),
                       ("0 0 nan 0 0 1 12\n", "must be finite")):  # fmt: skip
        file.write_text(bad)
        with pytest.raises(ValueError, match=words):
            ShapeNetPart(shapenet, "valid")[0]
    file.write_text(good)


@pytest.fixture(scope="module")
def s3dis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A room in areas 1, 5 and 6: a floor of 2 m by 1 m, a chair and stairs."""
    path = tmp_path_factory.mktemp("s3dis")
    for area in (1, 5, 6):
        folder = path / f"Area_{area}" / "office_1" / "Annotations"
        folder.mkdir(parents=True)
        parts = {
            "floor_1": ((10, 5, 3), (12, 6, 3), 400),
            "chair_2": ((10, 5, 3), (10.5, 5.5, 4), 60),
            "stairs_1": ((11.5, 5.5, 3), (11.9, 5.9, 3.5), 60),
        }
        for name, (low, high, count) in parts.items():
            rows = np.hstack([RNG.uniform(low, high, (count, 3)), RNG.integers(0, 256, (count, 3))])
            np.savetxt(folder / f"{name}.txt", rows, fmt="%.3f %.3f %.3f %d %d %d")
    return path


def test_s3dis(s3dis: Path) -> None:
    data = S3DIS(s3dis, "test", points=128)
    assert len(data) == 2
    first, second = data[0], data[1]
    assert first.pos.shape == first.x.shape == (128, 3)
    assert set(first.y.tolist()) == {1, 8}  # floor, chair
    assert set(second.y.tolist()) == {1, 12}  # stairs are clutter
    assert float(first.pos[:, :2].abs().max()) <= 0.5
    assert float(first.pos[:, 2].min()) >= 0
    assert 0 <= float(first.x.min()) < float(first.x.max()) <= 1
    assert torch.equal(data[0].pos, first.pos)
    training = S3DIS(s3dis, "train", points=500)
    assert not torch.equal(training[0].pos, training[0].pos)
    assert training[0].pos.shape == (500, 3)


def test_s3dis_refuses(s3dis: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no rooms of the areas \[5\]"):
        S3DIS(tmp_path, "test")
    with pytest.raises(ValueError, match="different areas from 1 to 6, got 5 and 5"):
        S3DIS(s3dis, valid_area=5)
    with pytest.raises(ValueError, match="split must be one of"):
        S3DIS(s3dis, "val")


def test_synthetic_rooms_are_the_same_each_time() -> None:
    room = open_dataset("synthetic-rooms", ".", "train", points=512, count=3)[1]
    again = SyntheticRooms(".", "train", points=512)[1]
    assert torch.equal(room.pos, again.pos)
    assert set(room.y.tolist()) == {0, 1, 2, 3}
    floor = room.pos[room.y == 0]
    assert float(floor[:, 2].abs().max()) < 0.12
    assert not torch.equal(SyntheticRooms(".", "test", points=512)[1].pos, room.pos)
    with pytest.raises(ValueError, match="points must be an integer of at least 1"):
        SyntheticRooms(".", points=0)
