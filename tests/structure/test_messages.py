"""Messages shorten the values that they show: a value can be as large as a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
_RAW = re.compile(r"got \{[^{}]*!r\}")


@pytest.mark.parametrize("plugin", ["egru", "blocklocal", "sparsity", "spinnaker2"])
def test_messages_take_the_value_from_shorten(plugin: str) -> None:
    files = sorted((PLUGINS / plugin / "src").rglob("*.py"))
    assert files
    raw = [
        f"{file.name}: {found}"
        for file in files
        for found in _RAW.findall(file.read_text(encoding="utf-8"))
    ]
    assert not raw, "use evenfall.errors.shorten"
