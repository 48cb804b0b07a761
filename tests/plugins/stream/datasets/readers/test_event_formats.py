"""Event recordings in the formats of cameras and programs: known events, written by hand."""

from __future__ import annotations

import base64
import random
import struct
import sys
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch_geometric")

from evenfall.testing.damage import fuzz_cases
from evenfall_stream.datasets.readers import Recording
from evenfall_stream.datasets.readers.columns import make_recording
from evenfall_stream.datasets.readers.prophesee import read_dat, read_raw
from evenfall_stream.datasets.readers.recording_files import open_recording, read_recording

EVENTS = [(1000, 0, 0, 1), (1500, 7, 5, 0), (1500, 3, 2, 1), (90_000, 1, 4, 0)]
"""(time in us, x, y, polarity) on 8 x 6 pixels."""
AEDAT4 = (
    b"c-oCqO-jQ+6n-_)YVfB>7cN}HQCw*gq!t%#v1-MlRnX!eg2ZOjK|2#BlY*|q6L=MG;6XfqxDzknOWI1U5j*gP_cG"
    b"s4=I71Ml*;>y8>Lz{V~-ir8o(3)RQ9&Y5Df#;pu;E(V+N4G7{z$fTC48^0C~4*HmUTP;03aju}RS|apbvhsmYxNE"
    b"f5i?3cnP@^c;0vAXdA!+R$FO{R?P!LnFAOlr(SXU4hg^!;{nx{fVjWJQVPiWc-R0cTTf;D@6WD7Lr{t?%Y;|8{E="
    b"ewC~lZ3NF_1yL65uQ&jdTxECldP;r8^NxAa>kqIdq)UQkCshEwe2fh*w({+>+t(YRR%k-gIanYV#GAesT%ZIgtSb"
    b"?sqVR6@JTde0cW4wKKPmep6j4M)Hi8G5~o%~?s`eBJc)_)y*-D$*b&kFa~^%A@4PM){iX3=Q9`BMy?RHs%~U$!y*"
    b"G|q5NVT9)gFodn5<BT93mftk&nTxP(UI!<DBw+;f6g+D%5cSg2d13}05=iKbw(=pSAM+jM&01;ghjP0W(-CDH7O*"
    b"LGtfpZO#?$cF`pKL&29tUcX5lRb4`}sm@&$8;_9*"
)
"""EVENTS as DV's own library writes them: dv_processing 2.0.4, MonoCameraWriter, compressed."""


def events_of(recording: Recording) -> list[tuple[int, int, int, int]]:
    assert recording.y is not None
    columns = (recording.t, recording.x, recording.y, recording.p)
    return [(int(t), int(x), int(y), int(p)) for t, x, y, p in zip(*columns, strict=True)]


def evt2(events: list[tuple[int, int, int, int]]) -> bytes:
    words, high = [], None
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 28 | high & 0x0FFFFFFF)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    return struct.pack(f"<{len(words)}I", *words)


def evt3(events: list[tuple[int, int, int, int]]) -> bytes:
    words, high, low = [], None, None
    for t, x, y, p in events:
        if t >> 12 != high:
            high, low = t >> 12, None
            words.append(0x8000 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6000 | low)
        words += [y, 0x2000 | p << 11 | x]
    return struct.pack(f"<{len(words)}H", *words)


HEADERS = {
    "2": b"% date 2024-01-01 10:00:00\n% evt 2.0\n% geometry 8x6\n% end\n",
    "3": b"% camera_integrator_name Prophesee\n% format EVT3;height=6;width=8\n% end\n",
}


@pytest.mark.parametrize(("kind", "encode"), [("2", evt2), ("3", evt3)])
def test_raw_files(
    tmp_path: Path, kind: str, encode: Callable[[list[tuple[int, int, int, int]]], bytes]
) -> None:
    (tmp_path / "a.raw").write_bytes(HEADERS[kind] + encode(EVENTS))
    recording, size = open_recording(tmp_path / "a.raw")
    assert events_of(recording) == EVENTS
    assert size == (8, 6)
    late = [(t + (1 << 34) - 60_000, *rest) for t, *rest in EVENTS]  # both clocks wrap around
    recording, _ = read_raw(HEADERS[kind] + encode(late))
    assert np.diff(recording.t).tolist() == [500, 0, 88_500]


@pytest.mark.parametrize("kind", ["evt2", "evt3", "dat"])
def test_raw_and_dat_files_of_an_independent_writer(tmp_path: Path, kind: str) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    span = 4000 if kind == "evt3" else 40_000_000  # its EVT 3.0 has the higher time once
    generator = np.random.default_rng(0)
    count = 3000
    array = np.zeros(count, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "u1")])
    array["t"] = np.sort(generator.integers(0, span, count))
    array["x"], array["y"] = generator.integers(0, 1280, count), generator.integers(0, 720, count)
    array["p"] = generator.integers(0, 2, count)
    path = tmp_path / f"a.{'dat' if kind == 'dat' else 'raw'}"
    expelliarmus.Wizard(encoding=kind).save(path, array)
    recording = read_recording(path, (1280, 720))
    first = int(array["t"][0])
    assert (recording.t - recording.t[0]).tolist() == (array["t"] - first).tolist()
    for name in ("x", "y", "p"):
        assert getattr(recording, name).tolist() == array[name].tolist()


def test_vectors_of_evt3() -> None:
    words = [
        0x2005,  # before the first time
        0x8001, 0x6010, 0x0004,  # time 1 << 12 | 16, y 4
        0x3802, 0x4821, 0x5081,  # from x 2, ON: bits 0, 5 and 11; then 12 to the right, 0 and 7
        0x2007,  # a single event, OFF, x 7
        0x5003,  # vectors go on, 20 pixels to the right of their start
        0xA001, 0xE000, 0xF123, 0x7000,  # trigger, others, continued
        0x8001, 0x2809,  # the same higher time again keeps the lower one
        0x8002, 0x0803, 0x2001,  # a new one begins at 0; bit 11 of y is not part of it
    ]  # fmt: skip
    recording, size = read_raw(b"% evt 3.0\n" + struct.pack(f"<{len(words)}H", *words))
    t = 1 << 12 | 16
    assert size is None
    assert events_of(recording) == [
        *((t, x, 4, 1) for x in (2, 7, 13, 14, 21)), (t, 7, 4, 0), (t, 22, 4, 1), (t, 23, 4, 1),
        (t, 9, 4, 1), (2 << 12, 1, 3, 0),
    ]  # fmt: skip


def test_a_word_that_looks_like_text_is_an_event() -> None:
    words = struct.pack("<2I", 0x80000001, 0x00000025)  # its first byte is '%'
    shuffled = struct.pack("<2I", 0x80000025, 0x10000801)
    assert len(read_raw(b"% evt 2.0\n" + words)[0].t) == 1
    assert len(read_raw(b"% evt 2.0\n" + shuffled)[0].t) == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "must start with text lines"),
        (b"% date today\n\x00\x00", "'% evt 3.0' .* got none of them"),
        (b"% evt 2.1\n", "got 2.1"),
        (b"% format EVT21;height=6;width=8\n% end\n", "got EVT21"),
        (b"% evt 2.0\n\x00\x00\x00", "ends 3 bytes into a word of 4"),
        (b"% evt 3.0\n\x00\x10", "word 0 has the unknown type 0x1"),
        (b"% evt 3.0\n% geometry 0x6\n", "must be positive, got 0 x 6"),
        (b"% evt 3.0\n% geometry widexhigh\n", "must be two numbers, got wide and high"),
    ],
)
def test_raw_files_that_are_none(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "a.raw").write_bytes(raw)
    with pytest.raises(ValueError, match=rf"a.raw cannot be read: .*{words}"):
        open_recording(tmp_path / "a.raw")


def test_dat_files(tmp_path: Path) -> None:
    header = b"% Data file containing CD events.\n% Version 2\n% Height 6\n% Width 8\n"
    body = b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in EVENTS)
    (tmp_path / "a.dat").write_bytes(header + b"\x0c\x08" + body)
    recording, size = open_recording(tmp_path / "a.dat")
    assert (events_of(recording), size) == (EVENTS, (8, 6))
    for raw, words in (
        (header.replace(b"2", b"1") + b"\x0c\x08", "must have version 2, got 1"),
        (header + b"\x0c", "ends in its header"),
        (header + b"\x0d\x08", "type 0 or 12 and 8 bytes, got type 13"),
        (header + b"\x0c\x08" + body[:-3], "ends 5 bytes into a word of 8"),
    ):
        with pytest.raises(ValueError, match=words):
            read_dat(raw)


def aedat3(events: list[tuple[int, int, int, int]], overflow: int = 0, number: int = 0) -> bytes:
    """A packet of frames' headers that is skipped, then one of polarity events."""
    words = [(p << 1 | 1 | y << 2 | x << 17, t) for t, x, y, p in events]
    words.insert(1, (5 << 17, events[0][0]))  # not valid
    body = b"".join(struct.pack("<Ii", *word) for word in words)
    count = number or len(words)
    other = struct.pack("<hhiiiiii", 2, 1, 6, 0, 0, 2, 1, 1) + b"\xff" * 6
    return other + struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, count, count, 4) + body


TEXT3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-01-01 10:00:00 (TZ+0100)\r\n#!END-HEADER\r\n"
)


def test_aedat_3_files(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(TEXT3 + aedat3(EVENTS) + aedat3(EVENTS, overflow=1))
    recording, size = open_recording(path)
    assert size == (128, 128)
    assert events_of(recording) == [*EVENTS, *((t + 2**31, *rest) for t, *rest in EVENTS)]
    for raw, words in (
        (TEXT3.replace(b"3.1", b"3.0") + aedat3(EVENTS), "must have AEDAT version 3.1"),
        (TEXT3.replace(b"RAW", b"PNG") + aedat3(EVENTS), "must have the format RAW, got PNG"),
        (TEXT3 + aedat3(EVENTS)[:-2], "ends within the packet at byte"),
        (TEXT3 + aedat3(EVENTS, number=2**30), "ends within the packet"),
        (TEXT3 + aedat3(EVENTS) + b"abc", "ends within the header of the packet"),
    ):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=rf"a.aedat cannot be read: .*{words}"):
            open_recording(path)


def test_aedat_4_files(tmp_path: Path) -> None:
    pytest.importorskip("aedat")
    raw = zlib.decompress(base64.b85decode(AEDAT4))
    for name in ("a.aedat4", "a.aedat"):
        (tmp_path / name).write_bytes(raw)
        recording, size = open_recording(tmp_path / name)
        assert (events_of(recording), size) == (EVENTS, (8, 6))


@pytest.mark.parametrize("form", ["metavision", "dsec", "e2vid", "flat"])
def test_hdf5_files(tmp_path: Path, form: str) -> None:
    h5py = pytest.importorskip("h5py")
    t, x, y, p = np.array(EVENTS).T
    size: tuple[int, ...] = (8, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if form == "metavision":
            fields = [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")]
            file["CD/events"] = np.array([(b, c, d, a) for a, b, c, d in EVENTS], fields)
            file["CD/indexes"] = np.zeros(1, [("id", "i8"), ("ts", "i8")])
            file.attrs["geometry"] = "80x60"
            size = (80, 60)
        elif form == "dsec":
            for name, values in {"t": t.astype("u4"), "x": x, "y": y, "p": p.astype("u1")}.items():
                file[f"events/{name}"] = values
            file["ms_to_idx"] = np.zeros(3)
            file["t_offset"] = np.int64(10**15)
        elif form == "e2vid":
            for name, values in {"ts": t / 1e6, "xs": x, "ys": y, "ps": p == 1}.items():
                file[f"events/{name}"] = values
        else:
            for name, values in {"timestamp": t, "x": x, "y": y, "polarity": 2 * p - 1}.items():
                file[name] = values
    recording, found = open_recording(tmp_path / "a.h5")
    if form == "dsec":
        assert recording.t[0] == 10**15 + 1000
        recording = recording._replace(t=recording.t - 10**15)
    assert events_of(recording) == EVENTS
    assert found == size


def test_hdf5_files_that_are_none(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"a.h5 cannot be read: it must have events as t, x"):
        open_recording(path)
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(name, (2**40,), "u1", chunks=(1024,))  # declared, not written
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"a.h5 cannot be read: there must be at most .* events"):
        open_recording(path)


def test_text_files(tmp_path: Path) -> None:
    files = {
        "mvsec.txt": "\n".join(f"{a / 1e6:.6f} {b} {c} {d}" for a, b, c, d in EVENTS),
        "metavision.csv": "\n".join(f"{b},{c},{d},{a}" for a, b, c, d in EVENTS),
        "named.csv": "Timestamp,X,Y,Polarity\n"
        + "\n".join(f"{a},{b},{c},{2 * d - 1}" for a, b, c, d in EVENTS),
        "semicolons.txt": "# x;y;pol;t_ms\n"
        + "\n".join(f"{b};{c};{d};{a / 1e3}" for a, b, c, d in EVENTS),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8-sig" if name == "named.csv" else "utf-8")
        recording, size = open_recording(tmp_path / name)
        assert (events_of(recording), size) == (EVENTS, (8, 6)), name
    for text, words in (
        ("0 1 0 1\n1 2 1 1\n", "may be either t x y p or x y p t"),
        ("3 1 7 1\n1 2 8 0\n", "are neither t x y p or x y p t"),
        ("1 2 3\n", "must have 4 columns, got 3"),
        ("a,b,c,d\n1,2,3,4\n", "it must have events as t, x, y"),
        ("t,x,y,p,ts\n1,2,3,1,4\n", "'t' and 'ts' are both t"),
        ("t,x,y,p\n1,2,3\n", "there are 4 names, but 3 columns"),
        ("t,x,y,p\n1,2,3,x\n", "x"),
        ("t,x,y,p\n1,2.5,3,1\n", "'x' must be whole numbers, got 2.5 at event 0"),
        ("t,x,y,p\n1,2,3,5\n", "p must be 0 or 1, got 5"),
        ("t,x,y,p\n1,2,3,-1\n2,2,3,0\n", "must be 0 and 1, or -1 and 1, got -1 and 0"),
        ("t,x,y,p\n0.5,2,3,1\n1e6,2,3,0\n", "is too long for seconds: it spans .*; name it t_ms"),
    ):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(ValueError, match=rf"bad.txt.*{words}"):
            open_recording(tmp_path / "bad.txt")


def test_npz_files_under_other_names(tmp_path: Path) -> None:
    t, x, y, p = np.array(EVENTS).T
    for arrays in (
        {"timestamp": t, "x": x, "y": y, "polarity": p == 1},
        {"ts": t / 1e6, "xs": x.astype(float), "ys": y, "pol": 2 * p.astype("i1") - 1},
        {"t_ns": t * 1000, "x": x.astype("u2"), "y": y.astype("u2"), "p": p.astype("u1")},
        {"t": t.astype(float), "x": x, "y": y, "p": p, "label": np.array("cup")},
        {"event_data": np.array([(b, c, a, d) for a, b, c, d in EVENTS],
                                [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "?")])},
    ):  # fmt: skip
        np.savez(tmp_path / "a.npz", **arrays)
        assert events_of(open_recording(tmp_path / "a.npz")[0]) == EVENTS
    np.save(tmp_path / "a.npy", arrays["event_data"])
    assert events_of(open_recording(tmp_path / "a.npy")[0]) == EVENTS
    np.save(tmp_path / "b.npy", np.array(EVENTS))
    with pytest.raises(ValueError, match=r"b.npy cannot be read: .* must have fields t, x, y, p"):
        open_recording(tmp_path / "b.npy")


def test_numpy_files_that_ask_for_too_much_or_for_code(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([None, "code"], object), allow_pickle=True)
    with pytest.raises(ValueError, match="has Python objects, which are never loaded") as error:
        open_recording(tmp_path / "a.npy")
    assert "allow_pickle" not in str(error.value)
    np.savez(tmp_path / "a.npz", allow_pickle=True, t=np.array([None], object))
    with pytest.raises(ValueError, match="never loaded"):
        open_recording(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.zeros(3, [("t", "i8")]))
    raw = (tmp_path / "a.npy").read_bytes()
    for length in (b"(9999999999999,)", b"(1e9,)", b"(" * 20):
        (tmp_path / "b.npy").write_bytes(raw.replace(b"(3,)".ljust(len(length)), length))
        with pytest.raises(ValueError, match=r"b.npy cannot be read"):
            open_recording(tmp_path / "b.npy")


def test_no_columns_are_guessed() -> None:
    ones = np.ones(2, np.int64)
    with pytest.raises(ValueError, match="p may be named p, ps, pol"):
        make_recording({"t": ones, "x": ones})
    with pytest.raises(ValueError, match=r"'x' must be numbers of shape \(events,\)"):
        make_recording({"t": ones, "x": np.ones((2, 2)), "p": ones})
    with pytest.raises(ValueError, match="'t' must be finite, got inf at event 1"):
        make_recording({"t": np.array([0.0, np.inf]), "x": ones, "p": ones})
    assert make_recording({"time": ones, "channel": ones, "p": ones}).y is None


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    (tmp_path / "a.h5").touch()
    for name, module in (("a.aedat4", "aedat"), ("a.h5", "h5py")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=rf"{name} needs {module}; install the extra 'io'"):
            open_recording(tmp_path / name)


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    """Bytes changed, cut and inserted at random, of each format."""
    t, x, y, p = np.array(EVENTS).T
    np.savez_compressed(tmp_path / "a.npz", t=t, x=x, y=y, p=p)
    sources = {
        "raw": HEADERS["3"] + evt3(EVENTS), "dat": b"% Version 2\n\x0c\x08" + bytes(32),
        "aedat": TEXT3 + aedat3(EVENTS), "csv": b"t,x,y,p\n1,2,3,1\n4,2,3,0\n",
        "npz": (tmp_path / "a.npz").read_bytes(),
    }  # fmt: skip
    if find_spec("aedat") is not None:
        sources["aedat4"] = zlib.decompress(base64.b85decode(AEDAT4))
    generator = random.Random(0)
    for suffix, raw in sources.items():
        path = tmp_path / f"damaged.{suffix}"
        for _ in range(fuzz_cases(150)):
            damaged = bytearray(raw)
            for _ in range(generator.randint(1, 4)):
                at = generator.randrange(len(damaged))
                damaged[at] = generator.randrange(256)
            if generator.random() < 0.3:
                del damaged[generator.randrange(len(damaged)) :]
            path.write_bytes(damaged)
            error = error_of(path)
            assert error is None or path.name in error
            assert error is None or "allow_pickle" not in error


def error_of(path: Path) -> str | None:
    try:
        open_recording(path)
    except (ValueError, ImportError) as error:  # a damaged header may name another version
        return str(error)
    return None
