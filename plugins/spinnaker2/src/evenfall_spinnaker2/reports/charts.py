"""Charts as SVG and PNG: lines over steps, bars of memory, rasters."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

_COLOURS = ("#2f6dbb", "#c2571a", "#3a8a4d", "#8a4fb0", "#a3821a", "#5b6b7a")
_WIDTH, _HEIGHT = 640, 170


def lines(series: Mapping[str, Any], unit: str) -> str:
    """Values over steps, one line for each name.

    Args:
        series: name -> (T,) values.
        unit: of the values.
    """
    top = max((float(np.max(values)) for values in series.values() if len(values)), default=0) or 1
    parts = [
        f'<line class="axis" x1="50" y1="{_HEIGHT - 20}" x2="{_WIDTH}" y2="{_HEIGHT - 20}"/>',
        f'<text class="tick" x="46" y="16">{_short(top)}</text>',
        f'<text class="tick" x="46" y="{_HEIGHT - 20}">0</text>',
    ]
    names, base = [], _HEIGHT - 20
    for number, (name, values) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        values = _thinned(np.asarray(values, np.float64), 600)
        span = max(len(values) - 1, 1)
        points = " ".join(
            f"{50 + at * (_WIDTH - 56) / span:.1f},{base - value * (base - 12) / top:.1f}"
            for at, value in enumerate(values)
        )
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>')
        names.append(f'<span><i style="background:{colour}"></i>{escape(name)}</span>')
    svg = (
        f'<svg class="chart" role="img" aria-label="{escape(unit)} by step" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'
    )
    return f'<p class="names">{escape(unit)}: {"".join(names)}</p>{svg}'


def bars(rows: Mapping[str, Mapping[str, float]], limit: float) -> str:
    """A stacked bar for each row, up to a limit; parts without bytes are left out."""
    parts = [part for part in next(iter(rows.values())) if any(row[part] for row in rows.values())]
    height = 24 * len(rows)
    cells = []
    for number, (name, row) in enumerate(rows.items()):
        x = 0.0
        for at, part in enumerate(parts):
            width = 100 * row[part] / limit
            text = f"{name}, {part}: {row[part]:,.0f} bytes"
            cells.append(
                f'<g><title>{escape(text)}</title><rect x="{x:.2f}%" y="{24 * number + 2}" '
                f'width="{width:.2f}%" height="18" fill="{_COLOURS[at % len(_COLOURS)]}"/></g>'
            )
            x += width
    names = "".join(
        f'<span><i style="background:{_COLOURS[at % len(_COLOURS)]}"></i>{escape(part)}</span>'
        for at, part in enumerate(parts)
    )
    labels = "".join(f"<li>{escape(name)}</li>" for name in rows)
    return (
        f'<p class="names">{names}</p><div class="bars"><ul>{labels}</ul>'
        f'<svg role="img" aria-label="memory by part" height="{height}" width="100%">'
        f'<rect class="free" width="100%" height="{height}"/>{"".join(cells)}</svg></div>'
    )


def raster(sent: Any) -> str:
    """A picture of (T, units): dark where a unit sent an event."""
    fired = np.asarray(sent)[:400] != 0
    rows = np.where(fired.T, 0x16, 0xF4).astype(np.uint8)
    data = base64.b64encode(_png(rows)).decode()
    return (
        f'<img class="raster" alt="events: {fired.shape[1]} units over {fired.shape[0]} steps" '
        f'src="data:image/png;base64,{data}">'
    )


def _png(grey: Any) -> bytes:
    """A PNG of (height, width) grey values."""
    height, width = grey.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), grey], axis=1).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def _thinned(values: Any, most: int) -> Any:
    """Means of neighbours, so that at most `most` points remain."""
    step = -(-len(values) // most) if len(values) else 1
    if step == 1:
        return values
    return np.array([values[at : at + step].mean() for at in range(0, len(values), step)])


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
