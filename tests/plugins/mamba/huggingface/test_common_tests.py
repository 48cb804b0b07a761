"""Patched Mamba models under transformers' own common tests of models, at both ends.

The tester has a class for every family; those of hybrid models take minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ...transformers_tests import BOTH_ENDS, passing

# They fail without the patch, too.
KNOWN = ("test_bc_cache_name_forward",)


@pytest.mark.slow
@BOTH_ENDS
@pytest.mark.parametrize("only", ["MambaTest and not Falcon", "Mamba2Test"])
def test_common_tests_of_transformers_pass(
    tmp_path: Path, version: str, packages: tuple[str, ...], only: str
) -> None:
    tester = Path(__file__).with_name("common_tester.py")
    assert passing(tester, version, packages, KNOWN, tmp_path, only) > 70
