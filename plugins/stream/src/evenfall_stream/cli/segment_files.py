"""`evenfall stream predict` with a segmenter."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from evenfall.cli.output import write_json
from evenfall.cli.tools import console, show_rows

from .common import predict_each

if TYPE_CHECKING:
    from ..inference import FileSegmenter, SegmentedFile


def segment_files(
    segmenter: FileSegmenter,
    paths: Iterable[Path],
    classes: list[str],
    top: int,
    *,
    as_json: bool,
    output: Path | None,
    pictures: Path | None,
) -> bool:
    """Print how many points of each file have which class; write CSV files and pictures.

    Returns:
        whether every file was read.
    """
    found, rows = predict_each(segmenter.predict, paths)
    if as_json:
        listed = [
            {"input": str(path), "points": len(found[path].pos),
             "classes": found[path].counts(classes)} if error is None else
            {"input": str(path), "error": error}
            for path, error in rows
        ]  # fmt: skip
        write_json(listed)
    elif found:
        _show(list(found.values()), classes, min(top, len(classes)))
    for number, one in enumerate(found.values()):
        name = f"{number:03d}-{one.path.stem}" if len(found) > 1 else one.path.stem
        _write(one, classes, name, output, pictures, quiet=as_json)
    return len(found) == len(rows)


def _show(found: list[SegmentedFile], classes: list[str], top: int) -> None:
    rows = []
    for one in found:
        counts = one.counts(classes)
        names = sorted(counts, key=lambda name: -counts[name])[:top]
        total = len(one.pos)
        shares = (f"{name} {100 * counts[name] / total:.1f} %" for name in names)
        rows.append((str(one.path), f"{total:,}", *shares))
    show_rows(("input", "points", *(f"{rank}." for rank in range(1, top + 1))), rows)


def _write(
    one: SegmentedFile,
    classes: list[str],
    name: str,
    output: Path | None,
    pictures: Path | None,
    *,
    quiet: bool,
) -> None:
    from ..inference.segments import write_points

    files = []
    if output is not None:
        files.append(("points", write_points(one, classes, output / f"{name}.csv")))
    if pictures is not None:
        from ..pictures.segments import draw_segments

        panels = {one.path.name: one.classes}
        files.append(("picture", draw_segments(one.pos, panels, classes, pictures / f"{name}.png")))
    for kind, file in files:
        if not quiet:
            console.print(f"{kind}: {file}", soft_wrap=True)
