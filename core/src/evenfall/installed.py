"""What is installed: distributions by version, packages by whether they can be imported."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version


def installed_version(distribution: str) -> str | None:
    """The version of a distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def is_importable(package: str) -> bool:
    """Whether a package can be imported; does not import it."""
    return package in sys.modules or importlib.util.find_spec(package) is not None
