"""Stand-ins for Mamba's compiled extensions, on Evenfall's kernels.

They have the functions, arguments and results of the originals. While the patch "mamba" is applied
to `mamba_ssm`, they can be imported by the names of those originals that are not installed.
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
"""Name of a module that may not be installed -> name of its stand-in."""
