"""The two sparsities of a matrix."""

from __future__ import annotations

import random

from svg import Drawing, Theme

INPUTS, OUTPUTS, BLOCK = 14, 16, 4
ACTIVE = (2, 7, 8, 12)
CELL = 10


def kept_blocks() -> set[tuple[int, int]]:
    """(input, block of outputs) of the weights that are not zero: one block of each input."""
    source = random.Random(4)
    return {(i, source.randrange(OUTPUTS // BLOCK)) for i in range(INPUTS)}


def sparsities(theme: Theme) -> Drawing:
    """All products, those of inputs that fired, and those of weights that are kept, too."""
    kept = kept_blocks()
    panels = (
        ("all", lambda i, b: True),
        ("inputs that fired", lambda i, b: i in ACTIVE),
        ("and kept weights", lambda i, b: i in ACTIVE and (i, b) in kept),
    )
    counts = [
        sum(BLOCK for i in range(INPUTS) for b in range(OUTPUTS // BLOCK) if needed(i, b))
        for _, needed in panels
    ]
    title = (
        f"Of {counts[0]} products, {counts[1]} have an input that fired, {counts[2]} also a weight"
    )
    drawing = Drawing(640, 236, title, theme)
    for number, ((label, needed), count) in enumerate(zip(panels, counts, strict=True)):
        x0, y0 = 26 + number * 216, 34
        drawing.text(x0 - 16, 18, label)
        for i in range(INPUTS):
            fired = i in ACTIVE
            y = y0 + i * (CELL + 2)
            colour = theme.orange if fired else theme.line
            drawing.circle(
                x0 - 12, y + CELL / 2, 4, colour if fired or number == 0 else theme.panel
            )
            for b in range(OUTPUTS // BLOCK):
                empty = number == 2 and (i, b) not in kept
                fill = theme.blue if needed(i, b) else "none" if empty else theme.line
                width = BLOCK * (CELL + 1)
                drawing.rect(x0 + b * width, y, width - 2, CELL, fill, stroke=theme.line)
        share = "" if number == 0 else f", {count / counts[0]:.0%}"
        drawing.text(x0 - 16, 226, f"{count} products{share}", theme.faint, 14)
    return drawing
