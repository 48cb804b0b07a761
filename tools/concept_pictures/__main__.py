"""The pictures of docs/concepts.md, for the light and the dark scheme.

python tools/concept_pictures
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from machines import blocks, chip
from matrices import sparsities
from signals import events, steps
from svg import THEMES, Drawing, Theme

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images" / "concepts"
PICTURES: dict[str, Callable[[Theme], Drawing]] = {
    "events": events,
    "steps": steps,
    "sparsities": sparsities,
    "chip": chip,
    "blocks": blocks,
}


def draw() -> dict[str, str]:
    """File name -> SVG."""
    return {
        f"{name}-{scheme}.svg": picture(theme).svg()
        for name, picture in PICTURES.items()
        for scheme, theme in THEMES.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in draw().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
