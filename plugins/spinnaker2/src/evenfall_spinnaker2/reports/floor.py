"""Pictures of the chip and the board, as SVG: floor plans and routing trees."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from evenfall_spinnaker2.image import Image
from evenfall_spinnaker2.mapping.route import DIRECTIONS

from .facts import PeFacts

_QUAD, _PE, _GAP = 58, 25, 3
_BLUES = ("#eaf1fb", "#c3d8f3", "#90b8e8", "#5a93d6", "#2f6dbb", "#16498c")


def shade(share: float) -> str:
    """A colour for a share from 0 to 1."""
    return _BLUES[min(int(max(share, 0.0) * len(_BLUES)), len(_BLUES) - 1)]


def legend(low: str, high: str) -> str:
    """The scale of colours with the values of its ends."""
    boxes = "".join(f'<i style="background:{colour}"></i>' for colour in _BLUES)
    return f'<p class="legend">{escape(low)} <span>{boxes}</span> {escape(high)}</p>'


def floor_plan(
    pes: list[PeFacts], chip: tuple[int, int], shares: Mapping[int, float],
    texts: Mapping[int, str], places: tuple[tuple[int, int, int], ...],
) -> str:  # fmt: skip
    """The processing elements of a chip at their coordinates.

    Args:
        pes: of all chips.
        chip: which one.
        shares: blob -> 0 to 1, its colour.
        texts: blob -> what its tooltip says.
        places: (quad x, quad y, number) of each processing element of a chip.
    """
    here = {one.pe: one for one in pes if one.chip == chip}
    cells = []
    for pe, place in enumerate(places):
        x, y = _corner(place)
        one = here.get(pe)
        if one is None:
            cells.append(f'<rect class="free" x="{x}" y="{y}" width="{_PE}" height="{_PE}"/>')
            continue
        label = escape(texts[one.number])
        number = one.population
        dark = shares[one.number] > 0.55
        cells.append(
            f'<g><title>{label}</title><rect x="{x}" y="{y}" width="{_PE}" height="{_PE}" '
            f'fill="{shade(shares[one.number])}"/><text class="{"on" if dark else "off"}" '
            f'x="{x + _PE / 2}" y="{y + _PE / 2 + 4}">{number}</text></g>'
        )
    return _svg(cells, places, f"floor plan of chip {chip}")


def tree_on_chip(
    image: Image, pes: list[PeFacts], population: int, places: tuple[tuple[int, int, int], ...],
    chip: tuple[int, int],
) -> str:  # fmt: skip
    """Which processing elements send the events of a population, and which receive them."""
    sends = {one.pe for one in pes if one.chip == chip and one.population == population}
    table, key = image.tables.get(chip), _first_key(image, population)
    receives = set(table.route(key)[1]) if table is not None else set()
    cells = []
    for pe, place in enumerate(places):
        x, y = _corner(place)
        kinds = ["sends"] if pe in sends else []
        kinds += ["receives"] if pe in receives else []
        text = f"PE {pe}: {' and '.join(kinds) or 'neither'}"
        cells.append(
            f'<g><title>{text}</title><rect class="{" ".join(kinds) or "free"}" x="{x}" y="{y}" '
            f'width="{_PE}" height="{_PE}"/></g>'
        )
    return _svg(cells, places, "senders and receivers")


def board_plan(
    image: Image, shares: Mapping[tuple[int, int], float], population: int | None = None
) -> str:
    """The chips of a board, coloured; with the multicast tree of a population."""
    chips = [(x, y) for x, y in image.manifest["chips"]]
    top = max(y for _, y in chips)
    size, step = 44, 58
    cells = []
    if population is not None:
        for (x, y), link in sorted(_links(image, population)):
            dx, dy = DIRECTIONS[link]
            ends = [(x, y), (x + dx, y + dy)]
            (x1, y1), (x2, y2) = (
                (12 + a * step + size / 2, 12 + (top - b) * step + size / 2) for a, b in ends
            )
            cells.append(f'<line class="link" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    for x, y in chips:
        left, upper = 12 + x * step, 12 + (top - y) * step
        share = shares.get((x, y))
        fill = "var(--free)" if share is None else shade(share)
        tone = "on" if share is not None and share > 0.55 else "off"
        cells.append(
            f'<rect x="{left}" y="{upper}" width="{size}" height="{size}" rx="4" fill="{fill}"/>'
            f'<text class="{tone}" x="{left + size / 2}" y="{upper + size / 2 + 4}">{x},{y}</text>'
        )
    width = 24 + (max(x for x, _ in chips) + 1) * step
    return _wrap(cells, width, 24 + (top + 1) * step, "the chips in use")


def _links(image: Image, population: int) -> set[tuple[tuple[int, int], int]]:
    """The (chip, link) pairs that events of a population take."""
    found: set[tuple[tuple[int, int], int]] = set()
    for row in image.manifest["pes"]:
        if row["population"] == population:
            waiting = [(row["chip"][0], row["chip"][1])]
            while waiting:
                chip = waiting.pop()
                for link in image.tables[chip].route(row["first_key"])[0]:
                    if (chip, link) not in found:
                        found.add((chip, link))
                        dx, dy = DIRECTIONS[link]
                        waiting.append((chip[0] + dx, chip[1] + dy))
    return found


def _first_key(image: Image, population: int) -> int:
    return int(image.manifest["populations"][population]["keys"][0][0])


def _corner(place: tuple[int, int, int]) -> tuple[int, int]:
    x, y, pe = place
    step = _PE + _GAP
    return (x - 1) * (_QUAD + 6) + (pe % 2) * step, (6 - y) * (_QUAD + 6) + (pe // 2) * step


def _svg(cells: list[str], places: Any, label: str) -> str:
    width = max(_corner(place)[0] for place in places) + _PE
    height = max(_corner(place)[1] for place in places) + _PE
    return _wrap(cells, width, height, label)


def _wrap(cells: list[str], width: float, height: float, label: str) -> str:
    return (
        f'<svg class="plan" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width} {height}">{"".join(cells)}</svg>'
    )
