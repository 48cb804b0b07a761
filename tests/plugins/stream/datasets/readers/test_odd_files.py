"""Files with odd but legal contents are read as they are meant; others are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch_geometric")

from evenfall_stream.datasets.readers.inputs import read_shape
from evenfall_stream.datasets.readers.recording_files import open_recording
from evenfall_stream.datasets.sound import SoundToEvents, read_wav

VERTICES = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
OFF = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
EVENT = struct.pack("<II", 0x80000001, 1 << 28 | 5 << 22 | 100 << 11 | 50)
"""EVT 2.0: x = 100, y = 50, ON at 69 us."""


@pytest.mark.parametrize(
    "contents",
    [
        ("\ufeff" + VERTICES + "f 1 2 3\n").encode(),
        ("".join(f"  {line}\n" for line in VERTICES.splitlines()) + " f 1 2 3\n").encode(),
        (VERTICES + "f 1 2 3\n").replace(" ", "\t").encode(),
        (VERTICES + "f 1 2 3\n").replace("\n", "\r").encode(),
        b"# caf\xe9\n" + (VERTICES + "f 1 2 3\n").encode(),
        (VERTICES + "f 1 2 \\\n3\n").encode("utf-16"),
    ],
)
def test_objects(tmp_path: Path, contents: bytes) -> None:
    pytest.importorskip("trimesh")
    (tmp_path / "a.obj").write_bytes(contents)
    shape = read_shape(tmp_path / "a.obj")
    assert shape.pos.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert shape.face is not None
    assert sorted(shape.face.flatten().tolist()) == [0, 1, 2]


@pytest.mark.parametrize("face", ["f 0 1 2", "f 1 2 0", "f 1/1 0/1 2/1", "f 1 2 -0"])
def test_corners_of_objects_count_from_1(tmp_path: Path, face: str) -> None:
    pytest.importorskip("trimesh")
    (tmp_path / "a.obj").write_text(VERTICES + "f 1 2 3\n" + face)
    with pytest.raises(ValueError, match=f"a.obj.*corners of faces count from 1, got '{face}'"):
        read_shape(tmp_path / "a.obj")


def test_off_files(tmp_path: Path) -> None:
    file = tmp_path / "a.off"
    for contents in (("\ufeff" + OFF).encode(), OFF.encode("utf-16"), OFF.encode()):
        file.write_bytes(contents)
        assert read_shape(file).pos.shape == (3, 3)
    file.write_text(OFF.replace("3 0 1 2", "-3 0 1 2"))
    with pytest.raises(ValueError, match="as many corners as it says"):
        read_shape(file)


def test_comments_of_clouds(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for comments in (
        "# Point cloud data\n",
        "# made today\n# R G B X Y Z\n",
        "//R G B X Y Z\n# a\n",
    ):
        columns = "9 9 9 0 1 2" if "R G B" in comments else "0 1 2"
        file.write_text(f"{comments}{columns}\n# Z Y X\n")
        assert read_shape(file).pos.tolist() == [[0, 1, 2]]


def test_comments_of_events(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("# recorded by me today\n0.1 2 3 1\n0.2 2 4 0\n")
    assert open_recording(file)[0].y.tolist() == [3, 4]  # type: ignore[union-attr]
    file.write_text("# made by me\n# t_ms y x p\n1 2 3 1\n")
    recording, _ = open_recording(file)
    assert (recording.t.tolist(), recording.x.tolist()) == ([1000], [3])
    file.write_bytes("t,x,y,p\r\n1,2,3,1\r\n".encode("utf-16"))
    assert open_recording(file)[0].x.tolist() == [2]


def test_arrays_of_clouds_are_not_transposed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 1024)))
    with pytest.raises(ValueError, match=r"got \(3, 1024\): transpose it"):
        read_shape(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((3, 9)))
    assert read_shape(tmp_path / "a.npy").pos.shape == (3, 3)


def test_binary_clouds(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(np.array([[1, 2, 3, 0.5]] * 3, ">f4").tobytes())
    with pytest.raises(ValueError, match="beyond 10 km or tiny"):
        read_shape(file)
    pytest.importorskip("pypcd4")
    header = "VERSION 0.7\nFIELDS x y z i\nSIZE 4 4 4 1\nTYPE F F F U\nCOUNT 1 1 1 4\n"
    point = struct.pack("<fff4x", 1, 2, 3)
    for points, error in ((2, None), (1, "must have 1 points, got 2"), (3, "must have 3 points")):
        text = f"{header}WIDTH {points}\nHEIGHT 1\nPOINTS {points}\nDATA binary\n"
        (tmp_path / "a.pcd").write_bytes(text.encode() + 2 * point + b"\n" * (points == 2))
        if error is None:
            assert read_shape(tmp_path / "a.pcd").pos.tolist() == [[1, 2, 3]] * 2
            continue
        with pytest.raises(ValueError, match=error):
            read_shape(tmp_path / "a.pcd")


def test_headers_of_prophesee(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes("% owner Jörg\n% evt 2.0\n% geometry 640 x 480\n% end\n".encode() + EVENT)
    recording, size = open_recording(file)
    assert (recording.t.tolist(), recording.x.tolist(), size) == ([69], [100], (640, 480))
    file.write_bytes(b"% evt 3.0\n% format EVT2;width=640;height=480\n% end\n" + EVENT)
    with pytest.raises(ValueError, match=r"must state one format, got evt 3.0 and EVT2"):
        open_recording(file)


def test_offsets_in_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    file = tmp_path / "a.h5"
    seconds, whole = np.array([0, 0.25]), np.array([0, 250_000], np.uint32)
    for times, offset, place, found in (
        (whole, 5_000_000_000, "t_offset", [5_000_000_000, 5_000_250_000]),
        (whole, np.array([7]), "events/t_offset", [7, 250_007]),
        (seconds, 5, "t_offset", [5_000_000, 5_250_000]),
        (whole, 0.5, "t_offset", "t_offset must be one number of the kind of 't', uint32"),
        (whole, np.array([1, 2]), "t_offset", "t_offset must be one number"),
    ):
        with h5py.File(file, "w") as made:
            for name, values in (("t", times), ("x", [1, 2]), ("y", [1, 2]), ("p", [0, 1])):
                made[f"events/{name}"] = values
            made[place] = offset
        if isinstance(found, list):
            assert open_recording(file)[0].t.tolist() == found
            continue
        with pytest.raises(ValueError, match=found):
            open_recording(file)


def test_unfinished_sounds(tmp_path: Path) -> None:
    samples = np.arange(100, dtype="<i2").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 236, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16
    )
    assert len(read_wav(head + struct.pack("<4sI", b"data", 200) + samples)[1]) == 100
    with pytest.raises(ValueError, match="says that it has no samples, but 200 bytes follow"):
        read_wav(head + struct.pack("<4sI", b"data", 0) + samples)
    comment = struct.pack("<4sI4s", b"LIST", 4, b"data")
    short = head[:4] + struct.pack("<I", 48) + head[8:]
    assert len(read_wav(short + struct.pack("<4sI", b"data", 0) + comment)[1]) == 0
    with pytest.raises(ValueError, match="its length says it has no data"):
        read_wav(head[:4] + bytes(4) + head[8:] + struct.pack("<4sI", b"data", 200) + samples)
    with pytest.raises(ValueError, match="cannot be read as WAV"):  # no channels
        read_wav(head[:22] + bytes(2) + head[24:] + struct.pack("<4sI", b"data", 200) + samples)


@pytest.mark.parametrize("name", ["quietest", "smoothing", "span", "low", "recovery", "channels"])
def test_options_of_sound_are_finite_numbers(name: str) -> None:
    for value in (float("nan"), float("inf"), "8", True):
        with pytest.raises(ValueError, match=f"{name} must be"):
            SoundToEvents(8000, **{name: value})
