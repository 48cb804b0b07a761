"""What every test may rely on: one BLAS thread a worker, and where the real data sets are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before torch or numba is imported. Two Numba threads, so that parallel loops are truly
# parallel under test even where the machine would have given one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of data sets: `$EVENFALL_DATA`, else `shared/data` beside the checkout.

    Skips the test, naming the absent folder, where there is none.
    """
    configured = os.environ.get("EVENFALL_DATA")
    folder = Path(configured) if configured else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data sets: {folder} does not exist; set EVENFALL_DATA to their folder")
    return folder
