"""Where tests of Triton kernels run: on a GPU, or interpreted on the CPU."""

from __future__ import annotations

import os

import pytest


def triton_device() -> str:
    """The torch device of such tests: "cuda" if there is one, "cpu" under TRITON_INTERPRET=1.

    Triton's interpreter then scans whole tiles at once (`evenfall.testing.interpreter`).

    Call it where a test module begins: without either, the whole module is skipped.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("TRITON_INTERPRET") == "1":
        from evenfall.testing.interpreter import quicken_interpreter

        quicken_interpreter()
        return "cpu"
    pytest.skip(
        "no CUDA device; TRITON_INTERPRET=1 runs these tests on the CPU", allow_module_level=True
    )
