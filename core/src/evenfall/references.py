"""References, "package.module:Name", which are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from evenfall.errors import ReferenceImportError


def import_reference(
    reference: str, what: str, importer: Callable[[str], object] = importlib.import_module
) -> object:
    """Import "package.module:Name", or "package.module" itself; errors begin with `what`.

    Args:
        reference: of a module or of a name in it.
        what: the subject of an error's message.
        importer: imports the module of a name.

    Raises:
        ReferenceImportError: the module fails to import or lacks the name; the cause is chained.
    """
    module_name, _, qualified_name = reference.partition(":")
    try:
        value: object = _module(module_name, importer)
        for attribute in filter(None, qualified_name.split(".")):
            value = getattr(value, attribute)
    except Exception as error:
        raise ReferenceImportError(
            f"{what}: cannot import {reference!r}: {type(error).__name__}: {error}"
        ) from error
    return value


def _module(name: str, importer: Callable[[str], object]) -> object:
    try:
        return importer(name)
    except SystemExit as error:
        raise ImportError(f"the module exits when it is imported (code {error.code!r})") from error
