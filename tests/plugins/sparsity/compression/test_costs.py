"""The cost model: measured once, kept in a file, measured again where the file does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evenfall_sparsity.compression import costs as module
from evenfall_sparsity.compression.costs import Cost, Costs
from evenfall_sparsity.compression.kinds import Kind

BLOCKS = Kind(16, torch.float32)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces the measurement; the list says what was measured."""
    calls: list[Any] = []

    def measure(kind: Kind) -> Cost:
        calls.append(kind)
        return Cost(3.0, 0.5)

    monkeypatch.setattr(module, "_measure", measure)
    return calls


def test_is_measured_once_and_kept(tmp_path: Path, measured: list[Any]) -> None:
    file = tmp_path / "deep" / "costs.json"
    first = Costs(file)
    assert first.of(BLOCKS) == first.of(BLOCKS) == Cost(3.0, 0.5)
    assert Costs(file).of(BLOCKS) == Cost(3.0, 0.5)
    assert measured == [BLOCKS]


@pytest.mark.parametrize(
    "change", [{"version": 0}, {"torch": "1.0"}, {"machine": {}}, {"costs": 1}]
)
def test_another_machine_or_version_is_measured_again(
    tmp_path: Path, measured: list[Any], change: dict[str, Any]
) -> None:
    file = tmp_path / "costs.json"
    Costs(file).of(BLOCKS)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    Costs(file).of(BLOCKS)
    assert len(measured) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_file_is_replaced(tmp_path: Path, measured: list[Any], content: str) -> None:
    file = tmp_path / "costs.json"
    file.write_text(content)
    Costs(file).of(BLOCKS)
    assert json.loads(file.read_text())["costs"] == {"blocks 1x16, float32": [3.0, 0.5]}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, measured: list[Any]) -> None:
    (tmp_path / "file").write_text("")
    costs = Costs(tmp_path / "file" / "costs.json")
    assert costs.of(BLOCKS) == Cost(3.0, 0.5)


def test_the_folder_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Costs().path == tmp_path / "evenfall" / "costs.json"


@pytest.mark.parametrize("width", [0, 1, 16])
def test_a_measurement_gives_positive_times(width: int) -> None:
    cost = module._measure(Kind(width, torch.float32))
    assert cost.row >= 0
    assert cost.entry > 0


def test_a_dense_product_is_measured_on_one_thread() -> None:
    threads = torch.get_num_threads()
    assert module._measure_dense().entry > 0
    assert torch.get_num_threads() == threads


def test_the_time_of_a_vector(tmp_path: Path, measured: list[Any]) -> None:
    costs = Costs(tmp_path / "costs.json")
    active, entries = torch.tensor([1.0, 0.5]), torch.tensor([4.0, 8.0])
    want = (1 * (3 + 0.5 * 4) + 0.5 * (3 + 0.5 * 8)) / 1000
    assert costs.microseconds(BLOCKS, active, entries) == pytest.approx(want)
