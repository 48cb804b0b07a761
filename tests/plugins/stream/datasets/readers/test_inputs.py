"""Files of clouds and recordings: supported formats and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from evenfall_stream.datasets.readers import read_recording
from evenfall_stream.datasets.readers.inputs import read_cloud
from evenfall_stream.datasets.readers.off import read_off

TETRAHEDRON = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]], float)
FACES = [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]


def write_off(path: Path) -> Path:
    rows = [*TETRAHEDRON.tolist(), *([3, *face] for face in FACES)]
    text = "\n".join(" ".join(map(str, row)) for row in rows)
    path.write_text(f"OFF\n4 4 0\n{text}\n")
    return path


def test_a_mesh_is_sampled_the_same_way_each_time(tmp_path: Path) -> None:
    path = write_off(tmp_path / "t.off")
    state = torch.get_rng_state()
    cloud = read_cloud(path, points=50)
    assert torch.equal(torch.get_rng_state(), state)
    assert cloud.pos.shape == (50, 3)
    assert cloud.pos.dtype == torch.float32
    assert float(cloud.pos.norm(dim=1).max()) == pytest.approx(1)
    assert torch.equal(read_cloud(path, points=50).pos, cloud.pos)
    assert not torch.equal(read_cloud(path, points=50, seed=1).pos, cloud.pos)


SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


@pytest.mark.parametrize(
    "text",
    [
        f"OFF\n4 2 0\n{SQUARE}3 0 1 2\n3 0 2 3\n",
        f"# a square\n\n  # of two\nOFF\n4 2 0\n{SQUARE}3 0 1 2\n3 0 2 3\n",
        f"OFF4 2 0\n{SQUARE}3 0 1 2\n3 0 2 3",
        f"OFF 4 2 0\r\n{SQUARE}3 0 1 2\n3 0 2 3".replace("\n", "\r\n"),
        f"OFF # a square\n\n# of two\n4 2\n{SQUARE}\n3 0 1 2 255 0 0\n3 0 2 3 # last\n",
        "COFF\n4 1 0\n" + SQUARE.replace("\n", " 0.5 0.5 0.5 1\n") + "4 0 1 2 3\n",
    ],
)
def test_every_way_to_write_a_square(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.off").write_text(text, newline="")
    mesh = read_off(tmp_path / "a.off")
    assert mesh.pos.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.face.t().tolist() == [[0, 1, 2], [0, 2, 3]]
    assert read_cloud(tmp_path / "a.off", 30).pos.shape == (30, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the header must be OFF"),
        ("OFF BINARY\n4 2 0\n", "the header must be OFF.* got 'OFF BINARY"),
        ("4OFF\n4 2 0\n", "the header must be OFF.* got '4OFF"),
        ("OFF\n4\n", "the numbers of vertices and faces must follow"),
        (f"OFF\n4 2 0\n{SQUARE}3 0 1 2\n", "4 vertices and 2 faces, one per line, got 5 lines"),
        (f"OFF\n-1 2 0\n{SQUARE}", "there must be -1 vertices"),
        (
            f"OFF\n4 1 0\n{SQUARE}3 0 1 4\n",
            "a missing vertex: corners must be between 0 and 3, got '3 0 1 4'",
        ),
        (f"OFF\n4 1 0\n{SQUARE}3 0 1\n", "as many corners as it says, got '3 0 1'"),
        (f"OFF\n5 0 0\n{SQUARE}2 1\n", "a vertex must have three coordinates, got '2 1'"),
        (f"OFF\n4 1 0\n{SQUARE}3 0 0 0\n", "has no faces with an area"),
    ],
)
def test_meshes_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.off").write_text(text)
    with pytest.raises(ValueError, match=f"a.off .*{words}"):
        read_cloud(tmp_path / "a.off")


def test_faces_of_fewer_than_three_corners_have_no_surface(tmp_path: Path) -> None:
    (tmp_path / "a.off").write_text(f"OFF\n4 2 0\n{SQUARE}2 0 1\n1 3\n")
    assert read_off(tmp_path / "a.off").face.shape == (3, 0)
    assert len(read_cloud(tmp_path / "a.off", 30).pos) == 4


@pytest.mark.parametrize("text", [True, False])
def test_ply_clouds_and_meshes(tmp_path: Path, text: bool) -> None:
    plyfile = pytest.importorskip("plyfile")
    vertex = np.array([tuple(p) for p in TETRAHEDRON], [(a, "f4") for a in "xyz"])
    face = np.array([(f,) for f in FACES], [("vertex_indices", "i4", (3,))])
    elements = [plyfile.PlyElement.describe(vertex, "vertex")]
    plyfile.PlyData(elements, text=text).write(str(tmp_path / "cloud.ply"))
    elements.append(plyfile.PlyElement.describe(face, "face"))
    plyfile.PlyData(elements, text=text).write(str(tmp_path / "mesh.ply"))
    assert read_cloud(tmp_path / "cloud.ply").pos.shape == (4, 3)
    mesh = read_cloud(tmp_path / "mesh.ply", points=40).pos
    off = read_cloud(write_off(tmp_path / "t.off"), points=40).pos
    torch.testing.assert_close(mesh, off)
    face["vertex_indices"][1] = [0, 1, 9]
    plyfile.PlyData(elements, text=text).write(str(tmp_path / "mesh.ply"))
    with pytest.raises(ValueError, match=r"mesh.ply has a face that refers to a missing vertex"):
        read_cloud(tmp_path / "mesh.ply")


def test_further_columns_are_left_out(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", np.hstack([TETRAHEDRON, np.ones((4, 3))]))
    np.save(tmp_path / "b.npy", TETRAHEDRON.astype(np.float32))
    assert torch.equal(read_cloud(tmp_path / "a.txt").pos, read_cloud(tmp_path / "b.npy").pos)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("a.npy", np.zeros((5, 2)), r"points must have shape \(N, 3 or more\), got \(5, 2\)"),
        ("a.npy", np.zeros((0, 3)), r"must have points \(N, 3\), got shape \(0, 3\)"),
        ("a.npy", np.full((5, 3), np.nan), "must have finite points, got NaN"),
        ("a.npy", np.array([None, "code"], object), "a.npy cannot be read"),
    ],
)
def test_clouds_that_are_none(tmp_path: Path, name: str, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / name, array, allow_pickle=True)
    with pytest.raises(ValueError, match=words):
        read_cloud(tmp_path / name)


@pytest.mark.parametrize("suffix", ["off", "ply", "npy", "npz", "xyz", "csv"])
def test_rubbish(tmp_path: Path, suffix: str) -> None:
    if suffix == "ply":
        pytest.importorskip("plyfile")
    path = tmp_path / f"a.{suffix}"
    path.write_text("rubbish, of words\n")
    with pytest.raises(ValueError, match=f"a.{suffix}"):
        read_cloud(path)


def test_which_array_is_ambiguous(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=TETRAHEDRON, two=TETRAHEDRON)
    with pytest.raises(ValueError, match=r"it must have an array pos or points, or a single one"):
        read_cloud(tmp_path / "a.npz")


def test_events(tmp_path: Path) -> None:
    t = np.array([5000, 6000, 9000])
    np.savez(tmp_path / "a.npz", t=t, x=[1, 2, 3], y=[0, 1, 0], p=[1, 0, 1])
    data = read_recording(tmp_path / "a.npz", (4, 2)).to_data()
    assert data.pos.tolist() == [[0, 1, 0], [1, 2, 1], [4, 3, 0]]
    assert data.x.tolist() == [[1], [0], [1]]
    np.savez(tmp_path / "b.npz", t=t, x=[1, 2, 699], p=[1, 1, 1])
    assert read_recording(tmp_path / "b.npz", (700,)).to_data().pos.shape == (3, 2)
    with pytest.raises(ValueError, match=r"b.npz: events must be on the sensor"):
        read_recording(tmp_path / "b.npz", (600,))
    (tmp_path / "c.bs2").write_bytes(bytes([3, 4, 0x80, 0, 100]))
    assert read_recording(tmp_path / "c.bs2", (34, 34)).to_data().pos.tolist() == [[0, 3, 4]]
    np.savez(tmp_path / "d.npz", t=t)
    with pytest.raises(ValueError, match=r"d.npz cannot be read"):
        read_recording(tmp_path / "d.npz", (34, 34))


def test_a_marked_overflow_may_pass_the_clock_s_period(tmp_path: Path) -> None:
    marker, event = bytes([0, 240, 0, 0, 0]), bytes([1, 2, 128, 0, 5])
    (tmp_path / "long.bin").write_bytes(event + marker * 1100 + event)
    time = read_recording(tmp_path / "long.bin", (34, 34)).to_data().pos[:, 0]
    assert time.tolist() == pytest.approx([0, 1100 * 8.192])


# A scan in UTM coordinates, metres; float32 keeps half a metre of the northing.
UTM = np.array([500_000.25, 5_400_000.75, 312.5])


@pytest.mark.parametrize("suffix", ["npy", "npz", "xyz", "csv", "off", "ply"])
def test_a_cloud_in_map_coordinates_keeps_its_shape(tmp_path: Path, suffix: str) -> None:
    near = np.random.default_rng(0).normal(size=(40, 3)).round(6)
    clouds = []
    for name, points in (("near", near), ("far", near + UTM)):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "npy":
            np.save(path, points)
        elif suffix == "npz":
            np.savez(path, points=points)
        elif suffix == "off":
            rows = [*points.tolist(), (3, 0, 1, 2), (3, 3, 4, 5)]
            text = "\n".join(" ".join(map(repr, row)) for row in rows)
            path.write_text(f"OFF\n40 2 0\n{text}\n")
        elif suffix == "ply":
            plyfile = pytest.importorskip("plyfile")
            vertex = np.array([tuple(p) for p in points], [(a, "f8") for a in "xyz"])
            plyfile.PlyData([plyfile.PlyElement.describe(vertex, "vertex")]).write(str(path))
        else:
            np.savetxt(path, points, delimiter="," if suffix == "csv" else " ", fmt="%.9f")
        clouds.append(read_cloud(path, points=60))
    assert clouds[1].pos.dtype == torch.float32
    torch.testing.assert_close(clouds[1].pos, clouds[0].pos, rtol=0, atol=2e-7)


def test_ply_faces_under_either_name(tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    vertex = np.array([tuple(p) for p in TETRAHEDRON], [(a, "f4") for a in "xyz"])
    clouds = []
    for name in ("vertex_indices", "vertex_index", "corners"):
        face = np.array([(f,) for f in FACES], [(name, "i4", (3,))])
        elements = [plyfile.PlyElement.describe(vertex, "vertex")]
        elements.append(plyfile.PlyElement.describe(face, "face"))
        plyfile.PlyData(elements).write(str(tmp_path / f"{name}.ply"))
        if name != "corners":
            clouds.append(read_cloud(tmp_path / f"{name}.ply", points=40).pos)
    assert torch.equal(*clouds)
    with pytest.raises(ValueError, match="faces must have one of the lists vertex_indices and"):
        read_cloud(tmp_path / "corners.ply")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.ones((5, 3), complex), "complex128"),
        (np.full((5, 3), "1.5"), "<U3"),
        (np.ones((5, 3), bool), "bool"),
    ],
)
def test_arrays_of_other_things_than_numbers(tmp_path: Path, array: np.ndarray, dtype: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=f"points must be real numbers, got {dtype}"):
        read_cloud(tmp_path / "a.npy")


def test_text_with_comments(tmp_path: Path) -> None:
    rows = "0 0 0\n1 0 0 # corner, the second\n\n0 1 0\n"
    (tmp_path / "a.xyz").write_text(f"# x, y, z\n{rows}")
    (tmp_path / "b.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n")
    assert torch.equal(read_cloud(tmp_path / "a.xyz").pos, read_cloud(tmp_path / "b.xyz").pos)
    (tmp_path / "c.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"c.txt must have points \(N, 3\)"):
        read_cloud(tmp_path / "c.txt")


def test_a_corrupt_archive_is_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", pos=np.random.default_rng(0).normal(size=(99, 3)))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[200:260] = bytes(60)
    (tmp_path / "a.npz").write_bytes(raw)
    for read in (read_cloud, lambda path: read_recording(path, (4, 4))):
        with pytest.raises(ValueError, match=r"a.npz"):
            read(tmp_path / "a.npz")


@pytest.mark.parametrize("names", [("point",), ("vertex", "tristrips")])
def test_ply_files_without_vertices_or_with_strips(tmp_path: Path, names: tuple[str, ...]) -> None:
    plyfile = pytest.importorskip("plyfile")
    rows = np.zeros(3, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    elements = [plyfile.PlyElement.describe(rows, name) for name in names]
    plyfile.PlyData(elements).write(str(tmp_path / "a.ply"))
    with pytest.raises(ValueError, match=r"must have the element vertex, .* got \['"):
        read_cloud(tmp_path / "a.ply")
