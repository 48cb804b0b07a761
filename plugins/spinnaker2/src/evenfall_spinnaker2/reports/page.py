"""The report as one HTML file without links: floor plans, routing, memory, limits, estimates."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from evenfall.checks import check_choice
from evenfall.files import write_text
from evenfall_spinnaker2.chip import load_chip
from evenfall_spinnaker2.image import Image

from .charts import bars, lines, raster
from .estimates import constants_used, estimate
from .facts import Activity, PeFacts, pe_facts
from .floor import board_plan, floor_plan, legend, tree_on_chip
from .limits import balance, limits, queue_needs
from .style import STYLE

_CHIPS_SHOWN = 4


def write_report(
    image: Image, output: str | Path, activity: Activity | None = None, layer: str | None = None
) -> Path:
    """Write the page.

    Args:
        image: any.
        output: the .html file.
        activity: what a run of the emulator measured.
        layer: whose routing tree is shown; by default the first on the chip.

    Raises:
        ValueError: no such layer.
    """
    return write_text(output, html_report(image, activity, layer))


def html_report(image: Image, activity: Activity | None = None, layer: str | None = None) -> str:
    """The page as text; see `write_report`."""
    pes = pe_facts(image, activity)
    number = layer_number(image, layer)
    name = escape(image.manifest["model"]["name"])
    sections = [
        _head(image, pes),
        _limits(image, pes, activity),
        _layers(image, pes),
        _floor(image, pes, activity),
        _routing(image, pes, number),
        _memory(image, pes),
        _run(image, activity) if activity is not None else "",
        _estimates(image, pes, activity),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name} on SpiNNaker2</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(sections)}</main></body></html>\n"
    )


def layer_number(image: Image, layer: str | None) -> int:
    rows = image.manifest["populations"]
    names = [row["name"] for row in rows]
    if layer is None:
        return next(number for number, row in enumerate(rows) if row["place"] == "chip")
    check_choice("layer", layer, names)
    return names.index(layer)


def _head(image: Image, pes: list[PeFacts]) -> str:
    manifest = image.manifest
    options = ", ".join(f"{key} {value}" for key, value in manifest["options"].items())
    chips = len({one.chip for one in pes})
    used = sum(one.used for one in pes)
    tiles = [
        (f"{len(pes)}", "PEs"),
        (f"{chips}", "chip" if chips == 1 else "chips"),
        (f"{used / 1e6:.2f} MB", "of SRAM"),
        (f"{sum(one.nonzeros for one in pes):,}", "products, if all units send"),
    ]
    boxes = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in tiles)
    return (
        f"<header><h1>{escape(manifest['model']['name'])} on SpiNNaker2</h1>"
        f'<p class="note">{escape(manifest["verification"])}</p><p>{escape(options)}</p>'
        f'<div class="tiles">{boxes}</div></header>'
    )


def _limits(image: Image, pes: list[PeFacts], activity: Activity | None) -> str:
    rows = [
        (
            escape(one.name), f"{one.used:,.0f}", f"{one.limit:,.0f}",
            f'<meter value="{one.share:.4f}"></meter> {one.share:.1%}', escape(one.source),
        )
        for one in limits(image, pes, activity)
    ]  # fmt: skip
    return _section("Limits", _table(("limit", "used", "of", "share", "source"), rows))


def _layers(image: Image, pes: list[PeFacts]) -> str:
    rows = []
    for number, one in enumerate(image.manifest["populations"]):
        mine = [pe for pe in pes if pe.population == number]
        forms = sorted(
            {
                f"{p.kind} {p.weight_format}"
                for pe in mine
                for p in image.blobs[pe.number].projections
            }
        )
        rows.append(
            (
                str(number), escape(one["name"]), one["kind"], f"{one['units']:,}",
                str(one["level"]), str(len(mine)) if mine else "host", ", ".join(forms),
                f"{sum(pe.used for pe in mine):,}",
            )
        )  # fmt: skip
    headings = ("no.", "layer", "kind", "units", "level", "PEs", "weights", "bytes")
    scaled = [one for one in image.manifest["populations"] if "scaling" in one]
    note = "".join(
        f"<li>{escape(one['name'])}: "
        + ", ".join(f"{escape(key)} {value:.6g}" for key, value in one["scaling"].items())
        + "</li>"
        for one in scaled
    )
    extra = f"<p>Scaling of spiking layers:</p><ul>{note}</ul>" if note else ""
    return _section("Layers", _table(headings, rows) + extra)


def _floor(image: Image, pes: list[PeFacts], activity: Activity | None) -> str:
    places = load_chip(image.manifest["options"]["profile"]).places
    data = image.manifest["chip"]["data_bytes"]
    most_work = max(one.products for one in pes) or 1
    most_traffic = max(one.arrivals for one in pes) or 1
    what = "measured" if activity else "if every unit sends"
    kinds = (
        ("memory", {one.number: one.used / data for one in pes}, "0", f"{data:,} bytes"),
        (
            "load", {one.number: one.products / most_work for one in pes}, "0",
            f"{most_work:,.0f} products a step, {what}",
        ),
        (
            "traffic", {one.number: one.arrivals / most_traffic for one in pes}, "0",
            f"{most_traffic:,.0f} packets a step, {what}",
        ),
    )  # fmt: skip
    texts = {one.number: _tooltip(image, one) for one in pes}
    in_use = {one.chip for one in pes}
    chips = [(x, y) for x, y in image.manifest["chips"] if (x, y) in in_use]
    parts = []
    for at, (kind, shares, low, high) in enumerate(kinds):
        plans = "".join(
            f"<figure>{floor_plan(pes, chip, shares, texts, places)}"
            f"<figcaption>chip {chip[0]}, {chip[1]}</figcaption></figure>"
            for chip in chips[:_CHIPS_SHOWN]
        )
        checked = " checked" if at == 0 else ""
        parts.append(
            f'<input type="radio" name="floor" id="floor-{kind}"{checked}>'
            f'<label for="floor-{kind}">{kind}</label>'
            f'<div class="tab">{legend(low, high)}<div class="plans">{plans}</div></div>'
        )
    more = len(chips) - _CHIPS_SHOWN
    note = f"<p>{more} more chips are not drawn.</p>" if more > 0 else ""
    text = "<p>The numbers are those of the layers above. Point at a PE for its figures.</p>"
    return _section("Floor plan", f'{text}<div class="tabs">{"".join(parts)}</div>{note}')


def _tooltip(image: Image, one: PeFacts) -> str:
    row = image.manifest["pes"][one.number]
    name = image.manifest["populations"][one.population]["name"]
    return (
        f"PE {one.pe} at {one.at}: {name}, units {row['first_unit']} to "
        f"{row['first_unit'] + row['units'] - 1}; {one.used:,} bytes; {one.products:,.0f} products "
        f"and {one.arrivals:,.0f} packets a step"
    )


def _routing(image: Image, pes: list[PeFacts], population: int) -> str:
    name = escape(image.manifest["populations"][population]["name"])
    places = load_chip(image.manifest["options"]["profile"]).places
    rows = [
        (f"{x}, {y}", str(len(table.entries))) for (x, y), table in list(image.tables.items())[:48]
    ]
    keys = image.manifest["populations"][population]["keys"][0]
    text = (
        f"<p>The events of layer {population}, {name}, have the keys {keys[0]:#x} to "
        f"{keys[0] + keys[1] - 1:#x}.</p>"
    )
    first = (image.manifest["chips"][0][0], image.manifest["chips"][0][1])
    senders = [one.chip for one in pes if one.population == population]
    chip = senders[0] if senders else first
    picture = (
        f"<figure>{tree_on_chip(image, pes, population, places, chip)}<figcaption>"
        f'chip {chip[0]}, {chip[1]}: <i class="sends"></i> sends <i class="receives"></i> receives '
        '<i class="sends receives"></i> both</figcaption></figure>'
    )
    if len(image.manifest["chips"]) > 1:
        count: dict[tuple[int, int], int] = {}
        for one in pes:
            count[one.chip] = count.get(one.chip, 0) + 1
        full = max(count.values())
        shares = {xy: number / full for xy, number in count.items()}
        picture += (
            f"<figure>{board_plan(image, shares, population)}<figcaption>the tree between chips"
            "</figcaption></figure>"
        )
    table = _table(("chip", "entries"), rows)
    return _section("Routing", f'{text}<div class="plans">{picture}</div>{table}')


def _memory(image: Image, pes: list[PeFacts]) -> str:
    rows = {}
    for number, one in enumerate(image.manifest["populations"]):
        mine = [pe for pe in pes if pe.population == number]
        if mine:
            fullest = max(mine, key=lambda pe: pe.used)
            skipped = ("code", "stack", "free")
            rows[one["name"]] = {k: v for k, v in fullest.parts.items() if k not in skipped}
    limit = image.manifest["chip"]["data_bytes"]
    text = f"<p>The fullest PE of each layer, of {limit:,} bytes for data.</p>"
    return _section("Memory", text + bars(rows, limit))


def _run(image: Image, activity: Activity) -> str:
    needs = [
        (escape(name), str(depth) if depth else "none: used on arrival", str(need), str(lost))
        for name, depth, need, lost in queue_needs(image, activity)
    ]
    queues = _table(("layer", "queue depth", "needed (maximum + 1)", "events lost"), needs)
    chart = lines(activity.events, f"events a step, {activity.steps:,} steps")
    pictures = "".join(
        f"<figure>{raster(sent)}<figcaption>{escape(name)}</figcaption></figure>"
        for name, sent in activity.rasters.items()
    )
    return _section("A run of the emulator", chart + queues + pictures)


def _estimates(image: Image, pes: list[PeFacts], activity: Activity | None) -> str:
    both = [estimate(image, pes, fast=fast) for fast in (False, True)]
    measured = activity is not None and activity.cpu_seconds is not None
    seconds = activity.cpu_seconds if activity is not None else None
    cpu = "" if seconds is None else f"{seconds * 1e6:,.1f}"

    def row(name: str, values: Sequence[float], form: str, known: str = "") -> tuple[str, ...]:
        cells = (name, *(format(value, form) for value in values))
        return (*cells, known) if measured else cells

    rows = [
        row("products", [one.products for one in both], ",.0f"),
        row("SRAM bytes read", [one.sram_bytes for one in both], ",.0f"),
        row("busy cycles", [one.busy_cycles for one in both], ",.0f"),
        row("us, layers at once", [one.seconds_pipelined * 1e6 for one in both], ",.1f", cpu),
        row("us, one by one", [one.seconds_sequential * 1e6 for one in both], ",.1f", cpu),
        row("uJ, layers at once", [one.joules_pipelined * 1e6 for one in both], ",.1f"),
        row("uJ, one by one", [one.joules_sequential * 1e6 for one in both], ",.1f"),
    ]  # fmt: skip
    headings = ["a step", *(f"{one.clock_hz / 1e6:.0f} MHz" for one in both)]
    if measured and activity:
        headings.append(f"measured: {escape(activity.cpu)}")
    what = "the measured events" if activity else "every unit sending in every step"
    loads = [
        (escape(name), f"{mean:,.0f}", f"{most:,.0f}", f"{most / mean if mean else 1:.2f}")
        for name, mean, most in balance(image, pes)
    ]
    text = (
        f'<p class="note">Estimates, with {what}. The constants are fitted to published figures, '
        "so this is no measurement of the chip and no check of it. The timer's tick, the host and "
        "the links are left out.</p>"
    )
    named = [(escape(a), b, escape(c)) for a, b, c in constants_used()]
    return _section(
        "Estimates",
        text
        + _table(headings, rows)
        + "<h3>Balance</h3>"
        + _table(("layer", "mean products of a PE", "largest", "largest / mean"), loads)
        + "<h3>Constants</h3>"
        + _table(("constant", "value", "source"), named),
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{one}</th>" for one in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'
