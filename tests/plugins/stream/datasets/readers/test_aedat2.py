"""AEDAT 2.0: the layout of every camera, records that are not pixel events, invalid files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenfall_stream.datasets.readers import (
    AEDAT2_CLOCK,
    Recording,
    check_recording,
    read_aedat2,
)
from evenfall_stream.datasets.readers.recording_files import open_recording

MAGIC = b"#!AER-DAT2.0\r\n"
END = b"#End Of ASCII Header\r\n"
SIZES = {"DAVIS240": (240, 180), "DAVIS346": (346, 260)}
DAVIS = [
    ("eu.seebetter.ini.chips.DAViS.DAViS240", "DAVIS240"),
    ("eu.seebetter.ini.chips.davis.DAVIS240A", "DAVIS240"),
    ("eu.seebetter.ini.chips.davis.DAVIS240B", "DAVIS240"),
    ("eu.seebetter.ini.chips.davis.DAVIS240C", "DAVIS240"),
    ("eu.seebetter.ini.chips.davis.Davis346blue", "DAVIS346"),
    ("eu.seebetter.ini.chips.davis.Davis346red", "DAVIS346"),
    ("eu.seebetter.ini.chips.davis.Davis346cBSI", "DAVIS346"),
]
DVS128 = b"# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"


def chip(name: str) -> bytes:
    return f"# AEChip: {name}\r\n".encode()


def words(*pairs: tuple[int, int]) -> bytes:
    return np.array(pairs, ">u4").tobytes()


def davis(x: int, y: int, p: int, width: int) -> int:
    return y << 22 | (width - 1 - x) << 12 | p << 11


def columns(events: Recording) -> list[list[int]]:
    return [a.tolist() for a in events]


@pytest.mark.parametrize(("name", "kind"), DAVIS)
def test_a_davis_file_gives_its_pixels_events_alone(name: str, kind: str) -> None:
    width, height = SIZES[kind]
    frame = 1 << 31 | 3 << 22 | 4 << 12 | 1 << 10 | 500  # a sample of a frame: signal read
    reset = 1 << 31 | 3 << 22 | 4 << 12 | 500
    inertial = 1 << 31 | 2 << 28 | 1234 << 12 | 3 << 10
    outside, outside_too = 1 << 10 | 2, 3 << 10  # a signal on the input pin
    body = words(
        (davis(0, 0, 1, width), 10), (frame, 11), (davis(width - 1, height - 1, 0, width), 12),
        (reset, 13), (inertial, 14), (outside, 15), (outside_too, 16), (davis(7, 5, 1, width), 17),
    )  # fmt: skip
    read = read_aedat2(MAGIC + chip(name) + END + body)
    assert columns(read) == [[10, 12, 17], [0, width - 1, 7], [0, height - 1, 5], [1, 0, 1]]
    assert all(a.dtype == np.int64 for a in read)
    assert columns(check_recording(read, (width, height), wrap=AEDAT2_CLOCK)) == columns(read)


@given(
    st.sampled_from(sorted(SIZES)),
    st.lists(
        st.tuples(
            st.integers(0, AEDAT2_CLOCK - 1), st.floats(0, 0.999), st.floats(0, 0.999),
            st.integers(0, 1),
        ),
        max_size=20,
    ),
)  # fmt: skip
def test_davis_round_trip(kind: str, samples: list[tuple[int, float, float, int]]) -> None:
    width, height = SIZES[kind]
    rows = [(t, int(x * width), int(y * height), p) for t, x, y, p in sorted(samples)]
    body = words(*((davis(x, y, p, width), t) for t, x, y, p in rows))
    name = "DAVIS240C" if kind == "DAVIS240" else "Davis346B"
    read = read_aedat2(MAGIC + chip(name) + END + body)
    assert [tuple(row) for row in np.stack(read, 1).tolist()] == rows


# y = 140 = 0x23 << 2, so that the first byte of the address is '#'.
HASH = davis(2, 140, 1, 240)


@pytest.mark.parametrize("end", [END, b"# End of ASCII Header\r\n", b""])
@pytest.mark.parametrize("later", [0, 1, 0x0A0A0A0A])
def test_an_event_that_starts_with_a_hash_is_no_header(end: bytes, later: int) -> None:
    assert words((HASH, later))[:1] == b"#"
    body = words((HASH, later), (HASH, later + 5))
    read = read_aedat2(MAGIC + chip("DAVIS240C") + end + body)
    assert columns(read) == [[later, later + 5], [2, 2], [140, 140], [1, 1]]
    if end:  # even where its bytes could be text
        body = words((HASH, 0x41414141), (HASH, 0x4142430A))
        read = read_aedat2(MAGIC + chip("DAVIS240C") + end + body)
        assert read.t.tolist() == [0x41414141, 0x4142430A]


def test_headers_as_jaer_writes_them() -> None:
    lines = (
        b"# This is a raw AE data file - do not edit\r\n# created Thu Dec 03 2015\r\n"
        b"# Hostname: z\xc3\xbcrich\r\n" + chip("DAVIS240C") +
        b"#Start of Preferences for this AEChip\r\n#<entry key=\"a\"\tvalue=\"b\"/>\r\n"
        b"#End of Preferences for this AEChip\r\n"
    )  # fmt: skip
    event = words((davis(1, 2, 0, 240), 3))
    for end in (b"", END):
        for text in (MAGIC + lines + end, (MAGIC + lines + end).replace(b"\r\n", b"\n")):
            assert columns(read_aedat2(text + event)) == [[3], [1], [2], [0]]
    assert columns(read_aedat2(MAGIC + lines)) == [[], [], [], []]


def test_a_dvs128_is_named_or_known_by_its_addresses() -> None:
    body = words((3 << 8 | 5 << 1 | 1, 100), (1 << 15, 101), (1 << 31, 102), (127 << 8, 103))
    expected = [[100, 103], [122, 127], [3, 127], [0, 1]]
    for header in (DVS128, chip("Tmpdiff128"), b""):
        assert columns(read_aedat2(MAGIC + header + END + body)) == expected
    assert columns(read_aedat2(MAGIC + chip("Mine") + body, chip="DVS128")) == expected


@pytest.mark.parametrize("address", [davis(120, 90, 1, 240), 1 << 31 | 9 << 22 | 500])
def test_addresses_of_another_camera_are_refused(tmp_path: Path, address: int) -> None:
    body = words((3 << 8, 99), (address, 100))
    file = tmp_path / "a.aedat"
    file.write_bytes(MAGIC + END + body)
    with pytest.raises(
        ValueError, match=f"a.aedat has no AEChip .*event 1 .*{address:#010x}.*pass chip"
    ):
        read_aedat2(file)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("DVS128", davis(120, 90, 1, 240)),
        ("DAVIS240C", davis(0, 90, 1, 346)),  # column 345 from the right
        ("DAVIS240C", 200 << 22),
        ("DAVIS240C", 1023 << 12),
    ],
)
def test_a_file_that_belies_its_camera_is_refused(name: str, address: int) -> None:
    with pytest.raises(
        ValueError,
        match=f"is not a recording of a D.* the event at 7 us has the address {address:#010x}",
    ):
        read_aedat2(MAGIC + chip(name) + END + words((address, 7)))


@pytest.mark.parametrize(
    "name", ["eu.seebetter.ini.chips.davis.Davis640", "DAVI346", "Davis346redColor", "Das1"]
)
def test_an_unknown_camera_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"AEChip of source must be one of dvs128, .* {name!r}"):
        read_aedat2(MAGIC + chip(name) + END + words((0, 1)))
    with pytest.raises(ValueError, match=f"chip must be one of dvs128, .*, got {name!r}"):
        read_aedat2(MAGIC + END, chip=name)


def test_two_cameras_and_cut_headers_are_refused() -> None:
    with pytest.raises(ValueError, match="must have one AEChip, got DAVIS240C, DVS128"):
        read_aedat2(MAGIC + chip("DVS128") + chip("DAVIS240C") + END)
    for cut in (b"#!AER-DAT2.0", MAGIC + b"# AEChip: DAVIS240C", MAGIC + b"#1234567"):
        with pytest.raises(ValueError, match="ends in its header"):
            read_aedat2(cut)


def test_the_camera_gives_the_size_of_the_sensor(tmp_path: Path) -> None:
    event = words((3 << 8 | (127 - 5) << 1, 9))
    davis_event = words((davis(5, 3, 1, 240), 9))
    for contents, size in (
        (MAGIC + DVS128 + END + event, (128, 128)),
        (MAGIC + END + event, (128, 128)),
        (MAGIC + chip("DAVIS240C") + END + davis_event, (240, 180)),
    ):
        (tmp_path / "a.aedat").write_bytes(contents)
        recording, found = open_recording(tmp_path / "a.aedat")
        assert found == size
        assert (recording.x.tolist(), recording.y.tolist()) == ([5], [3])
