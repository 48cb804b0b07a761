"""Images for SpiNNaker2 beside the PyTorch models that they were made of.

    python tests/benchmarks/spinnaker2.py [PART ...] [--data FOLDER] [--quick] [--no-save]

Parts that need nothing more: greedy (200 tokens of --models), orders (100 random orders of
arrival), speed (of the emulator), published (the sizes of the published
language model), sweep (10^5 to 2.5 x 10^8 parameters); without a PART all of these.
With --data: text (the test text of Penn Treebank, or --tokens of it), cnn (N-MNIST by
cnn_sinabs.nir), lif (the trace of one neuron), lif_network and mlp (a spiking network and a dense
one in int8, trained here on MNIST for a minute or two), classifier (the best models of runs of
`evenfall egru classify`, named by --classifier, over MNIST's test images).
Parts and models that are not named keep their rows in the record.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from layout import BLUE, GREY, ORANGE, by_part, pyplot, table
from record import Record, Rows, saved_rows
from script import finish, parser

TITLE = "SpiNNaker2"
ABOUT = """Images of networks, run by the emulator and compared with PyTorch. No chip was at hand.
Read [the guide](spinnaker2-emulator.md) for what an image is verified by."""
IMAGE = "spinnaker2-sweep.svg"
ALT = "CPU time, processing elements and router entries against the number of parameters"
NOTES = """The sweep compiles EGRUs of four layers with random weights in bf16 for a board of 48
chips, a process each; a packet is an event on a link between chips, if every unit sends. Speed is
of the emulator while generating, in CPU time of its one thread: the median of seven rounds of 100
tokens."""
LISTED = 10
WITHOUT_DATA = ("greedy", "orders", "speed", "published", "sweep")
WITH_DATA = ("text", "cnn", "lif", "lif_network", "mlp", "classifier")
HEADINGS = {
    "text": "Text", "greedy": "Greedy text", "orders": "Orders of arrival", "speed": "Speed",
    "sweep": "Compilation", "cnn": "A spiking CNN on N-MNIST", "mlp": "A dense network in int8",
    "classifier": "EGRUs on MNIST, row by row", "lif": "The trace of a LIF neuron",
    "lif_network": "A LIF network on MNIST", "published": "The sizes of the published model",
}  # fmt: skip


def parts() -> dict[str, Callable[..., Any]]:
    """What measures each part, in the order of the page."""
    from spinnaker2_parts import classifiers, language, spiking
    from spinnaker2_parts.published import published
    from spinnaker2_parts.speed import speed
    from spinnaker2_parts.sweep import sweep

    found = (
        language.text, language.greedy, language.orders, spiking.cnn, spiking.lif,
        spiking.lif_network, classifiers.mlp, classifiers.classifier, speed,
        published, sweep,
    )  # fmt: skip
    return {one.__name__: one for one in found}


def tables(record: Record) -> str:
    """A table for each part."""
    blocks = []
    for name, rows in by_part(record).items():
        names = dict.fromkeys(name for row in rows for name in row if name != "part")
        columns = {name: _column(name) for name in names}
        blocks.append(f"{HEADINGS[name]}:\n\n{table(columns, rows)}")
    return "\n\n".join(blocks)


def _column(name: str) -> Callable[[dict[str, Any]], Any]:
    if name.startswith("perplexity"):
        return lambda row: f"{row[name]:.4f}"
    if name.startswith("accuracy"):
        return lambda row: f"{100 * row[name]:.2f} %"
    return lambda row: _listed(row.get(name))


def _listed(value: Any) -> Any:
    """A list as text, cut after its first entries."""
    if not isinstance(value, list):
        return value
    more = f" and {len(value) - LISTED} more" if len(value) > LISTED else ""
    return ", ".join(map(str, value[:LISTED])) + more or "none"


def picture(rows: Rows) -> None:
    """What compilation costs, beside n log n."""
    plt = pyplot()
    sweep = [row for row in rows if row["part"] == "sweep"]
    sizes = [row["parameters"] for row in sweep]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    seconds = [row["CPU seconds"] for row in sweep]
    left.loglog(sizes, seconds, "o-", color=BLUE, label="compile")
    growth = [n * math.log(n) for n in sizes]
    line = [seconds[-1] * one / growth[-1] for one in growth]
    left.loglog(sizes, line, "--", color=GREY, label="n log n")
    left.set(xlabel="parameters", ylabel="CPU seconds")
    right.loglog(sizes, [row["PEs"] for row in sweep], "o-", color=BLUE, label="PEs")
    entries = [row["router entries"] for row in sweep]
    right.loglog(sizes, entries, "o-", color=ORANGE, label="entries of the fullest router")
    right.set(xlabel="parameters")
    for axes in (left, right):
        axes.legend()
    figure.tight_layout()


def measure(options: Any) -> Rows:
    """The rows of the parts that were asked for, and the saved ones of the others."""
    saved = saved_rows("spinnaker2")
    rows: Rows = []
    for name, part in parts().items():
        if name in options.parts:
            with tempfile.TemporaryDirectory() as folder:
                new = list(part(options, Path(folder)))
        else:
            new = []
        models = {row.get("model") for row in new}
        rows += [r for r in saved if r["part"] == name and r.get("model") not in models]
        rows += new
    return rows


def main() -> None:
    """Measure the parts that were asked for."""
    if sys.argv[1:2] == ["child"]:
        from spinnaker2_parts.sweep import child

        print(json.dumps(child(int(sys.argv[2]))))
        return
    asked = parser(__doc__, quick=True)
    asked.add_argument("parts", nargs="*", help=f"of {', '.join(WITHOUT_DATA + WITH_DATA)}")
    asked.add_argument("--data", type=Path, help="folder of the data sets")
    asked.add_argument("--tokens", type=int, default=10**9, help="of the test text")
    asked.add_argument("--orders", type=int, default=100, help="random orders of arrival")
    asked.add_argument("--models", nargs="+", default=["egru-ptb-small", "egru-ptb-sparse"])
    asked.add_argument("--classifier", type=Path, nargs="+", help="folders of runs")
    options = asked.parse_args()
    options.parts = options.parts or list(WITHOUT_DATA)
    unknown = set(options.parts) - {*WITHOUT_DATA, *WITH_DATA}
    if unknown:
        asked.error(f"parts must be of {WITHOUT_DATA + WITH_DATA}, got {sorted(unknown)}")
    if options.data is None and set(options.parts) & set(WITH_DATA):
        asked.error(f"{', '.join(WITH_DATA)} need --data")
    if options.classifier is None and "classifier" in options.parts:
        asked.error("classifier needs --classifier")
    rows = measure(options)
    names = dict.fromkeys(row["part"] for row in rows)
    more = " --data FOLDER" if names.keys() & set(WITH_DATA) else ""
    more += " --classifier RUN ..." if "classifier" in names else ""
    command = f"python tests/benchmarks/spinnaker2.py {' '.join(names)}{more}"
    finish("spinnaker2", rows, options, " ".join(NOTES.split()), command)


if __name__ == "__main__":
    main()
