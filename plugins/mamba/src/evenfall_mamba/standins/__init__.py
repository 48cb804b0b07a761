"""Modules that take the place of Mamba's compiled extensions, on Evenfall's kernels.

They have the functions, arguments and results of the originals, and are found under the originals'
names while the patch "mamba" is applied to `mamba_ssm`, wherever the originals are absent.
"""

from __future__ import annotations

_CONV = "causal_conv1d"

MODULES = {
    name: f"{__name__}.{name}"
    for name in (
        "selective_scan_cuda",
        "causal_conv1d_cuda",
        _CONV,
        f"{_CONV}.causal_conv1d_interface",
        f"{_CONV}.causal_conv1d_varlen",
        f"{_CONV}.cpp_functions",
    )
}
"""For each module that may be absent, ours."""
