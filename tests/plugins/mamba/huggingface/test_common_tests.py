"""Patched Mamba models under transformers' own common tests of models, at both ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ...transformers_tests import BOTH_ENDS, passing
from ..conftest import MAKERS as MAMBA1
from .mamba2_models import MAKERS as MAMBA2

FAMILIES = [name for name in MAMBA1 | MAMBA2 if " " not in name]
if os.environ.get("EVENFALL_ALL_FAMILIES") != "1":
    FAMILIES = ["Mamba", "Mamba2"]
# The first fails without the patch, too; the second wants a model with two layers.
LEFT_OUT = ("test_bc_cache_name_forward", "test_num_layers_is_small")
# Without the patch, too: the model without a head has no name that loading changes.
ALSO = {"NemotronH": ("test_reverse_loading_mapping",)}


@pytest.mark.slow
@BOTH_ENDS
@pytest.mark.parametrize("family", FAMILIES)
def test_common_tests_of_transformers_pass(
    tmp_path: Path, version: str, packages: tuple[str, ...], family: str
) -> None:
    tester = Path(__file__).with_name("common_tester.py")
    left_out = (*LEFT_OUT, *ALSO.get(family, ()))
    only = "MambaTest and not Falcon" if family == "Mamba" else f"{family}Test"
    assert passing(tester, version, packages, left_out, tmp_path, only) > 70
