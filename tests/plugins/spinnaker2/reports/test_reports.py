"""The report: its figures against counts by hand, and a page that needs no other file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from evenfall_spinnaker2 import compile, load_image, report
from evenfall_spinnaker2.chip import value
from evenfall_spinnaker2.image import Image
from evenfall_spinnaker2.reports.estimates import estimate
from evenfall_spinnaker2.reports.facts import Activity, pe_facts
from evenfall_spinnaker2.reports.limits import limits, queue_needs
from evenfall_spinnaker2.reports.page import html_report
from evenfall_spinnaker2.reports.summary import text_report
from evenfall_spinnaker2.reports.text import columns

from ..networks import language_model, spiking


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return load_image(compile(language_model(), tmp_path_factory.mktemp("image") / "out"))


@pytest.fixture
def activity() -> Activity:
    """Half of the inputs, a quarter of layer0 and no unit of layer1 send."""
    events = {
        "tokens": np.full(10, 4), "layer0": np.full(10, 6), "layer1": np.zeros(10, np.int64),
    }  # fmt: skip
    fired = np.zeros((10, 24), bool)
    fired[:, :6] = True
    return Activity(
        events, {"layer0": fired}, np.array([9, 30]), np.array([0, 2]), 1e-3, "a <fast> CPU"
    )


def test_products_are_those_of_the_events(image: Image, activity: Activity) -> None:
    full, measured = pe_facts(image), pe_facts(image, activity)
    assert [one.products for one in full] == [72 * (8 + 24), 24 * (24 + 8)]
    assert [one.arrivals for one in full] == [8 + 24, 24 + 8]
    assert [one.products for one in measured] == [72 * (4 + 6), 24 * 6]
    assert [one.arrivals for one in measured] == [4 + 6, 6]


def test_gather_reads_every_row(tmp_path: Path, activity: Activity) -> None:
    image = load_image(compile(language_model(), tmp_path / "out", mode="gather"))
    assert [one.products for one in pe_facts(image, activity)] == [72 * 32, 24 * 32]
    assert queue_needs(image, activity) == [("layer0", 0, 0, 0), ("layer1", 0, 0, 2)]


def test_estimate_follows_the_stated_model(image: Image, activity: Activity) -> None:
    one = estimate(image, pe_facts(image, activity))
    cycles = [720 * 11.1, 144 * 11.1]
    assert one.busy_cycles == pytest.approx(sum(cycles))
    assert one.seconds_pipelined == pytest.approx(max(cycles) / 150e6)
    assert one.seconds_sequential == pytest.approx(sum(cycles) / 150e6)
    work, sleep = sum(cycles) * 8.3e-12, value("energy", "sleep_watts")
    assert one.joules_sequential == pytest.approx(work + sleep * sum(cycles) / 150e6)
    assert one.sram_bytes == 4 * (720 + 144)


def test_limits_and_queues(image: Image, activity: Activity) -> None:
    rows = {one.name: one for one in limits(image, pe_facts(image), activity)}
    assert rows["PEs of a chip"].used == 2
    assert rows["data memory of a PE, bytes"].limit == 131072 - 32768 - 4096
    assert rows["events in a queue"].used == 30
    assert queue_needs(image, activity) == [("layer0", 32, 10, 0), ("layer1", 32, 31, 2)]


class Tags(HTMLParser):
    """Checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "input", "img", "line", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Closed at once."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("measured", [True, False])
def test_page_is_complete_and_loads_nothing(
    image: Image, activity: Activity, measured: bool
) -> None:
    page = html_report(image, activity if measured else None, "layer1")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not re.search(r'(href|src)="(?!data:)', page)
    assert "<script" not in page
    assert "emulator-verified, not run on hardware" in page
    assert "no measurement of the chip" in page
    assert ("a &lt;fast&gt; CPU" in page) == measured
    assert ("data:image/png" in page) == measured


def test_page_of_a_board_draws_the_tree(tmp_path: Path, use_memory) -> None:
    use_memory(3000)
    image = load_image(compile(language_model(), tmp_path / "out", board="48", pes=3))
    page = html_report(image)
    assert page.count('class="link"') >= 2
    assert "the tree between chips" in page


def test_report_of_spiking_layers_shows_the_scaling(tmp_path: Path) -> None:
    folder = compile(spiking(), tmp_path / "out", precision="int8")
    text = report(folder, tmp_path / "report.html")
    assert "fitted to published figures" in text
    assert "w_scale" in (tmp_path / "report.html").read_text()
    spikes = np.ones((3, 2, 8, 8))
    report(folder, tmp_path / "report.html", inputs=spikes, most_units=6)
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2  # not of 64 units


def test_unknown_layer_is_named(image: Image) -> None:
    with pytest.raises(ValueError, match="layer must be one of tokens, layer0, layer1, got 'x'"):
        html_report(image, layer="x")


def test_text_report_says_what_the_estimates_are(image: Image, activity: Activity) -> None:
    assert "if every unit sends in every step" in text_report(image)
    text = text_report(image, activity)
    assert "with the measured events" in text
    assert "measured on a <fast> CPU: 1,000.0 us a step" in text


def test_columns_are_aligned() -> None:
    assert columns(("a", "n"), [("xyz", "1"), ("b", "12")]) == "a     n\nxyz   1\nb    12"


def test_what_would_be_ignored_is_refused(image: Image) -> None:
    with pytest.raises(ValueError, match="layer must be one of tokens"):
        report(image, layer="nope")
    with pytest.raises(ValueError, match=r"cpu_seconds: got 0.001, want seconds above 0, with"):
        report(image, cpu_seconds=1e-3)
    with pytest.raises(ValueError, match="inputs: got no steps"):
        report(image, inputs=np.zeros(0, np.int64))
