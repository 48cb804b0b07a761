"""docs/images/influence.png: what acts on one point of a knot, through two StreamConvs.

    python tests/benchmarks/influence_picture.py

The layers are drawn at random, not trained, and all points carry the same feature: what the picture
shows is the geometry of the layer.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from evenfall_stream import StreamConv
from evenfall_stream.nn.oracle import influence
from evenfall_stream.pictures import draw_influence
from evenfall_stream.transforms.normalize_sphere import unit_sphere

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "influence.png"
CHANNELS = 64
COLOURS = 256
LAYERS = {
    "one direction": {},
    "bidirectional": {"bidirectional": True},
}
LENGTH_SCALE = (0.1, 0.5)
TOWARDS = (0.9, -0.9, 0.8)
"""Where the chosen point lies: in front, as matplotlib looks at it, so that nothing hides it."""


def knot(points: int) -> Tensor:
    """(points, 3) on a thin tube along a trefoil knot, in the unit sphere."""
    place = torch.arange(points, dtype=torch.float64)
    angle = 2 * math.pi * place / points
    curve = [
        angle.sin() + 2 * (2 * angle).sin(),
        angle.cos() - 2 * (2 * angle).cos(),
        -(3 * angle).sin(),
    ]
    generator = torch.Generator().manual_seed(0)
    around = torch.randn(points, 3, generator=generator, dtype=torch.float64)
    return unit_sphere(torch.stack(curve, 1) + 0.25 * around / around.norm(dim=1, keepdim=True))


def draw(path: Path, points: int = 1500) -> Path:
    """Write the picture: the knot once for each of `LAYERS`, the chosen point marked."""
    pos = knot(points)
    point = int((pos @ pos.new_tensor(TOWARDS)).argmax())
    panels = {}
    for title, options in LAYERS.items():
        torch.manual_seed(0)
        conv = StreamConv(1, CHANNELS, length_scale=LENGTH_SCALE, **options).double()
        panels[title] = (influence(conv, pos.new_ones(points, 1), pos, None, point), point)
    draw_influence(pos, panels, path)
    with Image.open(path) as image:  # a palette, which is a quarter of the file
        small = image.convert("RGB").quantize(
            COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True)
    return path


if __name__ == "__main__":
    draw(PICTURE)
