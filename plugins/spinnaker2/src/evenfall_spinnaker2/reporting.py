"""Report: an image, and a run of it, as a page and as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .image import Image, load_image
from .reports.facts import Activity
from .reports.page import layer_number, write_report
from .reports.summary import text_report


def report(
    image: Image | str | Path,
    output: str | Path | None = None,
    *,
    inputs: Any = None,
    layer: str | None = None,
    cpu_seconds: float | None = None,
    cpu: str = "",
    most_units: int = 2000,
) -> str:
    """Explain an image; with inputs the emulator runs it first.

    Args:
        image: an image, or its folder.
        output: the .html file to write, or None.
        inputs: of `Emulator.run`, such as tokens (T,).
        layer: whose routing tree the page shows; by default the first on the chip.
        cpu_seconds: measured seconds a step of the original model on a CPU, for comparison.
        cpu: what that CPU is.
        most_units: of a population whose events are drawn.

    Returns:
        The report as plain text.

    Raises:
        FileNotFoundError: no such image.
        ValueError: the image is damaged, `layer` is unknown, or `inputs` has no steps.
    """
    loaded = image if isinstance(image, Image) else load_image(image)
    layer_number(loaded, layer)
    if cpu_seconds is not None and (inputs is None or not cpu_seconds > 0):
        raise ValueError(f"cpu_seconds: got {cpu_seconds}, want seconds above 0, with inputs")
    activity = None
    if inputs is not None:
        activity = measure(loaded, inputs, cpu_seconds, cpu, most_units)
    if output is not None:
        write_report(loaded, output, activity, layer)
    return text_report(loaded, activity)


def measure(
    image: Image, inputs: Any, cpu_seconds: float | None = None, cpu: str = "", most: int = 2000
) -> Activity:
    """Run the emulator and keep what the report shows; queues that overflow are counted."""
    from .emulator.emulator import Emulator

    emulator = Emulator(image, allow_overflow=True)
    names = [
        one["name"]
        for one in image.manifest["populations"]
        if one["place"] == "chip" and one["units"] <= most
    ]
    run = emulator.run(inputs, record=names)
    if not emulator.steps:
        raise ValueError("inputs: got no steps, want at least one")
    return Activity(run.events, run.rasters, emulator.peak_queue, emulator.lost, cpu_seconds, cpu)
