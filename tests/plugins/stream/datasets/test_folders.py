"""Folders of recordings and clouds, one folder for each class."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from evenfall_stream.datasets import CloudFolder, RecordingFolder
from evenfall_stream.datasets.folders.class_files import list_files, select_split
from evenfall_stream.datasets.folders.windows import check_window, cut_windows


def write_recording(path: Path, events: int = 20, width: int = 8, duration: int = 20_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.linspace(0, duration, events).astype(int)
    x = np.arange(events) % width
    np.savez(path, t=t, x=x, y=x // 2, p=x % 2)
    return path


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def splits(root: Path, valid: float = 0.2, test: float = 0.2) -> dict[str, set[str]]:
    _, files = list_files(root, (".npz",))
    return {
        split: {str(f.path.relative_to(root)) for f in select_split(files, split, valid, test)}
        for split in ("train", "valid", "test")
    }


def test_each_class_is_divided_and_no_file_is_in_two_splits(tmp_path: Path) -> None:
    names = [f"{c}/{i}.npz" for c in ("left", "right") for i in range(10)]
    found = splits(touch(tmp_path, *names, "left/notes.txt", "left/.hidden.npz"))
    assert {split: len(files) for split, files in found.items()} == {
        "train": 12, "valid": 4, "test": 4,
    }  # fmt: skip
    assert set.union(*found.values()) == set(names)
    for files in found.values():
        assert sum(name.startswith("left") for name in files) == len(files) // 2
    moved = touch(tmp_path / "elsewhere", *names)
    assert splits(moved) == found


def test_a_subject_is_in_one_split_for_all_classes(tmp_path: Path) -> None:
    names = [f"{c}/s{s}/{i}.npz" for c in ("a", "b") for s in range(5) for i in range(3)]
    found = splits(touch(tmp_path, *names))
    people = {split: {name.split("/")[1] for name in files} for split, files in found.items()}
    assert [len(one) for one in people.values()] == [3, 1, 1]
    assert set.union(*people.values()) == {f"s{s}" for s in range(5)}
    assert sum(map(len, found.values())) == 30


@pytest.mark.parametrize("form", ["{split}/{name}/{i}.npz", "{name}/{split}/{i}.npz"])
def test_folders_of_splits_decide(tmp_path: Path, form: str) -> None:
    for split, count in (("train", 5), ("test", 2)):
        for name in ("a", "b"):
            touch(tmp_path, *(form.format(split=split, name=name, i=i) for i in range(count)))
    found = splits(tmp_path)
    assert all("test" in name for name in found["test"])
    assert all("train" in name for name in (*found["train"], *found["valid"]))
    assert [len(one) for one in found.values()] == [8, 2, 4]
    touch(tmp_path, *(form.format(split="val", name=name, i=0) for name in ("a", "b")))
    assert [len(one) for one in splits(tmp_path).values()] == [10, 2, 4]


def test_what_cannot_be_divided_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no folders"):
        list_files(tmp_path, (".npz",))
    with pytest.raises(FileNotFoundError, match="must be a folder"):
        list_files(tmp_path / "no", (".npz",))
    mixed = touch(tmp_path / "mixed", "train/a/1.npz", "test/a/1.npz", "more/1.npz")
    with pytest.raises(ValueError, match=r"alone, got \['test', 'train'\] and \['more'\]"):
        list_files(mixed, (".npz",))
    touch(tmp_path / "one", "a/1.npz", "a/2.npz")
    tmp_path /= "one"
    with pytest.raises(ValueError, match=r"at least 2 classes, got \['a'\]"):
        list_files(tmp_path, (".npz",))
    touch(tmp_path, "b/1.png")
    with pytest.raises(ValueError, match=r"class 'b' has no files with a suffix in"):
        list_files(tmp_path, (".npz",))
    touch(tmp_path, "b/1.npz", "b/2.npz", "b/3.npz")
    with pytest.raises(ValueError, match=r"a has 2 recording or group; .* at least 3 in each"):
        splits(tmp_path)
    _, files = list_files(tmp_path, (".npz",))
    assert len(select_split(files, "valid", 0.2, 0.0)) == 2
    with pytest.raises(FileNotFoundError, match="no split 'test'"):
        select_split(files, "test", 0.2, 0.0)
    with pytest.raises(ValueError, match="split must be one of"):
        select_split(files, "all", 0.2, 0.0)
    with pytest.raises(ValueError, match=r"valid_share must be at least 0 and below 1, got 1"):
        select_split(files, "train", 1, 0.0)
    with pytest.raises(ValueError, match=r"must leave files for train, got 0\.6 and 0\.5"):
        select_split(files, "train", 0.6, 0.5)


def test_a_folder_may_have_a_test_split_alone(tmp_path: Path) -> None:
    touch(tmp_path, "test/a/1.npz", "test/b/1.npz")
    classes, files = list_files(tmp_path, (".npz",))
    assert classes == ["a", "b"]
    assert len(select_split(files, "test", 0.2, 0.2)) == 2
    with pytest.raises(FileNotFoundError, match="no split 'train'"):
        select_split(files, "train", 0.2, 0.2)
    touch(tmp_path, *(f"train/a/{i}.npz" for i in range(3)))
    _, files = list_files(tmp_path, (".npz",))
    with pytest.raises(ValueError, match=r"the class of .*b/1.npz has no files to train on"):
        select_split(files, "train", 0.2, 0.2)


def test_a_subject_below_a_split_is_not_divided(tmp_path: Path) -> None:
    names = [f"{c}/train/s{s}/{i}.npz" for c in ("a", "b") for s in range(5) for i in range(2)]
    found = splits(touch(tmp_path, *names, "a/test/s9/1.npz", "b/test/s9/1.npz"))
    people = {split: {name.split("/")[2] for name in files} for split, files in found.items()}
    assert [len(one) for one in people.values()] == [4, 1, 1]
    assert people["test"] == {"s9"}
    assert not people["train"] & people["valid"]


def test_recordings_have_the_sensor_that_their_events_need(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        for i in range(3):
            write_recording(tmp_path / name / f"{i}.npz", width=8 if name == "a" else 6 + i)
    touch(tmp_path, "a/readme.md")
    with caplog.at_level(logging.INFO):
        data = RecordingFolder(tmp_path)
    assert "sensor size 8 x 4" in caplog.text
    assert "1 files are skipped (1 .md)" in caplog.text
    assert (data.classes, data.sensor_size, data.polarities) == (["a", "b"], (8, 4), 2)
    assert data.found_options == {"sensor_size": [8, 4]}
    assert data[0].pos.shape == (20, 3)
    assert sorted(int(data[i].y) for i in range(len(data))) == [0, 1]
    recording, label = data.recording(0)
    assert (recording.x.dtype, label) == (np.int64, int(data[0].y))
    halved = RecordingFolder(tmp_path, most_pixels=4)
    assert halved.sensor_size == (4, 2)
    assert torch.equal(halved[0].pos[:, 1:], (data[0].pos[:, 1:] / 2).floor())
    with pytest.raises(ValueError, match="events must be on the sensor of size"):
        RecordingFolder(tmp_path, sensor_size=[4, 4])


def test_a_long_recording_becomes_windows_of_one_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            write_recording(tmp_path / name / f"{i}.npz", events=101, duration=1_000_000)
    parts = {
        split: RecordingFolder(tmp_path, split, window=250, hop=125)
        for split in ("train", "valid", "test")
    }
    files = [set(part.files) for part in parts.values()]
    assert sum(map(len, files)) == len(set.union(*files)) == 6
    train = parts["train"]
    assert len(train) == 2 * 8  # starts 0, 125, ..., 875 ms, the last one with the last event
    assert [len(train[i].pos) for i in range(8)] == [25, 25, 25, 25, 25, 25, 25, 13]
    assert all(float(train[i].pos[0, 0]) == 0 for i in range(8))
    assert len(RecordingFolder(tmp_path, window=250, hop=125, least_events=20)) == 2 * 7
    for options, words in (
        ({"hop": 3}, "hop needs a window"),
        ({"least_events": 5}, "least_events needs a window, got 5 and no window"),
        ({"window": 250, "least_events": 2.5}, "least_events must be an integer of at least 0"),
        ({"sensor_size": 8}, "sensor_size must have positive integers of pixels, got 8"),
        ({"sensor_size": [8, 4.5]}, "sensor_size must have positive integers"),
        ({"most_pixels": 2.5}, "most_pixels must be an integer of at least 1, got 2.5"),
        ({"sound": {"channels": 8}}, "sound is for WAV files, but .* has recordings of events"),
    ):
        with pytest.raises(ValueError, match=words):
            RecordingFolder(tmp_path, **options)


def test_windows_cover_a_recording_and_are_limited() -> None:
    t = np.array([500, 1500, 2499, 2500, 4500])
    windows = list(cut_windows(t, 1000, 1000))
    assert [(w.start, w.first, w.last) for w in windows] == [
        (0, 0, 1), (1, 1, 3), (2, 3, 4), (3, 4, 4), (4, 4, 5),
    ]  # fmt: skip
    assert [w.last for w in cut_windows(t, 10_000, 1000)] == [5]
    apart = list(cut_windows(t, 1000, 10_000))  # none begins after the last event
    assert [(w.start, w.first, w.last) for w in apart] == [(0, 0, 1)]
    assert list(cut_windows(t[:0], 1000, 1000)) == []
    assert check_window(2.5, None) == (2500, 2500)
    with pytest.raises(ValueError, match="at most 1,000,000 windows, got "):
        next(cut_windows(np.array([0, 2**60]), 1000, 1000))
    for length in (0.0, float("nan"), -3.0):
        with pytest.raises(ValueError, match="window must be a positive number"):
            check_window(length, None)


def test_sounds_are_recordings_of_channels(tmp_path: Path) -> None:
    wave = (8000 * np.sin(np.arange(800))).astype(np.int16)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            wavfile.write(tmp_path / name / f"{i}.wav", 8000, wave)
    data = RecordingFolder(tmp_path, sound={"channels": 16})
    assert (data.sensor_size, data.polarities) == ((16,), 1)
    assert data[0].pos.shape[1] == 2
    with pytest.raises(ValueError, match=r"sound: .*loud"):
        RecordingFolder(tmp_path, sound={"loud": 16})
    write_recording(tmp_path / "a" / "4.npz")
    with pytest.raises(ValueError, match="events or WAV files, got both"):
        RecordingFolder(tmp_path, valid_share=0, test_share=0)


def test_a_bad_recording_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            write_recording(tmp_path / name / f"{i}.npz")
    (tmp_path / "b" / "1.npz").write_bytes(b"PK rubbish")
    with pytest.raises(ValueError, match=r"b/1.npz"):
        RecordingFolder(tmp_path)


def test_clouds_keep_their_points_and_meshes_are_sampled_anew(tmp_path: Path) -> None:
    mesh = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"
    for i in range(3):
        touch(tmp_path, f"square/{i}.off", f"ball/{i}.npy")
        (tmp_path / "square" / f"{i}.off").write_text(mesh)
        np.save(tmp_path / "ball" / f"{i}.npy", np.random.default_rng(i).normal(size=(30, 3)))
    data = CloudFolder(tmp_path, points=50)
    assert data.classes == ["ball", "square"]
    ball, square = data[0], data[1]
    assert (len(ball.pos), len(square.pos), int(ball.y), int(square.y)) == (30, 50, 0, 1)
    assert torch.equal(data[0].pos, ball.pos)
    assert not torch.equal(data[1].pos, square.pos)
    assert float(square.pos.norm(dim=1).max()) == pytest.approx(1)


def test_links_are_followed(tmp_path: Path) -> None:
    names = [f"{c}/s{s}/0.npz" for c in ("a", "b") for s in range(3)]
    store = touch(tmp_path / "store", *names)
    for name in names:
        place = tmp_path / "data" / Path(name).parent
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(store / Path(name).parent)
    assert [str(f.path.relative_to(tmp_path / "data")) for f in
            list_files(tmp_path / "data", (".npz",))[1]] == names  # fmt: skip
    (tmp_path / "data/a/lost.npz").symlink_to(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match=r"lost\.npz"):
        RecordingFolder(tmp_path / "data", valid_share=0, test_share=0)
    (tmp_path / "data/a/loop").symlink_to(tmp_path / "data")
    with pytest.raises(ValueError, match="loop leads to a folder that it is in"):
        list_files(tmp_path / "data", (".npz",))


def test_a_folder_test_beside_classes_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "left/0.npz", "right/0.npz", "test/left/1.npz")
    with pytest.raises(ValueError, match=r"splits alone, or of classes alone, got \['test'\]"):
        list_files(tmp_path, (".npz",))


def test_options_of_other_kinds(tmp_path: Path) -> None:
    for index in range(3):
        write_recording(tmp_path / "a" / f"{index}.npz")
        write_recording(tmp_path / "b" / f"{index}.npz")
    for name in ("window", "valid_share", "test_share"):
        with pytest.raises(ValueError, match=f"{name} must be .*, got '5'"):
            RecordingFolder(tmp_path, **{name: "5"})
