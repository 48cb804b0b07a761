"""The patch "mamba" runs the Mamba-1 models of transformers and mamba_ssm on Evenfall's kernels.

    >>> import evenfall
    >>> with evenfall.patch("mamba"):
    ...     model.generate(prompt)

Importing this module patches nothing and imports no framework.
"""

from __future__ import annotations

from .families import FAMILIES, TESTED_MAMBA_SSM, TESTED_TRANSFORMERS, Family

__version__ = "0.1.0"

__all__ = ["FAMILIES", "TESTED_MAMBA_SSM", "TESTED_TRANSFORMERS", "Family"]
