"""Runs behind a card: means and spreads by hand, recipes that differ, the command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evenfall.hub.compared import (
    OWN,
    ComparedRun,
    best_folder,
    check_alike,
    differences,
    pack_command,
    read_baselines,
    score_text,
    summarise,
)


@dataclass
class Recipe:
    cell: str = "egru"
    seed: int = 0
    dataset_options: dict[str, Any] = field(default_factory=dict)


class Weight:
    def numel(self) -> int:
        return 7


class Model:
    def parameters(self) -> list[Weight]:
        return [Weight(), Weight()]


def run(label: str, accuracy: float, **settings: Any) -> ComparedRun:
    result = {"accuracy": accuracy, "examples": 50}
    return ComparedRun(label, Path("x"), Model(), Recipe(**settings), {"test": result})


def test_the_summary_has_the_mean_and_the_sample_deviation() -> None:
    rows = summarise([run(OWN, 0.9), run("GRU", 0.5), run(OWN, 0.8, seed=4), run(OWN, 1.0)])
    assert [(row["model"], row["runs"], row["seeds"]) for row in rows] == [
        (OWN, 3, [0, 4, 0]),
        ("GRU", 1, [0]),
    ]
    assert rows[0]["accuracy"] == pytest.approx(0.9)
    assert rows[0]["deviation"] == pytest.approx(0.1)
    assert (rows[0]["parameters"], rows[0]["examples"], rows[1]["deviation"]) == (14, 50, None)
    assert list(map(score_text, rows)) == ["90.00 ± 10.00 %", "50.00 %"]


def test_runs_of_a_model_may_differ_in_seed_and_fold_alone() -> None:
    options = [{"pixels": 4, "fold": fold} for fold in (0, 1)]
    own = [run(OWN, 1, seed=i, dataset_options=one) for i, one in enumerate(options)]
    gru = run("GRU", 1, cell="gru", dataset_options=options[1])
    check_alike([*own, gru])
    assert differences([*own, gru], own[0]) == {"GRU": {"cell": "gru"}}
    other = run(OWN, 1, dataset_options={"pixels": 28})
    with pytest.raises(ValueError, match=r"this model must differ only .*\['dataset_options'\]"):
        check_alike([*own, other])


def test_the_command_names_runs_without_paths(tmp_path: Path) -> None:
    (tmp_path / "a" / "best").mkdir(parents=True)
    assert best_folder(tmp_path / "a") == best_folder(tmp_path / "a" / "best")
    assert best_folder(tmp_path) == tmp_path
    others = read_baselines(["GRU=/x/g-0", "LSTM=/x/l-0/best", "GRU=/x/g-1"])
    assert others == {"GRU": ["/x/g-0", "/x/g-1"], "LSTM": ["/x/l-0/best"]}
    command = pack_command("evenfall x pack", [tmp_path / "a" / "best"], others, "--output out")
    assert command == (
        "evenfall x pack \\\n    a \\\n    --baseline 'GRU=g-0' \\\n    --baseline 'GRU=g-1' \\\n"
        "    --baseline 'LSTM=l-0' \\\n    --data DATA \\\n    --output out"
    )
    with pytest.raises(ValueError, match="baseline must be NAME=RUN, got 'GRU'"):
        read_baselines(["GRU"])
    with pytest.raises(ValueError, match="another name than 'this model', got 'this model=/x'"):
        read_baselines(["this model=/x"])
