"""The text that the demo evaluates on, written for Evenfall and free to use."""

from __future__ import annotations

from importlib.resources import files

DEMO_TEXT = files(__package__).joinpath("data", "demo.txt").read_text(encoding="utf-8")
