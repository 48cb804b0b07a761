"""ModelNet10: the real file, and small valid and corrupt files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import ModelNet
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import Compose

from evenfall_stream.datasets import ModelNet10Clouds, modelnet
from evenfall_stream.transforms import FarthestPoints, RandomShift

CLASSES = [
    "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table",
    "toilet",
]  # fmt: skip
TRAINING = [106, 515, 889, 200, 200, 465, 200, 680, 392, 344]
TESTING = [50, 100, 100, 86, 86, 100, 86, 100, 100, 100]


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    folder = data_dir / "modelnet10_1024pts"
    if not folder.is_dir():
        pytest.skip(f"no ModelNet10: {folder} does not exist")
    return folder


def small(**changes: Any) -> dict[str, np.ndarray]:
    """The arrays of a file of 2 classes, 20 training and 4 test clouds of 5 points."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"classes": np.array(["cup", "pot"])}
    for part, count in (("train", 20), ("test", 4)):
        arrays |= {
            f"points_{part}": random.integers(-99, 99, (count, 5, 3)).astype(np.int16),
            f"label_{part}": (np.arange(count) % 2).astype(np.uint8),
            f"model_id_{part}": np.arange(count).astype(np.uint16),
        }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "modelnet10_1024_int16.npz"
    np.savez_compressed(path, **small())
    return path


def test_the_official_clouds(folder: Path) -> None:
    test, valid = ModelNet10Clouds(folder, "test"), ModelNet10Clouds(folder, "valid")
    assert len(test) == 908
    assert test.classes == CLASSES
    assert test.num_classes == 10
    assert test.y.bincount().tolist() == TESTING
    assert valid.y.bincount().tolist() == [round(count / 10) for count in TRAINING]
    item = test[17]
    assert item.pos.shape == (1024, 3)
    assert item.pos.dtype == torch.float32
    assert item.y.shape == (1,)
    assert item.y.dtype == torch.int64
    torch.testing.assert_close(item.pos.norm(dim=1).max(), torch.tensor(1.0))
    torch.testing.assert_close(item.pos.mean(0), torch.zeros(3), rtol=0, atol=1e-6)


def test_the_sphere_undoes_the_quantisation(folder: Path) -> None:
    valid = ModelNet10Clouds(folder, "valid")
    with np.load(folder / "modelnet10_1024_int16.npz", allow_pickle=False) as arrays:
        of_class = arrays["label_train"] == int(valid[-1].y)
        at = int(np.flatnonzero(of_class & (arrays["model_id_train"] == valid.models[-1]))[0])
        quantised = arrays["points_train"][at].astype(np.float64)
        model = quantised * arrays["scale_train"][at] + arrays["center_train"][at]
    model = model - model.mean(0)
    model = model / np.linalg.norm(model, axis=1).max()
    np.testing.assert_allclose(valid[-1].pos.numpy(), model, rtol=0, atol=1e-6)


def test_splits_part_the_training_clouds(file: Path) -> None:
    splits = {name: ModelNet10Clouds(file, name) for name in ("train", "valid", "train+valid")}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 18, "valid": 2, "train+valid": 20,
    }  # fmt: skip
    train, valid = set(splits["train"].models), set(splits["valid"].models)
    assert not train & valid
    assert train | valid == set(range(20))
    assert sorted(splits["valid"].y.tolist()) == [0, 1]


def test_folds_part_the_training_clouds(file: Path) -> None:
    held_out = [set(ModelNet10Clouds(file, "valid", fold=fold).models) for fold in range(10)]
    assert sorted(model for fold in held_out for model in fold) == list(range(20))
    trained = set(ModelNet10Clouds(file, "train", fold=7).models)
    assert trained == set(range(20)) - held_out[7]
    assert len(ModelNet10Clouds(file, "test", fold=7)) == 4
    with pytest.raises(ValueError, match="fold must be between 0 and 9, got 10"):
        ModelNet10Clouds(file, "valid", fold=10)


def test_held_out_clouds_do_not_depend_on_their_order(file: Path) -> None:
    expected = sorted(ModelNet10Clouds(file, "valid").models)
    order = np.random.default_rng(1).permutation(20)
    arrays = small()
    for name in ("points_train", "label_train", "model_id_train"):
        arrays[name] = arrays[name][order]
    np.savez_compressed(file, **arrays)
    assert sorted(ModelNet10Clouds(file, "valid").models) == expected


def test_transforms_loader_and_subsets(file: Path) -> None:
    calls = []

    def counted(data: Data) -> Data:
        calls.append(data.num_nodes)
        return data

    shifted = Compose([FarthestPoints(3), RandomShift(0.2)])
    clouds = ModelNet10Clouds(file.parent, "train", transform=shifted, pre_transform=counted)
    assert calls == [5] * 18
    batch = next(iter(DataLoader(clouds, batch_size=4, shuffle=True)))
    assert batch.pos.shape == (12, 3)
    assert batch.y.shape == (4,)
    assert not torch.equal(clouds[0].pos, clouds[0].pos)
    assert len(clouds[:6]) == 6
    assert clouds[:6].num_classes == 2
    plain = ModelNet10Clouds(file, "train")
    plain[0].pos = torch.zeros(1, 3)
    assert plain[0].pos.shape == (5, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points_train": None}, "corrupt or not a ModelNet10 file"),
        ({"points_train": np.zeros((20, 15), np.int16)}, r"got \(20, 15\) and \(20,\)"),
        ({"points_train": np.zeros((19, 5, 3), np.int16)}, r"got \(19, 5, 3\) and \(20,\)"),
        ({"points_train": np.zeros((20, 0, 3), np.int16)}, r"got \(20, 0, 3\) and \(20,\)"),
        ({"points_train": np.full((20, 5, 3), np.nan)}, "must have int16 points, got float64"),
        ({"model_id_train": np.zeros(3, np.uint16)}, r"20 model ids, got shape \(3,\)"),
        (
            {"label_train": np.full(20, 2, np.uint8)},
            "labels below 2, the number of classes, got 2 to 2",
        ),
        ({"label_train": np.full(20, 0.5)}, "must have integer labels, got float64"),
        (
            {"classes": np.array([object()])},
            "corrupt or not a ModelNet10 file: it has Python objects",
        ),
    ],
)
def test_a_wrong_file_is_refused(file: Path, changes: dict[str, Any], message: str) -> None:
    np.savez_compressed(file, **small(**changes))
    with pytest.raises(ValueError, match=message):
        ModelNet10Clouds(file, "train")


@pytest.mark.parametrize("at", [0, 10, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused(file: Path, at: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(at * len(content)) if at < 1 else int(at)])
    with pytest.raises(ValueError, match="corrupt"):
        ModelNet10Clouds(file)


def test_a_damaged_or_foreign_file_is_refused(file: Path) -> None:
    content = bytearray(file.read_bytes())
    at = content.find(b"points_train") + 100
    content[at : at + 40] = bytes(40)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="corrupt"):
        ModelNet10Clouds(file)
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(ValueError, match="corrupt or not a ModelNet10 file"):
        ModelNet10Clouds(file)


def test_no_such_file_or_split(tmp_path: Path, file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must be modelnet10_1024_int16.npz or its folder"):
        ModelNet10Clouds(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"split must be one of train, valid, test, .*, got 'all'"):
        ModelNet10Clouds(file, "all")


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """ModelNet's folders as torch_geometric leaves them after its download: a square a class."""
    for number, name in enumerate(CLASSES):
        for part in ("train", "test"):
            inside = tmp_path / "raw" / name / part
            inside.mkdir(parents=True)
            size = 5 + number
            corners = f"0 0 0\n{size} 0 0\n{size} {size} 0\n0 {size} 0\n"
            mesh = f"OFF\n4 2 0\n{corners}3 0 1 2\n3 0 2 3\n"
            (inside / f"{name}_0001.off").write_text(mesh)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "test"])
def test_modelnet_of_torch_geometric_as_clouds(meshes: Path, split: str) -> None:
    clouds = modelnet(meshes, "10", split, points=50, transform=FarthestPoints(20))
    assert isinstance(clouds, ModelNet)
    assert len(clouds) == 10
    assert clouds.classes == sorted(CLASSES)
    assert clouds.y.tolist() == list(range(10))
    item = clouds[3]
    assert item.pos.shape == (20, 3)
    assert (item.pos[:, 2] == 0).all()
    assert item.pos.norm(dim=1).max() <= 1 + 1e-6
    assert "face" not in item
    torch.manual_seed(0)
    first = clouds[3].pos
    torch.manual_seed(0)
    assert torch.equal(clouds[3].pos, first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "20"}, "name must be one of 10, 40, got '20'"),
        ({"split": "valid"}, "split must be one of train, test, got 'valid'"),
        ({"points": 0}, "points must be an integer of at least 1, got 0"),
    ],
)
def test_modelnet_refuses(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modelnet(tmp_path, **arguments)
