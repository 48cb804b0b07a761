"""The errors and warnings of the core. Each message names what was asked for and what exists."""

from __future__ import annotations

import difflib
import reprlib
import sys
import warnings
from collections.abc import Iterable

_HOSTS = frozenset({"torch", "torch_geometric", "transformers", "accelerate", "mamba_ssm"})
"""Packages that call Evenfall's functions on behalf of the user."""


class EvenfallError(Exception):
    """Base class of every error that Evenfall raises on purpose."""


class PluginError(EvenfallError):
    """A plugin is broken and EVENFALL_STRICT is set, or a plugin breaks a rule of loading."""


class RegistryError(EvenfallError, ValueError):
    """A registration is malformed, or its name is already registered."""


class UnknownNameError(EvenfallError, LookupError):
    """Nothing is registered under that name."""


class ReferenceImportError(EvenfallError, ImportError):
    """A registered reference cannot be imported."""


class BackendError(EvenfallError, LookupError):
    """No backend serves an operation on that device and dtype."""


class ContractError(EvenfallError, TypeError):
    """What a plugin registered does not offer what its kind must offer."""


class PatchError(EvenfallError, RuntimeError):
    """A patch cannot be applied or reverted; nothing was changed."""


class CallbackError(EvenfallError, RuntimeError):
    """A callback of a recipe raises an error, or is not a Callback."""


class LoweringError(EvenfallError, ValueError):
    """A model, or a part of it, cannot become a graph."""


class HubError(EvenfallError, OSError):
    """The Hugging Face Hub refuses a request or cannot be reached; nothing was published."""


class BackendWarning(UserWarning):
    """A slow backend serves an operation because no faster one can."""


class _Shortened(reprlib.Repr):
    """Looks at a few items of a few levels, so that a huge or nested value takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 12
        self.maxstring = self.maxlong = self.maxother = MOST_CHARACTERS

    def repr_int(self, x: int, level: int) -> str:
        """Python writes no integers of more than some thousand digits."""
        return repr(x) if x.bit_length() < 256 else f"<an integer of {x.bit_length()} bits>"


MOST_CHARACTERS = 120
"""Most characters of a value in a message."""
_SHORTENED = _Shortened()


def shorten(value: object) -> str:
    """The repr of a value for a message, of at most 120 characters. Every message that shows a
    value of a user or a file takes it from here."""
    return shorten_text(_SHORTENED.repr(value))


def shorten_text(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, without its middle if it has more than `most` characters."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def closest(name: str, names: Iterable[str]) -> str:
    """A sentence for the end of an error message: which of `names` resemble `name`, or all of them
    if they are few; otherwise empty."""
    pool = list(names)
    by_lower_case = {candidate.casefold(): candidate for candidate in pool}
    matches = difflib.get_close_matches(name.casefold(), list(by_lower_case), n=3, cutoff=0.5)
    if matches:
        return f" Closest: {', '.join(repr(by_lower_case[match]) for match in matches)}."
    if pool and len(pool) <= 8:
        return f" Available: {', '.join(repr(candidate) for candidate in sorted(pool))}."
    return ""


def warn_user(message: str, category: type[Warning]) -> None:
    """Issue a warning that points at the user's line: the innermost call from outside of Evenfall's
    packages, torch and the host frameworks."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__", ""),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_library(module: str) -> bool:
    package = module.partition(".")[0]
    return package == "evenfall" or package.startswith("evenfall_") or package in _HOSTS
