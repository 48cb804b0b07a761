"""The report as plain text."""

from __future__ import annotations

from evenfall_spinnaker2.image import Image

from .estimates import constants_used, estimate
from .facts import Activity, pe_facts
from .limits import balance, limits, queue_needs
from .text import columns


def text_report(image: Image, activity: Activity | None = None) -> str:
    """What an image is and does, without pictures.

    Args:
        image: any.
        activity: what a run measured; without it every unit is taken to send in every step.
    """
    pes = pe_facts(image, activity)
    manifest = image.manifest
    parts = [
        f"{manifest['model']['name']}: {manifest['verification']}",
        ", ".join(f"{key} {value}" for key, value in manifest["options"].items()),
        "",
        columns(
            ("limit", "used", "of", "share", "source"),
            [
                (one.name, f"{one.used:,.0f}", f"{one.limit:,.0f}", f"{one.share:.1%}", one.source)
                for one in limits(image, pes, activity)
            ],
        ),
        "",
        columns(
            ("layer", "mean products of a PE and step", "largest", "largest / mean"),
            [
                (name, f"{mean:,.0f}", f"{most:,.0f}", f"{most / mean if mean else 1:.2f}")
                for name, mean, most in balance(image, pes)
            ],
        ),
        "",
    ]
    if activity is not None:
        parts.append(
            columns(
                ("layer", "queue depth", "needed", "events lost"),
                [
                    (name, f"{depth}", f"{need}", f"{lost}")
                    for name, depth, need, lost in queue_needs(image, activity)
                ],
            )
        )
        parts.append("")
    source = "with the measured events" if activity else "if every unit sends in every step"
    parts.append(f"estimates of a step, {source} (constants fitted to published figures):")
    rows = []
    for fast in (False, True):
        one = estimate(image, pes, fast=fast)
        rows.append(
            (
                f"{one.clock_hz / 1e6:.0f} MHz", f"{one.products:,.0f}", f"{one.sram_bytes:,.0f}",
                f"{one.busy_cycles:,.0f}", f"{one.seconds_pipelined * 1e6:,.1f}",
                f"{one.seconds_sequential * 1e6:,.1f}", f"{one.joules_pipelined * 1e6:,.1f}",
                f"{one.joules_sequential * 1e6:,.1f}",
            )
        )  # fmt: skip
    headings = (
        "clock", "products", "SRAM bytes", "busy cycles", "us, layers at once",
        "us, one by one", "uJ, layers at once", "uJ, one by one",
    )  # fmt: skip
    parts.append(columns(headings, rows))
    if activity is not None and activity.cpu_seconds is not None:
        parts.append(f"measured on {activity.cpu}: {activity.cpu_seconds * 1e6:,.1f} us a step")
    parts += ["", columns(("constant", "value", "source"), constants_used())]
    return "\n".join(parts) + "\n"
