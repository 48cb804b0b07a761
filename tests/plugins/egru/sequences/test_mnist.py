"""Sequential MNIST: the splits, the steps, and files that are wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from evenfall import registry
from evenfall_egru.sequences import read_frames, read_mnist


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,003 training images and 4 test images of random pixels, one of the files packed."""
    path, random = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for name, count in (("train", 5003), ("t10k", 4)):
        images = idx(random.integers(0, 256, (count, 28, 28)))
        (path / f"{name}-images-idx3-ubyte").write_bytes(images)
        labels = gzip.compress(idx(random.integers(0, 10, count)))
        (path / f"{name}-labels-idx1-ubyte.gz").write_bytes(labels)
    return path


def test_a_split_without_sequences_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenfall_egru.sequences.mnist.read_mnist", lambda *_: [])
    with pytest.raises(ValueError, match="mnist test must have at least one sequence, got none"):
        read_frames("mnist", ".", "test", {})


@pytest.mark.parametrize("kind", [np.float64, np.uint8])
def test_frames_of_another_data_set_become_float32(
    monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    """The models have float32 weights, whatever numbers a plugin's reader returns."""

    class Read(list):
        classes = ("a",)

    examples = Read([{"x": np.ones((2, 3), kind), "label": np.int64(0)}])
    monkeypatch.setattr("evenfall_egru.sequences.mnist.read_mnist", lambda *_: examples)
    assert str(read_frames("mnist", ".", "test", {}).x.dtype) == "torch.float32"


def test_the_splits_share_no_image(folder: Path) -> None:
    train, valid = read_mnist(folder, "train"), read_mnist(folder, "valid")
    both, test = read_mnist(folder, "train+valid"), read_mnist(folder, "test")
    assert [len(split) for split in (train, valid, both, test)] == [3, 5000, 5003, 4]
    np.testing.assert_array_equal(np.concatenate([train.images, valid.images]), both.images)


@pytest.mark.parametrize("pixels", [1, 4, 28, 784])
def test_an_image_is_read_row_by_row(folder: Path, pixels: int) -> None:
    split = read_mnist(folder, "test", pixels=pixels)
    example = split[2]
    assert example["x"].shape == (784 // pixels, pixels)
    assert example["x"].dtype == np.float32
    np.testing.assert_array_equal(np.rint(example["x"].ravel() * 255), split.images[2])


def test_the_registered_data_set_gives_frames(folder: Path) -> None:
    assert registry.datasets.provenance("mnist").metadata["contents"] == "frames"
    frames = read_frames("mnist", folder, "test", {"pixels": 4})
    assert frames.x.shape == (4, 196, 4)
    batch = frames.__getitems__([2, 0])
    assert batch["labels"].tolist() == [int(frames.labels[2]), int(frames.labels[0])]
    assert (batch["inputs_embeds"][1] == frames[0]["inputs_embeds"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split must be one of"),
        ({"split": "test", "pixels": 5}, "pixels must be a divisor of 784, got 5"),
        ({"split": "test", "pixels": True}, "pixels must be a divisor"),
    ],
)
def test_wrong_arguments_are_named(folder: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_mnist(folder, **arguments)


def test_unknown_options_and_other_contents_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset_options of 'mnist': .*'rows'"):
        read_frames("mnist", folder, "test", {"rows": 2})
    with pytest.raises(ValueError, match="pixels must be a number, got True"):
        read_frames("mnist", folder, "test", {"pixels": True})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (idx(np.zeros((2, 28, 27))), r"must have shape \(N, 28, 28\), got \(2, 28, 27\)"),
        (idx(np.zeros((2, 28, 28)))[:-1], "truncated or too long"),
        (idx(np.zeros((3, 28, 28))), "3 images and 2 labels"),
    ],
)
def test_damaged_files_are_errors(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(2)))
    with pytest.raises(ValueError, match=message):
        read_mnist(tmp_path, "test")


def test_too_few_images_for_a_validation_split_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 28, 28))))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3)))
    with pytest.raises(ValueError, match="train file must have at least 5001 images, got 3"):
        read_mnist(tmp_path, "valid")


def test_a_damaged_archive_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither t10k-images"):
        read_mnist(tmp_path, "test")
    packed = gzip.compress(idx(np.zeros((2, 28, 28))))
    for content in (b"no archive", packed[:-9], packed[:20] + b"\xff" * 4 + packed[24:]):
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz cannot be read"):
            read_mnist(tmp_path, "test")


def test_a_file_that_unpacks_to_too_much_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evenfall.reading.LARGEST", 2)
    with pytest.raises(ValueError, match="unpacks to more than 2 bytes"):
        read_mnist(folder, "test")


def test_a_header_of_absurd_size_takes_no_memory(tmp_path: Path) -> None:
    header = np.array([0x803, 2**32 - 1, 28, 28], ">u4").tobytes()
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(header + bytes(784))
    with pytest.raises(ValueError, match="truncated or too long: 784 bytes"):
        read_mnist(tmp_path, "test")


def test_the_published_files_are_read(data_dir: Path) -> None:
    folder = data_dir / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    test = read_mnist(folder, "test")
    counts = np.bincount(test.labels).tolist()
    assert counts == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
