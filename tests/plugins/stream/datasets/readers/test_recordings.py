"""Readers of event recordings: round trips and corrupt files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evenfall_stream.datasets.readers import (
    AEDAT2_CLOCK,
    DVS128_SIZE,
    NMNIST_CLOCK,
    Recording,
    check_recording,
    read_aedat2,
    read_nmnist,
    read_recording,
)

HEADER = b"#!AER-DAT2.0\r\n# a comment with # in it\r\n"


def recording(t, x=None, y=None, p=None) -> Recording:
    t = np.array(t, np.int64)
    fill = [np.zeros_like(t) if a is None else np.array(a, np.int64) for a in (x, y, p)]
    return Recording(t, *fill)


def nmnist_bytes(r: Recording) -> bytes:
    rows = [r.x, r.y, r.p << 7 | r.t >> 16, r.t >> 8 & 255, r.t & 255]
    return np.stack(rows, 1).astype(np.uint8).tobytes()


def aedat2_bytes(r: Recording) -> bytes:
    address = r.y << 8 | (127 - r.x) << 1 | (1 - r.p)
    return HEADER + np.stack([address, r.t], 1).astype(">u4").tobytes()


def same(a: Recording, b: Recording) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(np.array_equal(one, two) and one.dtype == np.int64 for one, two in pairs)


def events(width: int, height: int, clock: int):
    event = st.tuples(
        st.integers(0, clock - 1),
        st.integers(0, width - 1),
        st.integers(0, height - 1),
        st.integers(0, 1),
    )
    return st.lists(event, max_size=20).map(
        lambda rows: recording(*np.array(sorted(rows), np.int64).reshape(-1, 4).T)
    )


@given(events(34, 34, NMNIST_CLOCK))
def test_nmnist_round_trip(written: Recording) -> None:
    assert same(read_nmnist(nmnist_bytes(written)), written)


@given(events(128, 128, AEDAT2_CLOCK))
def test_aedat2_round_trip(written: Recording) -> None:
    assert same(read_aedat2(aedat2_bytes(written)), written)


def test_files_and_bytes_are_read_alike(tmp_path: Path) -> None:
    written = recording([1, 2], [3, 4], [5, 6], [0, 1])
    (tmp_path / "a.bs2").write_bytes(nmnist_bytes(written))
    (tmp_path / "a.aedat").write_bytes(aedat2_bytes(written))
    assert same(read_nmnist(tmp_path / "a.bs2"), written)
    assert same(read_aedat2(str(tmp_path / "a.aedat")), written)


def test_nmnist_overflow_markers_advance_the_clock() -> None:
    raw = nmnist_bytes(recording([10, 0, 20], [1, 0, 2], [1, 240, 2], [0, 0, 1]))
    read = read_nmnist(raw)
    assert read.t.tolist() == [10, 20 + 2**13]
    assert read.x.tolist() == [1, 2]
    assert read.p.tolist() == [0, 1]


def test_nmnist_cut_off_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "7.bs2"
    file.write_bytes(bytes(12))
    with pytest.raises(ValueError, match=r"7\.bs2 ends 2 bytes into event 2"):
        read_nmnist(file)


def test_aedat2_keeps_the_camera_s_conventions() -> None:
    # y = 3, x = 127 - 5, bit 0 set: OFF; then records that no pixel made (bits 15 and 31).
    words = [3 << 8 | 5 << 1 | 1, 100, 1 << 15, 101, 1 << 31, 102, 3 << 8 | 5 << 1, 103]
    read = read_aedat2(HEADER + np.array(words, ">u4").tobytes())
    assert [a.tolist() for a in read] == [[100, 103], [122, 122], [3, 3], [0, 1]]


def test_aedat2_refuses_what_it_cannot_read() -> None:
    whole = aedat2_bytes(recording([1, 2]))
    with pytest.raises(ValueError, match="5 bytes into event 1"):
        read_aedat2(whole[:-3])
    assert len(read_aedat2(whole[:-3], tolerate_truncation=True).t) == 1
    with pytest.raises(ValueError, match="source must start with #!AER-DAT"):
        read_aedat2(b"RIFF....")
    with pytest.raises(
        ValueError, match=r"source must have AEDAT version 2.0, got 3.1; read_recording"
    ):
        read_aedat2(b"#!AER-DAT3.1\r\n")
    with pytest.raises(ValueError, match="ends in its header"):
        read_aedat2(b"#!AER-DAT2.0")


@pytest.mark.parametrize("clock", [NMNIST_CLOCK, AEDAT2_CLOCK])
def test_a_clock_that_starts_again_is_continued(clock: int) -> None:
    true = np.array([clock - 5, clock - 1, clock, clock + 7, 2 * clock - 1, 2 * clock + 3])
    checked = check_recording(recording(true % clock), (1, 1), wrap=clock)
    assert checked.t.tolist() == true.tolist()


def test_times_that_run_backwards_are_named() -> None:
    with pytest.raises(ValueError, match="got 4 us after 9 us at event 2"):
        check_recording(recording([1, 9, 4, 3]), (1, 1))
    with pytest.raises(ValueError, match="got 4 us after 9 us at event 2"):
        check_recording(recording([1, 9, 4, 3]), (1, 1), wrap=1000)
    with pytest.raises(ValueError, match="between 0 and wrap - 1 = 99, got 100 at event 1"):
        check_recording(recording([1, 100]), (1, 1), wrap=100)


def test_events_outside_the_sensor_are_named_or_left_out() -> None:
    r = recording([1, 2, 3], [0, 34, 1], [0, 0, 33])
    with pytest.raises(ValueError, match=r"\(34, 34\), got x = 34, y = 0 at event 1"):
        check_recording(r, (34, 34))
    assert check_recording(r, (34, 34), outside="drop").t.tolist() == [1, 3]
    with pytest.raises(ValueError, match="one of raise, drop, got 'clip'"):
        check_recording(r, (34, 34), outside="clip")


def test_other_bad_recordings() -> None:
    with pytest.raises(ValueError, match="equal lengths, got 2 t, 1 x, 2 y, 2 p"):
        check_recording(recording([1, 2], x=[1]), (9, 9))
    with pytest.raises(TypeError, match="t must be integers, got float64"):
        check_recording(recording([1])._replace(t=np.array([1.0])), (9, 9))
    with pytest.raises(ValueError, match="p must be 0 or 1, got -1 at event 1"):
        check_recording(recording([1, 2], p=[0, -1]), (9, 9))
    with pytest.raises(ValueError, match="must have 2 entries"):
        check_recording(recording([1]), (9,))
    with pytest.raises(ValueError, match=r"shape \(events,\), got \(1, 1\)"):
        check_recording(recording([1])._replace(t=np.zeros((1, 1), np.int64)), (9, 9))


@pytest.mark.parametrize("count", [0, 1])
def test_empty_recordings_and_single_events(count: int) -> None:
    data = check_recording(recording([7] * count), DVS128_SIZE, wrap=AEDAT2_CLOCK).to_data(3)
    assert data.x.shape == (count, 1)
    assert data.pos.shape == (count, 3)
    assert data.pos.tolist() == [[0.0] * 3] * count
    assert data.y.tolist() == [3]
    assert data.pos.dtype == data.x.dtype == torch.float32
    assert data.y.dtype == torch.int64


def test_to_data_counts_milliseconds_from_the_first_event() -> None:
    # Absolute stamps of 2**40 us would not survive float32.
    data = recording([2**40, 2**40 + 1500], [3, 4], [5, 6], [1, 0]).to_data()
    assert data.pos.tolist() == [[0, 3, 5], [1.5, 4, 6]]
    assert data.x.tolist() == [[1], [0]]
    assert "y" not in data


def test_channels_have_one_coordinate() -> None:
    audio = recording([0, 1000], [699, 0])._replace(y=None)
    assert check_recording(audio, (700,)).to_data(1).pos.tolist() == [[0, 699], [1, 0]]


def test_long_recordings_keep_their_microseconds() -> None:
    # 16.384 s on, float32 milliseconds are two microseconds apart.
    base = 2**40
    for span, dtype in ((16_383_998, torch.float32), (16_384_000, torch.float64)):
        t = [base, base + span, base + span + 1]
        data = recording(t[:-1] if dtype == torch.float32 else t).to_data()
        assert data.pos.dtype == dtype
        assert data.x.dtype == torch.float32
    assert torch.equal(data.pos[:, 0], torch.tensor([0, 16_384.0, 16_384.001], dtype=dtype))
    near = recording([base, base + 16_383_998, base + 16_383_999]).to_data().pos[:, 0]
    assert near.dtype == torch.float32
    assert near[1] < near[2]


def test_readers_need_numpy_alone() -> None:
    code = """
import sys
for name in ("torch", "torch_geometric", "numba", "evenfall_kernels"):
    sys.modules[name] = None
from evenfall_stream.datasets import readers
print(readers.read_nmnist(bytes([3, 4, 128, 0, 100])).t.tolist(), len(readers.__all__))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "[100]"


def test_a_recording_s_file_as_arrays(tmp_path: Path) -> None:
    written = recording([1, 2], [3, 4], [5, 6], [0, 1])
    (tmp_path / "a.bs2").write_bytes(nmnist_bytes(written))
    assert same(read_recording(tmp_path / "a.bs2", (34, 34)), written)
    with pytest.raises(ValueError, match=r"a\.bs2: events must be on the sensor"):
        read_recording(tmp_path / "a.bs2", (4, 4))
    np.savez(tmp_path / "b.npz", t=[0.5, 1.5], x=[1, 1.5], y=[1, 1], p=[0, 1])
    with pytest.raises(ValueError, match=r"b\.npz cannot be read: 'x' must be whole numbers"):
        read_recording(tmp_path / "b.npz", (4, 4))
