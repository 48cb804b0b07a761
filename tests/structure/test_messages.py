"""Messages shorten the values that they show: a value can be as large as a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAVELS = "checks.py"  # of egru_scan, in published folders, where core is absent
_RAW = re.compile(r"got \{[^{}]*!r\}")


@pytest.mark.parametrize(
    "package", ["core", "kernels", *(f"plugins/{path.name}" for path in ROOT.glob("plugins/*/"))]
)
def test_messages_take_the_value_from_shorten(package: str) -> None:
    files = [
        file
        for file in sorted((ROOT / package / "src").rglob("*.py"))
        if (file.parent.name, file.name) != ("egru_scan", TRAVELS)
    ]
    assert files
    raw = [
        f"{file.name}: {found}"
        for file in files
        for found in _RAW.findall(file.read_text(encoding="utf-8"))
    ]
    assert not raw, "use evenfall.errors.shorten"
