"""The pictures of docs/concepts.md are what their script draws, for both schemes."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = REPOSITORY / "docs" / "images" / "concepts"
SCRIPT = REPOSITORY / "tools" / "concept_pictures"


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT)
        specification = importlib.util.spec_from_file_location("drawing", SCRIPT / "__main__.py")
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        before = set(sys.modules)
        specification.loader.exec_module(module)
        pictures = module.draw()
        for name in set(sys.modules) - before:
            if str(SCRIPT) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
    return pictures


def test_files_are_up_to_date(drawn: dict[str, str]) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in PICTURES.glob("*.svg")}
    assert written == drawn, "run `python tools/concept_pictures`"


def test_each_stays_inside_its_canvas_and_has_a_title(drawn: dict[str, str]) -> None:
    for name, content in drawn.items():
        root = ElementTree.fromstring(content)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        assert root.find("{*}title").text, name
        for text in root.iter("{*}text"):
            letters = 0.53 * float(text.attrib["font-size"]) * len(text.text)
            end = {"end": 0, "middle": letters / 2}.get(text.attrib.get("text-anchor"), letters)
            assert 0 <= float(text.attrib["y"]) <= height, (name, text.text)
            assert float(text.attrib["x"]) + end <= width, (name, text.text)
        assert all(0 <= float(box.attrib["x"]) <= width for box in root.iter("{*}rect")), name


def test_the_page_shows_each_in_its_scheme() -> None:
    page = (REPOSITORY / "docs" / "concepts.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\(images/concepts/(\w+-(\w+)\.svg)#only-(\w+)\)", page)
    assert sorted(name for name, _, _ in shown) == sorted(path.name for path in PICTURES.iterdir())
    assert all(scheme == only for _, scheme, only in shown)
