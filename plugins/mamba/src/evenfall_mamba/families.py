"""The model families of transformers that the patch covers, and the tested versions."""

from __future__ import annotations

from dataclasses import dataclass

TESTED_TRANSFORMERS = ">=5.15,<5.25"
"""Versions of transformers that the patch was tested with. It refuses all others."""

TESTED_MAMBA_SSM = ">=2.3.2,<2.4"
"""Versions of mamba_ssm that the patch was tested with. It refuses all others."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family: its module in transformers; `fused` if that has a fused training path.

    `mixer` is the class of its Mamba layers in that module.
    """

    name: str
    module: str
    mixer: str
    fused: bool = True


FAMILIES = (
    Family("Mamba", "transformers.models.mamba.modeling_mamba", "MambaMixer"),
    Family(
        "FalconMamba", "transformers.models.falcon_mamba.modeling_falcon_mamba", "FalconMambaMixer"
    ),
    Family("Jamba", "transformers.models.jamba.modeling_jamba", "JambaMambaMixer"),
    Family("Zamba", "transformers.models.zamba.modeling_zamba", "ZambaMambaMixer", fused=False),
)
"""Every family with a Mamba-1 mixer in these versions."""


@dataclass(frozen=True, slots=True)
class Mamba2Family:
    """One family with a Mamba-2 mixer: its module in transformers, and the mixer in that module."""

    name: str
    module: str
    mixer: str


MAMBA2_FAMILIES = (
    Mamba2Family("Mamba2", "transformers.models.mamba2.modeling_mamba2", "Mamba2Mixer"),
    Mamba2Family("Bamba", "transformers.models.bamba.modeling_bamba", "BambaMixer"),
    Mamba2Family("FalconH1", "transformers.models.falcon_h1.modeling_falcon_h1", "FalconH1Mixer"),
    Mamba2Family(
        "GraniteMoeHybrid",
        "transformers.models.granitemoehybrid.modeling_granitemoehybrid",
        "GraniteMoeHybridMambaLayer",
    ),
    Mamba2Family(
        "NemotronH", "transformers.models.nemotron_h.modeling_nemotron_h", "NemotronHMamba2Mixer"
    ),
    Mamba2Family("Zamba2", "transformers.models.zamba2.modeling_zamba2", "Zamba2MambaMixer"),
)
"""Every family whose scan has one decay a head, in these versions."""
