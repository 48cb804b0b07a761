"""Machine code of Numba functions in the user's cache folder, valid for the content of sources.

Numba's own cache checks only the function's file: it would keep machine code although an inlined
function of another file has changed. It also writes into the installed package, where uninstalling
leaves it, and a folder without sources that Python imports. Here the folder of the code is named
after a digest of all sources of the package, so equal installations share it. A file is named after
a signature of a function, contains a digest of its content, and is written under another name and
renamed: a process reads either whole code or none.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from .caches import machine_code_folder, versioned_folder
from .files import file_aside

_DIGEST = hashlib.sha256().digest_size


def code_cache(function: Callable[..., Any], also: Iterable[Path] = ()) -> Any:
    """The cache of a function, to be set as the attribute `_cache` of its dispatcher.

    Args:
        function: the Python function. Its code is kept until a source of its top-level package, of
            the packages in `also`, Numba or llvmlite changes.
        also: folders of packages whose functions may be inlined.

    Raises:
        RuntimeError: the cache folder is not writable, or the function is in no file; each process
            then compiles it.
    """
    return _cache_class()(function, tuple(also))


class Entries:
    """The machine code of one function, with the methods of Numba's IndexDataCacheFile.

    Args:
        folder: the cache folder.
        base: the prefix of the file names, unique to the function in this folder.
    """

    def __init__(self, folder: Path, base: str) -> None:
        self._folder, self._base = folder, base

    def load(self, key: Any) -> Any:
        """The data saved with this key; None if there is none.

        Raises:
            ValueError: the file is damaged.
        """
        file = self._file(key)
        if not file.is_file():
            return None
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            raise ValueError(f"{file} is damaged")
        saved_key, data = pickle.loads(content[_DIGEST:])
        return data if saved_key == key else None

    def save(self, key: Any, data: Any) -> None:
        """Write the file of this signature, replacing an earlier one.

        Raises:
            OSError: the folder is not writable.
        """
        from numba.core.serialize import dumps

        content = dumps((key, data))
        with file_aside(self._file(key)) as aside:
            aside.write_bytes(hashlib.sha256(content).digest() + content)

    def flush(self) -> None:
        """Delete the files of this function."""
        for file in self._folder.glob(f"{self._base}.*.nbc"):
            file.unlink(missing_ok=True)

    def _file(self, key: Any) -> Path:
        signature, processor, _ = key  # the rest is digests of the function's own code
        name = hashlib.sha256(repr((signature, processor)).encode()).hexdigest()[:16]
        return self._folder / f"{self._base}.{name}.nbc"


@cache
def _cache_class() -> Any:
    """The subclass of Numba's cache, which is defined where Numba is imported."""
    from numba.core import caching

    class Locator(caching._CacheLocator):  # type: ignore[misc]
        def __init__(self, folder: Path, line: int) -> None:
            self._folder, self._line = folder, line

        def get_cache_path(self) -> str:
            return str(self._folder)

        def get_source_stamp(self) -> str:
            return self._folder.name  # the folder has the digest of the sources

        def get_disambiguator(self) -> str:
            return str(self._line)

    class Cache(caching.FunctionCache):  # type: ignore[misc]
        def __init__(self, function: Callable[..., Any], also: tuple[Path, ...]) -> None:
            folder = _folder(function, also)

            def locate(cls: type, function: Callable[..., Any], file: str) -> Locator | None:
                return None if folder is None else Locator(folder, function.__code__.co_firstlineno)

            place = type("Place", (Locator,), {"from_function": classmethod(locate)})
            implementation = type(
                "Implementation", (caching.CompileResultCacheImpl,), {"_locator_classes": [place]}
            )
            self._impl_class = implementation
            super().__init__(function)
            if folder is not None:
                self._cache_file = Entries(folder, self._impl.filename_base)

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # a damaged file can raise anything; None: compile and save again
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            with suppress(OSError):  # the folder is gone or full: this process keeps the code
                super().save_overload(sig, data)

    return Cache


def _folder(function: Callable[..., Any], also: tuple[Path, ...]) -> Path | None:
    """The folder of the function's code; None if there can be none."""
    file, parent = Path(inspect.getfile(function)), machine_code_folder()
    if parent is None or not file.is_file():
        return None
    package = _package(file)
    within = file.parent.relative_to(package) if package.is_dir() else Path()
    root = _version(parent, package, tuple(dict.fromkeys((*also, package))))
    return None if root is None else root / within


@cache
def _version(parent: Path, package: Path, sources: tuple[Path, ...]) -> Path | None:
    import llvmlite
    import numba

    versions = f"{sys.version_info[:2]} {numba.__version__} {llvmlite.__version__}"
    digest = hashlib.sha256("\n".join([versions, *map(_digest, sources)]).encode()).hexdigest()
    return versioned_folder(parent, package.stem, digest[:16])


def _package(file: Path) -> Path:
    """The folder of the top-level package of a source, or the file itself if it is in none."""
    own = file
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        own = folder
    return own


@cache
def _digest(source: Path) -> str:
    """One digest of all Python sources in a folder, or of one file."""
    digest = hashlib.sha256()
    for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        digest.update(str(file.relative_to(source.parent)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
