"""The errors and warnings of the core. Each names what was asked, what was got and what there
is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvenfallError(Exception):
    """Base of every error that Evenfall raises on purpose."""


class PluginError(EvenfallError):
    """A plugin is broken and EVENFALL_STRICT asks that this be fatal, or a plugin breaks a rule of
    loading."""


class RegistryError(EvenfallError, ValueError):
    """A registration is malformed or its name is taken."""


class UnknownNameError(EvenfallError, LookupError):
    """Nothing is registered under that name."""


class ReferenceImportError(EvenfallError, ImportError):
    """A registered reference cannot be imported."""


class BackendError(EvenfallError, LookupError):
    """No backend serves an operation on that device and dtype."""


class PatchError(EvenfallError, RuntimeError):
    """A patch cannot be applied or reverted; nothing was changed."""


class CallbackError(EvenfallError, RuntimeError):
    """A callback of a recipe raises, or is not one."""


class BackendWarning(UserWarning):
    """A slow backend serves an operation because no faster one can."""


def closest(name: str, names: Iterable[str]) -> str:
    """Say which of `names` resemble `name`, as the end of an error message; empty when there are
    none."""
    pool = list(names)
    folded = {candidate.casefold(): candidate for candidate in pool}
    found = difflib.get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.5)
    if found:
        return f" Closest: {', '.join(repr(folded[match]) for match in found)}."
    if pool and len(pool) <= 8:
        return f" There is: {', '.join(repr(candidate) for candidate in sorted(pool))}."
    return ""
