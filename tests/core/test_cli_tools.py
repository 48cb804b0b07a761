"""What plugins' commands share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pytest
import typer
from typer.testing import CliRunner

from evenfall.cli import tools
from evenfall.cli.tools import (
    clear_errors,
    make_group,
    progress_bar,
    progress_bars,
    show_facts,
    show_rows,
    training_output,
)
from evenfall.errors import CallbackError


def failing(error: Exception) -> str:
    def fail() -> None:
        """Fail."""
        with clear_errors():
            raise error

    result = CliRunner().invoke(make_group("g", "Group.", fail), ["fail"])
    assert result.exit_code == 1
    return result.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("size must be\n 1, got [2]"), "Error: size must be 1, got [2]\n"),
        (FileNotFoundError(2, "No such file", "x"), "Error: [Errno 2] No such file: 'x'\n"),
        (BadZipFile("no"), "Error: data: the archive cannot be read: no\n"),
        (ImportError("pictures need matplotlib"), "Error: pictures need matplotlib\n"),
        (FloatingPointError("loss is nan"), "Error: loss is nan\n"),
        (MemoryError("9 TB"), "Error: there is not enough memory: 9 TB\n"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "Error: there is not enough memory: DefaultCPUAllocator: can't allocate memory\n",
        ),
        (
            RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
            "Error: the output cannot be written: [enforce fail at inline_container.cc:664] . "
            "unexpected pos 64 vs 0\n",
        ),
        (CallbackError("callback 'a' raises"), "Error: callback 'a' raises\n"),
    ],
)
def test_an_error_is_one_line(error: Exception, line: str) -> None:
    assert failing(error) == line


def test_unreadable_weights_are_one_line(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    assert failing(safetensors.SafetensorError("header too small")) == "Error: header too small\n"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), clear_errors():
        raise KeyError("a bug, not a mistake of the user")


def test_a_line_is_never_longer_than_a_screen() -> None:
    line = failing(ValueError("a" * 10**6))
    assert len(line) < 2100
    assert line.count("\n") == 1


def test_a_group_of_one_command_is_a_group() -> None:
    seen = []

    def only(word: str) -> None:
        """Say a word."""
        seen.append(word)

    app = make_group("g", "One command.", only)
    assert CliRunner().invoke(app, ["only", "hello"]).exit_code == 0
    assert seen == ["hello"]
    listed = CliRunner().invoke(app, ["-h"]).output
    assert "One command." in listed
    assert "Say a word." in listed


def test_bars_write_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("one") as report:
        report(1, 2)
    with progress_bars() as reports:
        reports("a", 1, 2)
        reports("b", 2, 2)
        reports("a", 2, 2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("rank", "lines"), [("0", "loss 1\n"), ("1", "")])
def test_the_first_rank_alone_writes_log_and_bars(
    monkeypatch: pytest.MonkeyPatch, rank: str, lines: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    # pytest sets handlers of its own, beside which logging.basicConfig sets none.
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)

    def train() -> None:
        """Train."""
        with training_output() as report:
            assert (report is not None) == (rank == "0")
            logging.getLogger("evenfall.test").info("loss %d", 1)
            if report is not None:
                report("epoch 1 of 1", 1, 1)

    result = CliRunner().invoke(make_group("g", "Group.", train), ["train"])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert (lines in result.stderr) if lines else result.stderr == ""


def test_an_interrupted_run_says_how_to_continue() -> None:
    def train() -> None:
        """Train."""
        with training_output():
            raise KeyboardInterrupt

    result = CliRunner().invoke(make_group("g", "Group.", train), ["train"])
    assert result.exit_code == 130
    assert "use --resume to continue" in result.stderr


def test_an_interrupted_grid_continues_without_an_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from evenfall.cli import grid

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grid.registry.trainers, "get_as", lambda name, kind: None)
    monkeypatch.setattr("evenfall.runs.run_grid", interrupt)
    options = ["--data", "d", "--output", str(tmp_path / "o"), "--trainer", "t"]
    result = CliRunner().invoke(grid.app, ["run", "g.yaml", *options])
    assert result.exit_code == 130
    assert "run the command again to continue" in result.stderr


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts("Figures", [("accuracy", "90 %"), ("loss", "0.1")])
    show_rows(("class", "examples"), [("ball", "7")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Figures"] in lines
    assert ["class", "examples"] in lines
    assert ["ball", "7"] in lines


def test_brackets_in_tables_and_messages_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts("of [a]", [("[b]", "[/c]")])
    show_rows(["[d]"], [["[/e]"]])
    with pytest.raises(typer.Exit), clear_errors():
        raise ValueError("got [/f]")
    seen = capsys.readouterr()
    assert all(f"[{word}]" in seen.out for word in ("a", "b", "/c", "d", "/e"))
    assert seen.err == "Error: got [/f]\n"


def test_a_new_bar_removes_full_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    class Watched(tools.Bars):
        def update(self, *args: Any, **kwargs: Any) -> None:
            super().update(*args, **kwargs)
            seen.append([task.description for task in self.tasks])

    monkeypatch.setattr(tools, "Bars", Watched)
    with progress_bars() as report:
        report("epoch 1", 1, 2)
        report("valid", 1, 2)
        report("epoch 1", 2, 2)
        report("epoch 2", 1, 2)
        report("epoch 1", 1, 2)
    assert seen[1:] == [
        ["epoch 1", "valid"], ["epoch 1", "valid"], ["valid", "epoch 2"],
        ["valid", "epoch 2", "epoch 1"],
    ]  # fmt: skip
