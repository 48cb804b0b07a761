"""The model families of transformers that use the Mamba-1 scan, and the tested versions."""

from __future__ import annotations

from dataclasses import dataclass

TESTED_TRANSFORMERS = ">=5.15,<5.25"
"""Versions of transformers that the patch was tested with. It refuses all others."""

TESTED_MAMBA_SSM = ">=2.3.2,<2.4"
"""Versions of mamba_ssm that the patch was tested with. It refuses all others."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family: its module in transformers; `fused` if that has a fused training path."""

    name: str
    module: str
    fused: bool = True


FAMILIES = (
    Family("Mamba", "transformers.models.mamba.modeling_mamba"),
    Family("FalconMamba", "transformers.models.falcon_mamba.modeling_falcon_mamba"),
    Family("Jamba", "transformers.models.jamba.modeling_jamba"),
    Family("Zamba", "transformers.models.zamba.modeling_zamba", fused=False),
)
"""Every family with a Mamba-1 mixer in these versions. Mamba-2 models use another scan."""
