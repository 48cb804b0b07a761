"""Events of a unit, and the steps between them."""

from __future__ import annotations

import math
import random

from svg import Drawing, Theme

STEPS, THRESHOLD = 64, 0.5
LEFT, WIDTH = 12, 616


def unit() -> list[tuple[float, float]]:
    """(c, y) at each step of one EGRU unit: c = z h' + (1 - z) g, y = c where c > threshold."""
    rows, state, drive, source = [], 0.0, 0.0, random.Random(5)
    for _ in range(STEPS):
        drive = 0.8 * drive + 0.4 * source.gauss(0, 1)
        cell = 0.75 * state + 0.25 * math.tanh(1.4 * drive + 0.55)
        fired = cell > THRESHOLD
        rows.append((cell, cell if fired else 0.0))
        state = cell - THRESHOLD * fired
    return rows


def events(theme: Theme) -> Drawing:
    """The cell of a unit against its threshold, and what a GRU and an EGRU send of it."""
    rows = unit()
    count = sum(1 for _, sent in rows if sent)
    title = f"In {STEPS} steps a GRU sends {STEPS} values, an EGRU {count} events"
    drawing = Drawing(640, 330, title, theme)
    step = WIDTH / STEPS

    def place(index: int, cell: float) -> tuple[float, float]:
        return LEFT + (index + 0.5) * step, 112 - 100 * cell

    drawing.text(LEFT, 20, "The cell c of one unit, step by step")
    level = place(0, THRESHOLD)[1]
    drawing.line([(LEFT, level), (LEFT + WIDTH, level)], theme.faint, stroke_dasharray="5 4")
    drawing.text(LEFT + WIDTH, level - 6, "threshold", theme.faint, 13, text_anchor="end")
    drawing.line([place(index, cell) for index, (cell, _) in enumerate(rows)], theme.blue, 2)
    for index, (cell, sent) in enumerate(rows):
        if sent:
            drawing.circle(*place(index, cell), 4.5, theme.orange)

    def bars(base: float, values: list[float], colour: str) -> None:
        drawing.line([(LEFT, base), (LEFT + WIDTH, base)], theme.line)
        for index, value in enumerate(values):
            if value:
                x = LEFT + index * step + 1.5
                height = 34 * abs(value)
                drawing.rect(x, base - height if value > 0 else base, step - 3, height, colour)

    drawing.text(LEFT, 196, f"A GRU sends a value at every step: {STEPS} values")
    bars(238, [cell for cell, _ in rows], theme.blue)
    drawing.text(LEFT, 280, f"An EGRU sends only where c is above the threshold: {count} events")
    bars(322, [sent for _, sent in rows], theme.orange)
    return drawing


TIMES = (0.25, 0.5, 0.7, 2.1, 2.3, 2.45, 5.2, 5.35, 5.6, 7.6)
LENGTH, MEMORY = 8.0, 0.9


def steps(theme: Theme) -> Drawing:
    """One state after the same events, with steps of time and with steps of one."""
    drawing = Drawing(
        640,
        330,
        "A state that decays with the time between events, and one that counts them",
        theme,
    )
    even = [(index + 0.5) * LENGTH / len(TIMES) for index in range(len(TIMES))]
    rows = (
        (20, "Steps are the times between events: a pause is forgotten", TIMES, theme.blue, 138),
        (206, "Steps of one: the pauses are gone", tuple(even), theme.faint, 290),
    )
    for top, label, times, colour, base in rows:
        drawing.text(LEFT, top, label)
        drawing.line([(LEFT, base), (LEFT + WIDTH, base)], theme.line)
        points, state, last = [], 0.0, 0.0
        for time in (*times, LENGTH):
            for part in range(13):  # the decay since the last event
                elapsed = (time - last) * part / 12
                points.append(at(last + elapsed, state * math.exp(-elapsed / MEMORY), base))
            state, last = state * math.exp(-(time - last) / MEMORY) + 1, time
            if time < LENGTH:
                points.append(at(time, state, base))
        drawing.line(points, colour, 2.2, stroke_linejoin="round")
        for time in times:
            x, y = at(time, 0, base)
            drawing.line([(x, y - 1), (x, y + 14)], theme.orange, 3)
    drawing.text(LEFT + WIDTH, 170, "time", theme.faint, 13, text_anchor="end")
    drawing.text(LEFT + WIDTH, 322, "number of the event", theme.faint, 13, text_anchor="end")
    return drawing


def at(time: float, state: float, base: float) -> tuple[float, float]:
    """Where a time and a state are drawn."""
    return LEFT + WIDTH * time / LENGTH, base - 34 * state
