"""Synthetic rooms: a labelled data set that is made, not measured, to try segmentation with."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from evenfall.checks import check_choice, check_integer

COUNTS = {"train": 400, "valid": 80, "test": 200}
_NOISE = 0.01  # metres


class SyntheticRooms(Dataset):
    """Rooms of boxes as Data(pos=(P, 3) metres, y=(P,)), with classes floor, wall, table, chair.

    Each room has a floor, two to four walls, one or two tables (a top on four legs) and two to four
    chairs (a seat on four legs, and a back), of random sizes, places and headings, in a frame with
    a random heading. Points are drawn from the surfaces by area, furniture four times as densely,
    with 1 cm of noise. Room n of a split is always the same. Results on it say nothing about
    measured rooms.

    Args:
        path: not used; recipes name a folder.
        split: train, valid or test.
        points: P.
        count: number of rooms; None for 400, 80 and 200.
        transform: applied to each item on access.

    Raises:
        ValueError: unknown split, or points or count below 1.
    """

    classes = ("floor", "wall", "table", "chair")

    def __init__(
        self, path: str | Path, split: str = "train", points: int = 1024,
        count: int | None = None, transform: Callable[[Data], Data] | None = None,
    ) -> None:  # fmt: skip
        check_choice("split", split, COUNTS)
        count = COUNTS[split] if count is None else count
        check_integer("points", points, 1)
        check_integer("count", count, 1)
        super().__init__(None, transform)
        self.points, self.count = points, count
        self.seed = 1_000_000 * (1 + list(COUNTS).index(split))

    @property
    def num_classes(self) -> int:
        """Four."""
        return len(self.classes)

    def len(self) -> int:
        """Number of rooms."""
        return self.count

    def get(self, idx: int) -> Data:
        """The room before `transform`."""
        generator = torch.Generator().manual_seed(self.seed + idx)
        boxes = _room(generator)
        corners, sides, labels, heading, centre = (
            torch.stack(column) for column in zip(*boxes, strict=True)
        )
        density = 1.0 + 3.0 * (labels > 1)
        weight = (_areas(sides) * density[:, None]).flatten()
        face = torch.multinomial(weight, self.points, True, generator=generator)
        box, axis = face // 3, face % 3
        place = torch.rand(self.points, 3, generator=generator)
        side = torch.randint(2, (self.points,), generator=generator).float()
        place[torch.arange(self.points), axis] = side
        pos = corners[box] + place * sides[box]
        pos = _turn(pos - centre[box], heading[box]) + centre[box]
        pos = _turn(pos, 2 * math.pi * torch.rand(1, generator=generator))
        pos = pos + _NOISE * torch.randn(pos.shape, generator=generator)
        return Data(pos=pos, y=labels[box])


Box = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Lowest corner, sides, class, heading, and the point that it is turned about."""


def _room(generator: torch.Generator) -> list[Box]:
    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def many(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    width, length, height = between(3, 5), between(3, 5), between(2.2, 2.8)
    x, y = -width / 2, -length / 2
    parts = [((x, y, -0.05), (width, length, 0.05), 0)]
    walls = [
        ((x, y, 0), (0.1, length, height)), ((x, y, 0), (width, 0.1, height)),
        ((-x, y, 0), (0.1, length, height)), ((x, -y, 0), (width, 0.1, height)),
    ]  # fmt: skip
    parts += [(corner, sides, 1) for corner, sides in walls[: many(2, 4)]]
    boxes = [_box(corner, sides, label, 0.0, (0.0, 0.0)) for corner, sides, label in parts]
    furniture = [(2, many(1, 2)), (3, many(2, 4))]
    for label, count in furniture:
        for _ in range(count):
            at = (between(x + 0.8, -x - 0.8), between(y + 0.8, -y - 0.8))
            heading = between(0, 2 * math.pi)
            if label == 2:
                wide, deep, top = between(0.9, 1.6), between(0.6, 0.9), between(0.6, 0.8)
            else:
                wide, deep, top = between(0.4, 0.5), between(0.4, 0.5), between(0.4, 0.5)
            pieces = _on_legs(wide, deep, top)
            if label == 3:
                back = between(0.35, 0.55)
                pieces.append(((-wide / 2, deep / 2 - 0.05, top), (wide, 0.05, back)))
            for (a, b, c), sides in pieces:
                boxes.append(_box((a + at[0], b + at[1], c), sides, label, heading, at))
    return boxes


def _on_legs(
    wide: float, deep: float, top: float
) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """A plate on four legs, about the origin."""
    leg = 0.05
    places = [(a, b) for a in (-wide / 2, wide / 2 - leg) for b in (-deep / 2, deep / 2 - leg)]
    legs = [((a, b, 0.0), (leg, leg, top - leg)) for a, b in places]
    return [((-wide / 2, -deep / 2, top - leg), (wide, deep, leg)), *legs]


def _box(
    corner: tuple[float, ...], sides: tuple[float, ...], label: int, heading: float,
    about: tuple[float, float],
) -> Box:  # fmt: skip
    return (
        torch.tensor(corner), torch.tensor(sides), torch.tensor(label), torch.tensor(heading),
        torch.tensor([*about, 0.0]),
    )  # fmt: skip


def _areas(sides: Tensor) -> Tensor:
    """(N, 3): the area of the faces across each axis."""
    return sides.roll(-1, 1) * sides.roll(1, 1)


def _turn(pos: Tensor, angle: Tensor) -> Tensor:
    """(N, 3) points about the z axis."""
    x, y, z = pos.unbind(1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], 1)
