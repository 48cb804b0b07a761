"""The patch "mamba" runs the Mamba models of transformers and mamba_ssm on Evenfall's kernels.

    >>> import evenfall
    >>> with evenfall.patch("mamba"):
    ...     model.generate(prompt)

Importing this module patches nothing and imports no framework.
"""

from __future__ import annotations

from .families import (
    FAMILIES,
    MAMBA2_FAMILIES,
    TESTED_MAMBA_SSM,
    TESTED_TRANSFORMERS,
    Family,
    Mamba2Family,
)

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "MAMBA2_FAMILIES",
    "TESTED_MAMBA_SSM",
    "TESTED_TRANSFORMERS",
    "Family",
    "Mamba2Family",
]
