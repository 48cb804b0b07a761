"""stream.py on tiny sizes, and what the page makes of its rows."""

from __future__ import annotations

import importlib
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytestmark = pytest.mark.slow

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _scripts() -> Iterator[None]:
    """The scripts import each other by name; they set the threads of torch."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bench(_scripts: None) -> ModuleType:
    return importlib.import_module("stream")


@pytest.fixture(scope="module")
def rows(bench: ModuleType) -> Rows:
    return bench.measure(quick=True, rounds=1)


def _part(rows: Rows, name: str) -> Rows:
    return [row for row in rows if row["part"] == name]


def test_scaling_has_time_and_memory_of_each_layer(rows: Rows) -> None:
    found = {(r["layer"], r["points"], r["pass"]): r for r in _part(rows, "scaling")}
    layers = ("StreamConv", "PointTransformerConv", "dense attention")
    passes = ("forward", "forward + backward")
    measured = [*((layer, 64) for layer in layers), ("StreamConv", 512)]
    assert set(found) == {(*case, what) for case in measured for what in passes}
    assert all(row["ms"] > 0 and row["peak_mib"] >= 0 for row in found.values())
    forward, both = (found["StreamConv", 512, what]["peak_mib"] for what in passes)
    assert both >= forward > 0


def test_growth_compares_eight_times_as_many_points(bench: ModuleType) -> None:
    scaling = sys.modules["stream_parts.scaling"]
    same = {"layer": "StreamConv", "pass": "forward"}
    times = {1024: 2.0, 4096: 9.0, 8192: 17.0}
    found = scaling.growth([same | {"points": n, "ms": ms} for n, ms in times.items()])
    assert [(r["points"], r["times"], r["times_as_long"]) for r in found] == [(8192, 8, 8.5)]


def test_throughput_of_all_models_inference_and_training(rows: Rows) -> None:
    found = {(r["model"], r["batch"], r["pass"]): r for r in _part(rows, "throughput")}
    assert all(math.isfinite(r["per_second"]) and r["per_second"] > 0 for r in found.values())
    clouds = {key[0] for key, row in found.items() if row["unit"] == "clouds"}
    assert clouds == {"stream", "pointmamba", "pointnet"}
    assert ("stream, events", 1, "training") in found
    assert ("stream", 3, "training") in found
    assert ("stream", 1, "training") not in found, "BatchNorm cannot train on one cloud"


def test_online_stream_is_timed_alone_and_asked(rows: Rows) -> None:
    found = {(r["events_at_a_time"], r["logits"]): r for r in _part(rows, "online")}
    asked = ("at the end", "after each push")
    assert set(found) == {(n, when) for n in (1, 64, 1024) for when in asked}
    assert all(row["events_per_second"] > 0 for row in found.values())


def test_profile_tells_the_parts_of_both_passes_apart(rows: Rows) -> None:
    shares: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in _part(rows, "profile"):
        shares[row["model"], row["pass"]][row["where"]] = row["share"]
    assert len(shares) == 4
    for (model, what), parts in shares.items():
        assert {"scan", "convolution", "projections", "order"} <= set(parts)
        assert ("tokens" in parts) == (model == "clouds")
        assert ("embedding" in parts) == (model == "events")
        assert ("optimizer" in parts) == (what == "training")
        assert all(0 <= share <= 1 for share in parts.values())
        assert sum(parts.values()) >= 0.99


def test_quick_saves_nothing(
    bench: ModuleType, rows: Rows, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def never(*args: object) -> None:
        raise AssertionError(f"saved {args}")

    monkeypatch.setattr(sys, "argv", ["stream.py", "--quick"])
    monkeypatch.setattr(bench, "measure", lambda quick, rounds: rows)
    monkeypatch.setattr(sys.modules["script"], "save", never)
    bench.main()
    shown = capsys.readouterr().out
    parts = ("scaling", "growth", "throughput", "online", "profile")
    assert all(f"stream: {part}" in shown for part in parts)


def test_page_shows_every_part(bench: ModuleType, rows: Rows) -> None:
    text = bench.tables({"rows": rows})
    assert "| 512 | StreamConv | " in text
    assert "| 64 | dense attention | " in text
    assert "- `StreamConv`, 64 to 512 points: " in text
    assert "| `EventStreamClassifier` | " in text
    assert "| 64 | after each push | " in text
    assert "| scan | " in text
    assert " %" in text
    one_cloud = next(line for line in text.splitlines() if line.startswith("| `StreamClassifier`"))
    assert one_cloud.endswith("| – |")


def test_page_has_its_picture(bench: ModuleType, rows: Rows, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    importlib.import_module("page").draw(bench, {"rows": rows}, tmp_path)
    drawn = (tmp_path / "stream.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert drawn.count("<path") > 12
