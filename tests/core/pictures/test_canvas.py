"""Figures are saved whole or not at all, and are the same each time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from evenfall.pictures import PALETTE, make_figure, palette_colour, save_figure


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf"])
def test_a_figure_is_saved_in_the_format_of_its_suffix(tmp_path: Path, name: str) -> None:
    figure = make_figure(2, 1)
    figure.add_subplot().plot([0, 1], color=palette_colour(0))
    assert save_figure(figure, tmp_path / "new" / name, dpi=50) == tmp_path / "new" / name
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_png_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    pictures = [save_figure(make_figure(1, 1), tmp_path / f"{i}.png") for i in range(2)]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert b"Software" not in pictures[0].read_bytes()


def test_colours_repeat_after_the_last() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 6
    assert palette_colour(7) == palette_colour(1) == PALETTE[1]


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'evenfall-core\[pictures\]'"):
        make_figure(1, 1)
