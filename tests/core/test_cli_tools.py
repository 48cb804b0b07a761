"""What plugins' commands share."""

from __future__ import annotations

from zipfile import BadZipFile

import pytest
from typer.testing import CliRunner

from evenfall.cli.tools import clear_errors, make_group, progress_bar, progress_bars


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
    ],
)
def test_an_error_is_one_line(error: Exception, line: str) -> None:
    assert failing(error) == line


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), clear_errors():
        raise KeyError("a bug, not a mistake of the user")


def test_a_group_of_one_command_is_a_group() -> None:
    seen = []

    def only(word: str) -> None:
        """Say a word."""
        seen.append(word)

    app = make_group("g", "One command.", only)
    assert CliRunner().invoke(app, ["only", "hello"]).exit_code == 0
    assert seen == ["hello"]
    listed = CliRunner().invoke(app, ["-h"]).output
    assert "One command." in listed and "Say a word." in listed


def test_bars_write_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("one") as report:
        report(1, 2)
    with progress_bars() as reports:
        reports("a", 1, 2)
        reports("b", 2, 2)
        reports("a", 2, 2)
    assert capsys.readouterr().out == ""
