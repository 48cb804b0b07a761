"""The picture of docs/stream.md: drawn from the layer, and small enough to commit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

SCRIPT = Path(__file__).with_name("influence_picture.py")
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("influence_picture", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_is_drawn_as_the_committed_one(script: ModuleType, tmp_path: Path) -> None:
    drawn = script.draw(tmp_path / "influence.png", points=200)
    with Image.open(drawn) as new, Image.open(script.PICTURE) as old:
        assert new.size == old.size
        assert len(new.convert("RGB").getcolors(1 << 16)) > 50
    assert script.PICTURE.stat().st_size <= MOST_BYTES


def test_knot_fills_the_unit_sphere_alike_each_time(script: ModuleType) -> None:
    pos = script.knot(100)
    assert torch.equal(pos, script.knot(100))
    torch.testing.assert_close(pos.norm(dim=1).max(), torch.tensor(1.0, dtype=pos.dtype))
    torch.testing.assert_close(pos.mean(0), pos.new_zeros(3))
