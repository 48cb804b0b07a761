"""The model families of transformers whose mixer runs the Mamba-1 scan, and what they share."""

from __future__ import annotations

from dataclasses import dataclass

TESTED_TRANSFORMERS = ">=5.23,<5.24"
"""Versions of transformers that the patch was tested with; it refuses others."""

TESTED_MAMBA_SSM = ">=2.3.2,<2.4"
"""Versions of mamba_ssm that the patch was tested with; it refuses others."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family: its module in transformers, its mixer class, and whether it has a fused path."""

    name: str
    module: str
    mixer: str
    fused: bool = True


FAMILIES = (
    Family("Mamba", "transformers.models.mamba.modeling_mamba", "MambaMixer"),
    Family(
        "FalconMamba",
        "transformers.models.falcon_mamba.modeling_falcon_mamba",
        "FalconMambaMixer",
    ),
    Family("Jamba", "transformers.models.jamba.modeling_jamba", "JambaMambaMixer"),
    Family("Zamba", "transformers.models.zamba.modeling_zamba", "ZambaMambaMixer", fused=False),
)
"""Every family of transformers 5.23 with a Mamba-1 mixer. Mamba-2 models run another scan."""
