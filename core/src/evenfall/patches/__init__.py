"""Patches: reversible changes of other packages, all or nothing.

    >>> import evenfall
    >>> with evenfall.patch("mamba"):
    ...     model.generate(prompt)
    >>> handle = evenfall.patch("mamba", targets=["transformers"]).apply()
    >>> handle.revert()

A plugin registers a `Patch` with the hook `evenfall_register_patches`. A patch has targets, one a
host package. Every target is examined before the first change: its version, that each attribute is
there and takes the parameters that the replacement relies on, that none is changed already.
"""

from .declarations import Change, Patch, Target
from .handle import PatchHandle, applied, patch

__all__ = ["Change", "Patch", "PatchHandle", "Target", "applied", "patch"]
