"""The table at the top of the page: what, against what, and the ratio on each machine."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from layout import table
from record import Record

Rows = Sequence[Mapping[str, Any]]


class Line(NamedTuple):
    """A line of the table: `ratio` is read from the rows of the subject's record."""

    what: str
    against: str
    subject: str
    ratio: Callable[[Rows], float]


def entry(key: str, **wanted: object) -> Callable[[Rows], float]:
    """This entry of the one row in which every key of `wanted` has its value."""
    return lambda rows: float(one(rows, **wanted)[key])


def one(rows: Rows, **wanted: object) -> Mapping[str, Any]:
    """The one row in which every key of `wanted` has its value.

    Raises:
        LookupError: there is none, or more than one.
    """
    found = [row for row in rows if wanted.items() <= row.items()]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows have {wanted}")
    return found[0]


def over(rows: Rows, first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """How many times as long the second row takes as the first."""
    scaling = {"part": "scaling", "pass": "forward"}
    return float(one(rows, **scaling | second)["ms"]) / float(one(rows, **scaling | first)["ms"])


def layers(points: int, rival: str) -> Callable[[Rows], float]:
    """StreamConv's time against that of another layer."""
    ours, theirs = ({"layer": name, "points": points} for name in ("StreamConv", rival))
    return lambda rows: over(rows, ours, theirs)


def gru(batch: int) -> Callable[[Rows], float]:
    """The scan's time against nn.GRU's, at 1350 units."""

    def ratio(rows: Rows) -> float:
        row = one(rows, batch=batch, units=1350, scan="fp32, threshold 0.01")
        return float(row["nn.GRU_ms"] / row["scan_ms"])

    return ratio


LSTM = "`nn.LSTM` of the same sizes"
ALONE = "`transformers` alone"
LINES = (
    Line("EGRU writes text, a token a call", LSTM, "generate",
         entry("times_the_LSTM", threads=1, way="EGRU, events")),
    Line("the same through `generate()`", LSTM + ", a token a call", "generate",
         entry("times_the_LSTM", threads=1, way="EGRU, events, generate()")),
    Line("a large EGRU, 90 % of its weights removed in blocks",
         "all its weights, silent units skipped", "egru_step",
         entry("times_dense_rows", threads=1, way="EGRU, blocks in layers and decoder")),
    Line("a large EGRU in int8, a token a call", "the same in float32", "egru_int8",
         entry("times_float32", part="speed", model="3 x 1350", weights="int8",
               loop="reading one at a time")),
    Line("training an EGRU layer, batch of 1", "`nn.GRU`", "egru_scan", gru(1)),
    Line("training an EGRU layer, batch of 64", "`nn.GRU`", "egru_scan", gru(64)),
    Line("one product, 10 % of its inputs active", "`torch.mv`", "event_matmul",
         entry("times_faster_than_dense", activity=0.1, product="event float32")),
    Line("the selective scan, 2,048 steps", ALONE, "selective_scan",
         entry("times_faster", rival="transformers", length=2048, **{"pass": "forward"})),
    Line("Mamba reads 1,024 tokens", ALONE, "mamba",
         entry("times_faster", part="speed", task="prompt of 1024 tokens")),
    Line("Mamba writes 64 tokens", ALONE, "mamba",
         entry("times_faster", part="speed", task="64 tokens, one by one")),
    Line("Mamba-2 reads 1,024 tokens", ALONE, "ssd_scan",
         entry("times_faster", part="model", task="prompt of 1024 tokens")),
    Line("Mamba-2 writes 64 tokens", ALONE, "ssd_scan",
         entry("times_faster", part="model", task="64 tokens, one by one")),
    Line("`StreamConv` over 65,536 points", "`PointTransformerConv`", "stream",
         layers(65_536, "PointTransformerConv")),
    Line("`StreamConv` over 1,024 points", "`PointTransformerConv`", "stream",
         layers(1024, "PointTransformerConv")),
    Line("`StreamConv` over 1,024 points", "dense attention", "stream",
         layers(1024, "dense attention")),
    Line("memory of a step of ResNet-50 in 4 blocks", "backpropagation", "blocklocal",
         lambda rows: 1 / one(rows, part="memory", model="resnet50", rule="bll",
                              blocks=4)["share"]),
)  # fmt: skip
ABOUT = """## In one table

How many times as fast, in the last line how many times less memory: above 1 is a gain, below 1 a
loss. Every number comes from the records below, on two cores of a CPU; a dash was not measured on
that machine. **No kernel has been timed on a GPU.**"""


def summary(records: Mapping[str, Sequence[Record]]) -> str:
    """The section; empty where the records have none of its lines."""
    machines: list[str] = []
    rows = []
    for line in LINES:
        found = {}
        for record in records.get(line.subject, ()):
            try:
                found[record["machine"]["cpu"]] = line.ratio(record["rows"])
            except (LookupError, TypeError):  # a record of older rows
                continue
        if found:
            machines += [name for name in found if name not in machines]
            rows.append((line, found))
    if not rows:
        return ""
    columns: dict[str, Callable[[Any], Any]] = {
        "What": lambda row: f"[{row[0].what}](#{anchor(row[0].subject)})",
        "Against": lambda row: row[0].against,
    }
    for name in sorted(machines):
        columns[heading(name)] = lambda row, name=name: times(row[1].get(name))
    return f"{ABOUT}\n\n{table(columns, rows)}"


def times(ratio: float | None) -> str | None:
    """Two digits."""
    return None if ratio is None else f"{float(f'{ratio:.2g}'):,g}x"


def heading(cpu: str) -> str:
    """The name of a processor without its trademarks."""
    return re.sub(r"\(R\)| Processor", "", cpu)


def anchor(subject: str) -> str:
    """Where the section of a subject is on the page."""
    return re.sub(r"[^a-z0-9]+", "-", importlib.import_module(subject).TITLE.lower()).strip("-")
