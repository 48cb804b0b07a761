"""docs/benchmarks.md is what tests/benchmarks/page.py makes of the records, to the letter."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDS = sorted((REPOSITORY / "docs" / "benchmarks").glob("*/*.json"))


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "tests" / "benchmarks")
        yield importlib.import_module("page")


def _write(folder: Path, name: str, rows: list[dict[str, object]], cpu: str = "Abacus") -> None:
    content = {
        "name": name,
        "date": "2000-01-02",
        "command": f"python {name}.py",
        "notes": "",
        "machine": {"cpu": cpu, "cores": 1, "ram_gib": None},
        "rows": rows,
    }
    path = folder / cpu.lower() / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_page_is_up_to_date(page: ModuleType) -> None:
    written = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert written == page.page(), "run `python tests/benchmarks/page.py`"


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_record_lies_where_measuring_again_puts_it(page: ModuleType, path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    folder_name = importlib.import_module("record").folder_name
    assert (folder_name(content["machine"]), content["name"]) == (path.parent.name, path.stem)
    assert path.stem in page.SUBJECTS
    assert f"python tests/benchmarks/{path.stem}.py" in content["command"]


def test_every_subject_has_the_same_shape(page: ModuleType) -> None:
    for name in page.SUBJECTS:
        subject = importlib.import_module(name)
        assert subject.TITLE, name
        assert subject.ABOUT, name
        assert callable(subject.tables), name
        assert callable(subject.main), name
        assert hasattr(subject, "IMAGE") == hasattr(subject, "ALT") == hasattr(subject, "picture")


def test_make_bench_runs_every_subject_that_needs_nothing_more(page: ModuleType) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (line,) = [line for line in makefile.splitlines() if line.startswith("BENCHMARKS := ")]
    more = {"gpu", "stream_positions", "robustness"}  # a GPU; half a day; an hour
    assert sorted(line.split()[2:]) == sorted(set(page.SUBJECTS) - more)


def test_the_first_table_sums_up_the_records(page: ModuleType) -> None:
    summary = importlib.import_module("summary")
    shown = page.page().partition("## In one table")[2].partition("\n## ")[0].splitlines()
    lines = [line for line in shown if line.startswith("| [")]
    assert len(lines) == len(summary.LINES)  # each is measured on a machine
    assert [line for line in shown if line.startswith("| What")] == [
        "| What | Against | AMD EPYC | Intel Xeon |"
    ]
    folder = REPOSITORY / "docs" / "benchmarks"
    scans = json.loads((folder / "amd-epyc" / "egru_scan.json").read_text(encoding="utf-8"))["rows"]
    row = next(row for row in scans if row["batch"] == 1 and row["units"] == 1350)
    (line,) = [line for line in lines if "batch of 1]" in line]
    ratio = round(row["nn.GRU_ms"] / row["scan_ms"], 1)
    assert f"| `nn.GRU` | {ratio:g}x |" in line
    prompts = json.loads((folder / "intel-xeon" / "mamba.json").read_text(encoding="utf-8"))["rows"]
    ratio = prompts[0]["before_ms"] / prompts[0]["after_ms"]
    (line,) = [line for line in lines if "[Mamba reads" in line]
    assert line.endswith(f"| {ratio:.2g}x |")


def test_the_first_table_leaves_out_what_was_not_measured(page: ModuleType, tmp_path: Path) -> None:
    row = {"threads": 1, "way": "EGRU, events", "times_the_LSTM": 1234.5, "tokens_per_second": 1}
    _write(tmp_path, "generate", [row])
    first = page.page(tmp_path).partition("## In one table")[2].partition("\n## ")[0]
    assert "| `nn.LSTM` of the same sizes | 1,200x |" in first
    assert first.count("| [") == 1


def test_unknown_record_gets_a_trimmed_table(page: ModuleType, tmp_path: Path) -> None:
    _write(tmp_path, "some_thing", [{"what": "a", "ms": 1234.5, "none": None}] * 30)
    text = page.page(tmp_path)
    assert "## Some thing" in text
    assert "| a | 1,234 | – |" in text
    assert text.count("| a |") == page.MOST_ROWS
    assert f"The first {page.MOST_ROWS} of 30 rows." in text
    assert "**Abacus, 1 cores**" in text
    assert "`python some_thing.py` · " in text
    assert "2000-01-02 · [all rows](benchmarks/abacus/some_thing.json)" in text


def test_no_records_leave_the_introduction(page: ModuleType, tmp_path: Path) -> None:
    assert page.page(tmp_path) == page.INTRO.strip() + "\n"


def test_known_records_come_first(page: ModuleType, tmp_path: Path) -> None:
    _write(tmp_path, "aardvark", [{"n": 1}])
    row = {"what": "import", "unit": "ms", "median": 1.0, "min": 0.5, "max": 2.0}
    _write(tmp_path, "startup", [row])
    text = page.page(tmp_path)
    assert text.index("## Startup") < text.index("## Aardvark")
    assert "| `import` | ms | 1 | 0.5 | 2 |" in text


def test_machines_share_a_section_and_are_named_once(page: ModuleType, tmp_path: Path) -> None:
    way = {"threads": 1, "way": "EGRU", "tokens_per_second": 2.0, "times_the_LSTM": 1.5}
    _write(tmp_path, "generate", [way])
    _write(tmp_path, "generate", [way | {"tokens_per_second": 3.0}], cpu="Sliderule")
    text = page.page(tmp_path)
    assert text.count("## Generating text") == text.count("![") == 1
    places = [text.index(found) for found in (
        "**Abacus, 1 cores**", "![", "| 1 | EGRU | 2 |", "abacus/generate.json",
        "**Sliderule, 1 cores**", "| 1 | EGRU | 3 |", "sliderule/generate.json",
    )]  # fmt: skip
    assert places == sorted(places)
    assert text.count("Abacus") == text.count("Sliderule") == 1


@pytest.mark.parametrize(
    ("about", "folder"),
    [
        ({"cpu": "AMD EPYC"}, "amd-epyc"),
        ({"cpu": "Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz"}, "intel-xeon-platinum-8480"),
        ({"cpu": "AMD EPYC 9B14 96-Core Processor"}, "amd-epyc-9b14-96-core"),
        ({"cpu": "AMD EPYC", "gpu": "NVIDIA H200"}, "nvidia-h200"),
        ({"cpu": "???"}, "unknown"),
    ],
)
def test_folder_is_named_after_the_machine(
    page: ModuleType, about: dict[str, str], folder: str
) -> None:
    assert importlib.import_module("record").folder_name(about) == folder


def test_record_is_written_whole_or_not_at_all(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = importlib.import_module("record")
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    path = record.save("some_thing", [{"ms": 1.5}], "python some_thing.py", "quiet")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / record.folder_name(record.machine()) / "some_thing.json"
    assert record.saved_rows("some_thing") == content["rows"] == [{"ms": 1.5}]
    with pytest.raises(TypeError):
        record.save("some_thing", [{"ms": object()}], "python some_thing.py", "")
    assert record.saved_rows("some_thing") == [{"ms": 1.5}]
    assert [found.name for found in path.parent.iterdir()] == ["some_thing.json"]


def test_gpu_record_shows_its_parts(page: ModuleType, tmp_path: Path) -> None:
    checks = {"part": "checks", "file": "tests/a.py", "passed": 3, "failed": 1, "seconds": 2.0}
    scan = {"part": "scan", "batch": 1, "steps": 70, "inputs": 2, "units": 3, "dtype": "float32",
            "pass": "forward", "egru_scan_ms": 4.25, "nn.GRU_ms": None}  # fmt: skip
    event = {"part": "event", "batch": 1, "activity": 0.1, "product": "event int8"}
    trained = {"part": "training", "hidden_sizes": [4, 3], "parameters": 1000, "epochs": 2,
               "mean_activity": 0.25}  # fmt: skip
    _write(tmp_path, "gpu", [checks, scan, event, event | {"batch": 16}, trained])
    text = page.page(tmp_path)
    assert "| `tests/a.py` | 3 | 1 | – | 2 |" in text
    assert "| 1 | 70 | 2 → 3 | float32 | forward | 4.25 | – | – | – | – |" in text
    assert text.count("event int8") == 1
    assert "| [4, 3] | 1,000 | 2 | – | – | – | 25 % |" in text


def test_scan_record_shows_sizes_rivals_and_memory(page: ModuleType, tmp_path: Path) -> None:
    size = {"part": "size", "batch": 1, "channels": 2, "length": 3, "states": 4, "forward_ms": 5.25}
    versus = {"part": "versus", "rival": "transformers", "length": 3, "pass": "forward",
              "rival_ms": 100.0, "evenfall_ms": 2.0, "times_faster": 50.0}  # fmt: skip
    _write(tmp_path, "selective_scan", [size, versus, {"part": "memory", "what": "ours"}])
    text = page.page(tmp_path)
    assert "| 1 | 2 | 3 | 4 | 5.25 | – | – | – | – | – |" in text
    assert "| transformers | 3 | forward | 100 | 2 | 50 |" in text
    assert "| ours | – | – |" in text


def test_mamba_record_shows_speed_and_profile(page: ModuleType, tmp_path: Path) -> None:
    speed = {"part": "speed", "task": "a prompt", "before_ms": 6.0, "after_ms": 2.0}
    where = {"part": "profile", "task": "a prompt", "where": "scan", "ms": 1.0, "share": 0.5}
    _write(tmp_path, "mamba", [speed, where])
    text = page.page(tmp_path)
    assert "| a prompt | 6 | 2 | – |" in text
    assert "| a prompt | scan | 1 | 50 % |" in text
