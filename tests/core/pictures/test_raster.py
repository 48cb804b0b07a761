"""The raster shows the events and refuses wrong arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from evenfall.pictures import draw_raster


def _events(steps: int, *units: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(steps, n, generator=generator) < 0.2).float() for n in units]


def test_draws_a_picture_and_returns_its_path(tmp_path: Path) -> None:
    path = tmp_path / "new" / "raster.png"
    words = [f"w{i}" for i in range(12)]
    assert draw_raster(_events(12, 40, 300), path, words=words, title="t") == path
    pixels = imread(path)
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 600
    assert [p.name for p in path.parent.iterdir()] == ["raster.png"]


def test_more_events_give_more_ink(tmp_path: Path) -> None:
    def blue(share: float) -> float:
        events = [np.repeat(np.arange(50) < 50 * share, 10).reshape(50, 10)]
        pixels = imread(draw_raster(events, tmp_path / f"{share}.png"))[..., :3]
        colour = np.array([0x00, 0x72, 0xB2]) / 255
        return float((np.abs(pixels - colour) < 0.02).all(-1).mean())

    assert blue(0.0) < blue(0.2) < blue(0.8)


def test_is_the_same_for_the_same_events(tmp_path: Path) -> None:
    pictures = [draw_raster(_events(5, 8), tmp_path / f"{i}.png").read_bytes() for i in range(2)]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("events", "words", "message"),
    [
        ([], None, "not empty"),
        ([np.zeros((0, 3))], None, "not empty"),
        ([np.zeros(3)], None, "not empty"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], None, "equally many tokens in every layer"),
        ([np.zeros((2, 3))], ["one"], "words must be 2, one for each token, got 1"),
    ],
)
def test_refuses_wrong_events_and_words(
    events: list[np.ndarray], words: list[str] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_raster(events, tmp_path / "raster.png", words=words)
    assert list(tmp_path.iterdir()) == []
