"""Patches: reversible changes of other packages, complete or not at all.

    >>> import evenfall
    >>> with evenfall.patch("mamba"):
    ...     model.generate(prompt)
    >>> handle = evenfall.patch("mamba", targets=["transformers"]).apply()
    >>> handle.revert()

A plugin registers a `Patch` with the hook `evenfall_register_patches`. A patch has one target for
each host package. Before the first change every target is checked: its version, that each attribute
exists and takes the parameters that the replacement needs, and that it is not patched already.
"""

from .declarations import Change, Patch, Target
from .handle import PatchHandle, applied, patch

__all__ = ["Change", "Patch", "PatchHandle", "Target", "applied", "patch"]
