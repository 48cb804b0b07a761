"""The chip, and training in blocks."""

from __future__ import annotations

from svg import Drawing, Theme

from evenfall_spinnaker2.chip import load_chip

LAYERS = (60, 23)
"""Processing elements of two layers."""
SENDER = 14
PE, GAP, QUAD = 13, 2, 35


def chip(theme: Theme) -> Drawing:
    """The processing elements at their places, an event on its way, and the memory of one."""
    layout = load_chip()
    drawing = Drawing(640, 300, "A chip of 152 processing elements, and the memory of one", theme)
    corners = [_corner(place) for place in layout.places]
    first, second = range(LAYERS[0]), range(LAYERS[0], sum(LAYERS))
    drawing.text(12, 20, f"{len(corners)} processing elements")
    for number, (x, y) in enumerate(corners):
        colour = theme.blue if number in first else theme.green if number in second else theme.line
        drawing.rect(x, y, PE, PE, colour, opacity="1" if number < sum(LAYERS) else "0.6")
    start = _middle(corners[SENDER])
    for number in (*first[::12], *second[::5]):
        if number != SENDER:
            x, y = _middle(corners[number])
            bend = ((start[0] + x) / 2, min(start[1], y) - 16)
            path = " ".join(f"{a:.0f},{b:.0f}" for a, b in (bend, (x, y)))
            drawing.path(
                f"M{start[0]:.0f},{start[1]:.0f} Q{path}", theme.orange, 1.4, opacity="0.85"
            )
            drawing.circle(x, y, 2.6, theme.orange)
    drawing.circle(*start, 5, theme.orange)
    for x, colour, label in ((12, theme.blue, "layer 1"), (84, theme.green, "layer 2")):
        drawing.rect(x, 274, PE, PE, colour)
        drawing.text(x + 18, 285, label, theme.faint, 13)
    drawing.circle(162, 280.5, 5, theme.orange)
    drawing.text(172, 285, "an event on its way", theme.faint, 13)

    left, top = 330, 34
    drawing.text(left, 20, f"One of them: {layout.sram_bytes // 1024} kB")
    parts = (
        ("program", layout.code_bytes, theme.line, theme.text),
        ("stack", layout.stack_bytes, theme.amber, theme.text),
        ("weights, state, queue", layout.data_bytes, theme.blue, theme.text),
    )
    y = top
    for name, size, colour, ink in parts:
        height = 190 * size / layout.sram_bytes
        drawing.rect(left, y, 90, height, colour)
        label = f"{name}, {size // 1024} kB"
        drawing.text(left + 100, y + max(height / 2, 4) + 5, label, ink, 14)
        y += height
    drawing.text(left, 254, "For each event in its queue, the program adds", theme.faint, 13)
    drawing.text(left, 272, "a row of weights. Then it computes its units.", theme.faint, 13)
    return drawing


def _corner(place: tuple[int, int, int]) -> tuple[float, float]:
    quad_x, quad_y, pe = place
    x = 12 + (quad_x - 1) * (QUAD + 6) + pe % 2 * (PE + GAP)
    return x, 34 + (6 - quad_y) * (QUAD + 3) + pe // 2 * (PE + GAP)


def _middle(corner: tuple[float, float]) -> tuple[float, float]:
    return corner[0] + PE / 2, corner[1] + PE / 2


def blocks(theme: Theme) -> Drawing:
    """The gradient through a whole model, and the gradients of blocks."""
    drawing = Drawing(
        640,
        330,
        "Backpropagation keeps all activations; block-local learning those of one block",
        theme,
    )
    boxes = [20 + 135 * number for number in range(4)]
    for local, top in ((False, 44), (True, 212)):
        label = (
            "Block-local learning: each block has a loss of its own"
            if local
            else "Backpropagation: one loss at the end"
        )
        drawing.text(12, top - 24, label)
        for number, x in enumerate(boxes):
            drawing.rect(x, top, 96, 48, theme.panel, stroke=theme.line, rx="6")
            drawing.text(x + 48, top + 29, f"block {number + 1}", text_anchor="middle")
            end = x + 133 if number < 3 else x + 124
            drawing.arrow([(x + 98, top + 17), (end, top + 17)], theme.blue)
            kept = not local or number == 1
            fill = theme.amber if kept else "none"
            drawing.rect(x, top + 58, 96, 12, fill, stroke=theme.amber if kept else theme.line)
            if local and number < 3:
                drawing.circle(x + 76, top - 11, 7, theme.orange)
                drawing.path(f"M{x + 68},{top - 11} H{x + 26} V{top - 1}", theme.orange, 2)
                drawing.arrow([(x + 26, top - 11), (x + 26, top)], theme.orange)
                drawing.line([(x + 116, top + 27), (x + 116, top + 44)], theme.faint, 2)
            elif not local:
                drawing.arrow([(end - 2, top + 34), (x + 98, top + 34)], theme.orange)
        x = boxes[3] + 136
        drawing.circle(x, top + 24, 9, theme.orange)
        drawing.text(x, top + 50, "loss", theme.faint, 13, text_anchor="middle")
        if local:
            drawing.arrow([(x - 10, top + 34), (boxes[3] + 98, top + 34)], theme.orange)
    drawing.text(12, 134, "activations kept until the gradient comes back: all", theme.faint, 13)
    drawing.text(12, 302, "those of one block at a time", theme.faint, 13)
    drawing.text(
        12, 322, "blue: activations   orange: gradients   | nothing comes back", theme.faint, 13
    )
    return drawing
