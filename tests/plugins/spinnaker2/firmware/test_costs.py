"""The table of instructions is complete and in a plausible range."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenfall_spinnaker2.firmware.build import build, missing_tools
from evenfall_spinnaker2.firmware.costs import measure

pytestmark = pytest.mark.skipif(
    bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}"
)


def test_an_addition_takes_few_instructions(tmp_path: Path) -> None:
    costs = list(measure(build(tmp_path / "pe.elf")))
    assert len(costs) == len({(c.kind, c.mode, c.matrix, c.weights) for c in costs}) == 17
    assert all(5 < cost.addition < 25 for cost in costs)
    assert all(30 < cost.unit < 600 for cost in costs)
    dense, sparse = (next(c for c in costs if c.matrix == name) for name in ("dense", "sparse"))
    assert dense.addition < sparse.addition  # a sparse matrix also reads an index
