"""Point clouds and meshes in the formats of scanners and programs."""

from __future__ import annotations

import random
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from evenfall.testing.damage import fuzz_cases
from evenfall_stream.datasets.readers.inputs import read_cloud, read_shape

POINTS = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 2.5], [1, 1, 1]], np.float64)


def points_of(path: Path) -> list[list[float]]:
    shape = read_shape(path)
    assert shape.face is None
    found: list[list[float]] = shape.pos.tolist()
    return found


def pcd(data: str, body: bytes, points: int = 5) -> bytes:
    head = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity\n"
        f"SIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {points}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
    )
    return head.encode() + body


def stored_lzf(raw: bytes) -> bytes:
    """LZF without compression: runs of at most 32 bytes, each after its length less 1."""
    runs = [raw[at : at + 32] for at in range(0, len(raw), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def test_pcd_files(tmp_path: Path) -> None:
    pytest.importorskip("pypcd4")
    table = np.hstack([POINTS, np.full((5, 1), 7)]).astype("<f4")
    columns = table.T.tobytes()
    packed = stored_lzf(columns)
    text = "\n".join(" ".join(map(str, row)) for row in table.tolist()) + "\n"
    for name, body in (
        ("ascii", text.encode()), ("binary", table.tobytes()),
        ("binary_compressed", struct.pack("<II", len(packed), len(columns)) + packed),
    ):  # fmt: skip
        (tmp_path / "a.pcd").write_bytes(pcd(name, body))
        assert points_of(tmp_path / "a.pcd") == POINTS.tolist(), name
    missing = np.vstack([table, np.full((1, 4), np.nan, "<f4")])
    (tmp_path / "a.pcd").write_bytes(pcd("binary", missing.tobytes(), points=6))
    assert len(points_of(tmp_path / "a.pcd")) == 5


def test_pcd_files_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("pypcd4")
    huge = struct.pack("<II", 4, 2**32 - 1) + b"\0\0\0\0"
    for raw, words in (
        (b"rubbish", "must have lines POINTS and DATA"),
        (pcd("binary", b"", points=10**15), "at most .* points, got 1,000,000,000,000,000"),
        (pcd("binary", b"\0" * 16, points=1000), "must have 1,000 points, but is too short"),
        (pcd("ascii", b"1 2 3 4\n5 6 7 8\n", points=5), "must have 5 points, got 2"),
        (pcd("binary_compressed", huge), "cannot have 4,294,967,295 bytes for 5 points"),
        (pcd("ascii", b"1 2 3 4\n").replace(b" x y", b" a y"), "fields must have x, y and z|short"),
    ):
        (tmp_path / "a.pcd").write_bytes(raw)
        with pytest.raises(ValueError, match=rf"a.pcd cannot be read: .*({words})"):
            read_shape(tmp_path / "a.pcd")


def las(points: np.ndarray, count: int | None = None) -> bytes:
    """LAS 1.2 with point format 0, scale 1 mm, moved by UTM-like offsets."""
    offset = (500_000.0, 5_400_000.0, 300.0)
    count = len(points) if count is None else count
    header = struct.pack(
        "<4sHHIHH8sBB32s32sHHHIIBHI5I", b"LASF", 0, 0, 0, 0, 0, b"", 1, 2, b"", b"", 1, 2024, 227,
        227, 0, 0, 20, count, count, 0, 0, 0, 0,
    )  # fmt: skip
    header += struct.pack("<12d", 0.001, 0.001, 0.001, *offset, 4, 0, 3, 0, 2.5, 0)
    whole = np.round(points * 1000).astype(int).tolist()
    return header + b"".join(struct.pack("<iiiHBBbBH", *row, 0, 0, 0, 0, 0, 0) for row in whole)


def test_las_files(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    (tmp_path / "a.las").write_bytes(las(POINTS))
    far = POINTS + np.array([500_000, 5_400_000, 300])
    np.testing.assert_allclose(points_of(tmp_path / "a.las"), far, atol=1e-9)
    if find_spec("lazrs") is not None:
        laspy.read(tmp_path / "a.las").write(tmp_path / "a.laz")
        np.testing.assert_allclose(points_of(tmp_path / "a.laz"), far, atol=1e-9)
    for raw, words in (
        (las(POINTS)[:-7], "a.las cannot be read"),
        (las(POINTS, count=10**6), "must have 1,000,000 points, but is too short"),
        (las(POINTS, count=2**32 - 1), "at most .* points, got 4,294,967,295"),
        (b"LASF", "a.las cannot be read"),
    ):
        (tmp_path / "a.las").write_bytes(raw)
        with pytest.raises(ValueError, match=words):
            read_shape(tmp_path / "a.las")


def test_scans_of_kitti_and_nuscenes(tmp_path: Path) -> None:
    four = np.hstack([POINTS, np.full((5, 1), 0.5)]).astype("<f4")
    (tmp_path / "0.bin").write_bytes(four.tobytes())
    assert points_of(tmp_path / "0.bin") == POINTS.tolist()
    five = np.hstack([four, np.arange(5)[:, None]]).astype("<f4")
    (tmp_path / "0.pcd.bin").write_bytes(five.tobytes())
    assert points_of(tmp_path / "0.pcd.bin") == POINTS.tolist()
    for raw, words in (
        (b"", "points of 16 bytes, got 0"),
        (four.tobytes()[:-2], "points of 16 bytes, got 78"),
        ((np.pi * np.arange(-8, 8)).tobytes(), "not a scan of float32 x, y, z, reflectance"),
        (np.full((1, 4), np.nan, "<f4").tobytes(), "not a scan"),
    ):
        (tmp_path / "0.bin").write_bytes(raw)
        with pytest.raises(ValueError, match=rf"0.bin cannot be read: .*{words}"):
            read_shape(tmp_path / "0.bin")


CORNERS = [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]


def test_obj_and_stl_meshes(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    vertices = "".join(f"v {x} {y} {z}\n" for x, y, z in POINTS[:4].tolist())
    faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in CORNERS)
    (tmp_path / "a.obj").write_text(f"mtllib ../secret.mtl\n{vertices}usemtl red\n{faces}")
    triangles = POINTS[np.array(CORNERS)]
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *t.ravel().tolist(), 0) for t in triangles)
    (tmp_path / "b.stl").write_bytes(b"binary".ljust(80) + struct.pack("<I", 4) + body)
    lines = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join(f"vertex {x} {y} {z}\n" for x, y, z in t.tolist())
        + "endloop\nendfacet\n"
        for t in triangles
    )
    (tmp_path / "c.stl").write_text(f"solid a\n{lines}endsolid a\n")
    for name in ("a.obj", "b.stl", "c.stl"):
        shape = read_shape(tmp_path / name)
        assert shape.face is not None
        corners = shape.pos[shape.face.T].numpy()
        np.testing.assert_allclose(corners, triangles, atol=1e-6)
        assert read_cloud(tmp_path / name, 40).pos.shape == (40, 3)
    (tmp_path / "square.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    square = read_shape(tmp_path / "square.obj")
    assert square.face is not None
    assert square.face.shape == (3, 2)
    (tmp_path / "cloud.obj").write_text(vertices)
    assert points_of(tmp_path / "cloud.obj") == POINTS[:4].tolist()


def test_meshes_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    for name, raw in (
        ("a.stl", b"binary".ljust(80) + struct.pack("<I", 2**32 - 1)),
        ("a.stl", b"rubbish"),
        ("a.obj", b"rubbish\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(ValueError, match=name):
            read_shape(tmp_path / name)


def test_text_clouds(tmp_path: Path) -> None:
    rows = POINTS.tolist()
    files = {
        "a.csv": "label,X,Y,Z\n" + "".join(f"3,{x},{y},{z}\n" for x, y, z in rows),
        "b.txt": "".join(f"{x};{y};{z};1\n" for x, y, z in rows),
        "c.txt": "//X Y Z R\n" + "".join(f"{x} {y} {z} 5\n" for x, y, z in rows),
        "d.csv": '"z","y","x"\n' + "".join(f"{z}, {y}, {x}\n" for x, y, z in rows),
        "e.xyz": "# a scan\n\n" + "".join(f"{x} {y} {z} # a point\n" for x, y, z in rows),
        "f.txt": "".join(f"{x}\t{y}\t{z}\r\n" for x, y, z in rows),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, newline="")
        assert points_of(tmp_path / name) == rows, name
    for text, words in (
        ("a,b,c\n1,2,3\n", r"must be named x, y and z, got \['a', 'b', 'c'\]"),
        ("x,y,z,x\n1,2,3,4\n", "must be named x, y and z"),
        ("x,y,z\n1,2\n", "there are 3 names, but 2 columns"),
        ("1 2\n3 4\n", "a line must have x, y and z, got 2 values"),
        ("1,2,3\n4,5\n", "a.csv cannot be read: the number of columns .* at row 2$"),
        ("1,2,x\n", "a.csv cannot be read"),
    ):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(ValueError, match=words):
            read_shape(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("suffix", "module"),
    [("pcd", "pypcd4"), ("las", "laspy"), ("laz", "laspy"), ("obj", "trimesh"), ("ply", "plyfile")],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, module: str
) -> None:
    (tmp_path / f"a.{suffix}").touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"a.{suffix} needs {module}.*the extra 'io'"):
        read_shape(tmp_path / f"a.{suffix}")


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    """Bytes changed and cut at random, of each format."""
    table = np.hstack([POINTS, np.zeros((5, 1))]).astype("<f4")
    ply = (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 5\nproperty double x\n"
        b"property double y\nproperty double z\nend_header\n" + POINTS.tobytes()
    )
    sources = {
        "pypcd4": ("pcd", pcd("binary", table.tobytes())), "laspy": ("las", las(POINTS)),
        "plyfile": ("ply", ply), "numpy": ("txt", b"x y z\n1 2 3\n4 5 6\n"),
        "trimesh": ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    }  # fmt: skip
    generator = random.Random(0)
    for module, (suffix, raw) in sources.items():
        if find_spec(module) is None:
            continue
        path = tmp_path / f"damaged.{suffix}"
        for _ in range(fuzz_cases(60)):
            damaged = bytearray(raw)
            for _ in range(generator.randint(1, 4)):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            if generator.random() < 0.3:
                del damaged[generator.randrange(len(damaged)) :]
            path.write_bytes(damaged)
            error = error_of(path)
            assert error is None or path.name in error


def error_of(path: Path) -> str | None:
    try:
        read_shape(path)
    except ValueError as error:
        return str(error)
    return None
