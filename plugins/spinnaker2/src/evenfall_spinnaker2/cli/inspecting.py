"""`evenfall spinnaker2 inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, show_facts
from evenfall_spinnaker2.reports.text import columns


def inspect(
    image: Annotated[Path, typer.Argument(help="The folder of an image.", show_default=False)],
    pe: Annotated[
        int | None, typer.Option(help="Show the memory map of one blob.", show_default=False)
    ] = None,
) -> None:
    """Check an image whole, and show what it holds."""
    with clear_errors():
        from evenfall_spinnaker2.image import load_image

        loaded = load_image(image)
        manifest = loaded.manifest
        rows = manifest["pes"]
        if pe is not None:
            if not 0 <= pe < len(rows):
                raise ValueError(f"pe: got {pe}, the image has 0 to {len(rows) - 1}")
            row = rows[pe]
            name = manifest["populations"][row["population"]]["name"]
            typer.echo(
                f"{row['blob']}: chip {tuple(row['chip'])}, PE {row['pe']} at {tuple(row['at'])}, "
                f"units {row['first_unit']} to {row['first_unit'] + row['units'] - 1} of {name}"
            )
            cells = [
                (one["part"], f"{one['address']:#07x}", f"{one['bytes']:,}")
                for one in row["memory"]
            ]
            typer.echo(columns(("part", "address", "bytes"), cells))
            return
        facts = [("model", manifest["model"]["name"]), ("verification", manifest["verification"])]
        facts += [(key, str(value)) for key, value in manifest["options"].items()]
        facts.append(("processing elements", str(len(rows))))
        show_facts(str(image), facts)
        listed: list[tuple[str, ...]] = []
        for number, one in enumerate(manifest["populations"]):
            mine = [
                blob
                for blob, row in zip(loaded.blobs, rows, strict=True)
                if row["population"] == number
            ]
            kinds = sorted(
                {f"{p.kind} {p.weight_format}" for blob in mine for p in blob.projections}
            )
            first, count, _ = one["keys"][0]
            listed.append(
                (
                    one["name"], one["kind"], str(one["units"]), str(one["level"]), str(len(mine)),
                    ", ".join(kinds), f"{first:#x} .. {first + count - 1:#x}",
                )
            )  # fmt: skip
        headings = ("population", "kind", "units", "level", "PEs", "weights", "keys")
        typer.echo(columns(headings, listed))
