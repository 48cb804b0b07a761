"""A small drawing in SVG, in the colours of the site's light or dark scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

Point = tuple[float, float]


@dataclass(frozen=True)
class Theme:
    """The colours of a scheme: Okabe and Ito's, lighter on the dark one. The ground is clear."""

    text: str
    faint: str
    panel: str
    line: str
    blue: str
    orange: str
    green: str
    amber: str


THEMES = {
    "light": Theme(
        "#2b2960", "#77778c", "#efeef6", "#c4c3d4", "#0072B2", "#D55E00", "#009E73", "#E69F00"
    ),
    "dark": Theme(
        "#e4e3f2", "#a3a3ba", "#2b2d3c", "#55566c", "#56B4E9", "#F0854A", "#35C49A", "#F6B05E"
    ),
}


@dataclass
class Drawing:
    """Shapes on a canvas, in the order in which they are drawn. Angles and places in pixels."""

    width: float
    height: float
    title: str
    theme: Theme
    parts: list[str] = field(default_factory=list)

    def rect(self, x: float, y: float, width: float, height: float, fill: str, **more: str) -> None:
        """A box with slightly round corners."""
        self._add("rect", x=x, y=y, width=width, height=height, fill=fill, **{"rx": "2", **more})

    def circle(self, x: float, y: float, r: float, fill: str, **more: str) -> None:
        """A disc."""
        self._add("circle", cx=x, cy=y, r=r, fill=fill, **more)

    def line(self, points: Sequence[Point], colour: str, width: float = 1.5, **more: str) -> None:
        """A line through points; `marker_end` names an arrow's head."""
        path = "M" + " L".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self.path(path, colour, width, **more)

    def path(self, path: str, colour: str, width: float = 1.5, **more: str) -> None:
        """A path of SVG."""
        self._add("path", d=path, fill="none", stroke=colour, stroke_width=width, **more)

    def arrow(self, points: Sequence[Point], colour: str, width: float = 2, **more: str) -> None:
        """A line that ends in a head."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        along = ((x1 - x0) / length, (y1 - y0) / length)
        head = 4 + 2 * width
        base = (x1 - head * along[0], y1 - head * along[1])
        aside = (-along[1] * head / 2, along[0] * head / 2)
        corners = [
            (x1, y1),
            (base[0] + aside[0], base[1] + aside[1]),
            (base[0] - aside[0], base[1] - aside[1]),
        ]
        self.line([*points[:-1], base], colour, width, **more)
        self._add(
            "polygon",
            points=" ".join(f"{_number(x)},{_number(y)}" for x, y in corners),
            fill=colour,
        )

    def text(
        self, x: float, y: float, text: str, colour: str = "", size: float = 15, **more: str
    ) -> None:
        """A line of text; `text_anchor` is start, middle or end."""
        shape = f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}"'
        attributes = {"fill": colour or self.theme.text, **more}
        self.parts.append(f"{shape}{_attributes(attributes)}>{escape(text)}</text>")

    def svg(self) -> str:
        """The file."""
        size = f"{_number(self.width)} {_number(self.height)}"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img"'
        head += ' font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif">'
        return (
            "\n".join([head, f"<title>{escape(self.title)}</title>", *self.parts, "</svg>"]) + "\n"
        )

    def _add(self, shape: str, **attributes: object) -> None:
        self.parts.append(f"<{shape}{_attributes(attributes)}/>")


def _attributes(attributes: dict[str, object] | dict[str, str]) -> str:
    pairs = (
        (name.replace("_", "-"), _number(value) if isinstance(value, int | float) else value)
        for name, value in attributes.items()
    )
    return "".join(f' {name}="{value}"' for name, value in pairs)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
