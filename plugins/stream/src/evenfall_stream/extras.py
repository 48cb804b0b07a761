"""The extras of the distribution, and the error if one is not installed."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "io": ("aedat", "h5py", "hdf5plugin", "laspy", "lazrs", "plyfile", "pypcd4", "trimesh"),
    "pictures": ("matplotlib",),
    "tonic": ("tonic",),
    "train": ("accelerate", "timm", "yaml"),
    "transformers": ("transformers",),
}
"""Extra to the modules that it installs."""


def missing(extra: str, what: str, *modules: str) -> ImportError | None:
    """The error if a module of an extra is not installed; else None.

    Args:
        extra: one of `EXTRAS`.
        what: the feature that needs the modules, such as "ScanObjectNN"; starts the message.
        *modules: the modules; all modules of the extra by default.
    """
    absent = [name for name in modules or EXTRAS[extra] if find_spec(name) is None]
    if not absent:
        return None
    names = " and ".join(absent)
    return ImportError(
        f"{what} needs {names}; install the extra {extra!r}: pip install 'evenfall-stream[{extra}]'"
    )


def require(extra: str, what: str, *modules: str) -> None:
    """Raise the error that `missing` returns, if any.

    Raises:
        ImportError: one of the modules is not installed.
    """
    error = missing(extra, what, *modules)
    if error is not None:
        raise error
