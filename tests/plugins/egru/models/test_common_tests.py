"""EGRU under transformers' own common tests of models, at both ends of the supported range."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ...transformers_tests import BOTH_ENDS, passing

# The first wants a warning of transformers' own decorator for the former name of `cache`; in the
# second, PyTorch cannot draw the initial thresholds in float16.
KNOWN = ("test_bc_cache_name_forward", "test_keep_in_fp32_modules_strict_also_hardcode_fp32")


@pytest.mark.slow
@BOTH_ENDS
def test_common_tests_of_transformers_pass(
    tmp_path: Path, version: str, packages: tuple[str, ...]
) -> None:
    tester = Path(__file__).with_name("common_tester.py")
    assert passing(tester, version, packages, KNOWN, tmp_path) > 50
