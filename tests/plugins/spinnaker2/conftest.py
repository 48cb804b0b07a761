"""What the tests of the exporter share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("numpy")

from evenfall_spinnaker2.chip import load_chip
from evenfall_spinnaker2.mapping import layouts


@pytest.fixture
def use_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give processing elements few bytes, so that small networks need many."""

    def use(size: int) -> None:
        chip = load_chip()
        small = replace(chip, sram_bytes=chip.code_bytes + chip.stack_bytes + size)
        monkeypatch.setattr(layouts, "load_chip", lambda profile: small)

    return use
