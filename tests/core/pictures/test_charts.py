"""Charts of the classes are written, also where a class has no examples."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from evenfall.pictures import draw_classes, draw_confusion

RESULT = {
    "examples": 14,
    "accuracy": 12 / 14,
    "mean_class_accuracy": 0.85,
    "class_accuracy": {"chair": 5 / 6, "sofa": 7 / 8, "bed": None},
    "confusion": [[5, 1, 0], [0, 7, 1], [0, 0, 0]],
}


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_matrix_and_bars(tmp_path: Path) -> None:
    assert min(size(draw_confusion(RESULT, tmp_path / "a" / "confusion.png"))) > 300
    assert min(size(draw_classes(RESULT, tmp_path / "classes.png"))) > 200
    none = {**RESULT, "class_accuracy": dict.fromkeys(RESULT["class_accuracy"])}
    assert draw_classes(none, tmp_path / "none.png").is_file()


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'evenfall-core\[pictures\]'"):
        draw_classes(RESULT, tmp_path / "classes.png")
