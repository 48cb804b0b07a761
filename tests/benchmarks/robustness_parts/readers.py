"""The tests of damaged files, with 10,000 cases of each format."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2]
READERS = {
    "arrays, JSON, YAML, gzip, graphs, grids": ("core/test_reading.py", 10),
    "event recordings": ("plugins/stream/datasets/readers/test_event_formats.py", 6),
    "point clouds": ("plugins/stream/datasets/readers/test_cloud_formats.py", 5),
    "text corpora": ("core/test_corpora.py", 2),
    "checkpoints of EGRU": ("plugins/egru/test_loading.py", 3),
    "images for SpiNNaker2": ("plugins/spinnaker2/image/test_damaged_images.py", 1),
}
"""What -> the file of its tests, and how many formats it damages."""


def measure(
    folder: Path, seed: int, quick: bool, keep: Collection[str]
) -> Iterator[dict[str, Any]]:
    cases = 20 if quick else 10_000
    for what, (file, formats) in READERS.items():
        name = f"damaged files: {what}"
        if name in keep:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-k", "damaged", "-p", "no:cacheprovider",
             "--basetemp", folder / "pytest", TESTS / file],
            env={**os.environ, "EVENFALL_FUZZ": str(cases), "NO_COLOR": "1"},
            capture_output=True, text=True, cwd=TESTS.parent,
        )  # fmt: skip
        failed = re.findall(r"^FAILED .*", done.stdout, re.M)
        problems = failed or ([] if done.returncode == 0 else [done.stdout[-300:]])
        yield {
            "what": name,
            "tried": cases * formats,
            "unit": "files",
            "seen": problems[0] if problems else "read, or refused with the file's name",
            "wrong": len(problems),
            "notes": problems,
        }
