"""docs/benchmarks.md is what tests/benchmarks/report.py makes of the records, to the letter."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "tests" / "benchmarks")
        yield importlib.import_module("report")


def _write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    content = {
        "name": name,
        "date": "2000-01-02",
        "command": f"python bench_{name}.py",
        "notes": "",
        "machine": {"cpu": "Abacus", "cores": 1, "ram_gib": None},
        "rows": rows,
    }
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def test_page_is_up_to_date(report: ModuleType) -> None:
    written = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert written == report.page(), "run `python tests/benchmarks/report.py`"


def test_every_section_has_the_same_shape(report: ModuleType) -> None:
    found = report.sections()
    assert len({section.PLACE for section in found.values()}) == len(found)
    for name, section in found.items():
        assert callable(section.section), name
        assert hasattr(section, "IMAGE") == hasattr(section, "picture"), name


def test_unknown_record_gets_a_trimmed_table(report: ModuleType, tmp_path: Path) -> None:
    _write(tmp_path, "some_thing", [{"what": "a", "ms": 1234.5, "none": None}] * 30)
    page = report.page(tmp_path)
    assert "## Some thing" in page and "| a | 1,234 | – |" in page
    assert page.count("| a |") == report.MOST_ROWS
    assert f"The first {report.MOST_ROWS} of 30 rows." in page
    assert "`python bench_some_thing.py` · Abacus, 1 cores" in page and "2000-01-02" in page


def test_no_records_leave_the_introduction(report: ModuleType, tmp_path: Path) -> None:
    assert report.page(tmp_path) == report.INTRO.strip() + "\n"


def test_known_records_come_first(report: ModuleType, tmp_path: Path) -> None:
    _write(tmp_path, "aardvark", [{"n": 1}])
    row = {"what": "import", "unit": "ms", "median": 1.0, "min": 0.5, "max": 2.0}
    _write(tmp_path, "startup", [row])
    page = report.page(tmp_path)
    assert page.index("## Startup") < page.index("## Aardvark")
    assert "| `import` | ms | 1 | 0.5 | 2 |" in page


def test_gpu_record_shows_its_three_parts(report: ModuleType, tmp_path: Path) -> None:
    scan = {"part": "scan", "batch": 1, "steps": 70, "inputs": 2, "units": 3, "dtype": "float32",
            "pass": "forward", "egru_scan_ms": 4.25, "nn.GRU_ms": None}  # fmt: skip
    event = {"part": "event", "batch": 1, "activity": 0.1, "product": "event int8"}
    trained = {"part": "training", "hidden_sizes": [4, 3], "parameters": 1000, "epochs": 2,
               "mean_activity": 0.25}  # fmt: skip
    _write(tmp_path, "gpu", [scan, event, event | {"batch": 16}, trained])
    page = report.page(tmp_path)
    assert "| 1 | 70 | 2 → 3 | float32 | forward | 4.25 | – | – | – | – |" in page
    assert page.count("event int8") == 1
    assert "| [4, 3] | 1,000 | 2 | – | – | – | 25 % |" in page


def test_scan_record_shows_sizes_rivals_and_memory(report: ModuleType, tmp_path: Path) -> None:
    size = {"part": "size", "batch": 1, "channels": 2, "length": 3, "states": 4, "forward_ms": 5.25}
    versus = {"part": "versus", "rival": "transformers", "length": 3, "pass": "forward",
              "rival_ms": 100.0, "evenfall_ms": 2.0, "times_faster": 50.0}  # fmt: skip
    _write(tmp_path, "selective_scan", [size, versus, {"part": "memory", "what": "ours"}])
    page = report.page(tmp_path)
    assert "| 1 | 2 | 3 | 4 | 5.25 | – | – | – | – | – |" in page
    assert "| transformers | 3 | forward | 100 | 2 | 50 |" in page
    assert "| ours | – | – |" in page


def test_mamba_record_shows_speed_and_profile(report: ModuleType, tmp_path: Path) -> None:
    speed = {"part": "speed", "task": "a prompt", "before_ms": 6.0, "after_ms": 2.0}
    where = {"part": "profile", "task": "a prompt", "where": "scan", "ms": 1.0, "share": 0.5}
    _write(tmp_path, "mamba", [speed, where])
    page = report.page(tmp_path)
    assert "| a prompt | 6 | 2 | – |" in page and "| a prompt | scan | 1 | 50 % |" in page
