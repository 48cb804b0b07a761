"""No file of others is opened with np.load: its errors advise to load pickles, which run code."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("py_spinnaker2.py", "datasets/readers/")
"""Text of a script for users; readers that have their own test of such files."""


def test_packages_read_arrays_through_core() -> None:
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    sources += ROOT.glob("kernels/src/**/*.py")
    found = [file.as_posix() for file in sources if "np.load(" in file.read_text("utf-8")]
    assert [file for file in found if not any(part in file for part in ELSEWHERE)] == []
