"""Cached machine code: one file per signature of a function, never half-written.

Numba's own cache files can be truncated. They are also numbered, so two processes that compile at
the same time can save one signature's code under the number of another. Here a file contains a
digest of its content, the stamp of the sources and Numba's key, and all three are checked. A file
is written under another name and renamed, so a process reads either the old code or the new.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

from numba.core.serialize import dumps

from evenfall.files import file_aside

_DIGEST = hashlib.sha256().digest_size


class Entries:
    """The machine code of one function, with the methods of Numba's IndexDataCacheFile.

    Args:
        folder: the cache folder.
        base: the prefix of the file names, unique to the function.
        stamp: what the code depends on besides Numba's key. A file with another stamp is ignored.
    """

    def __init__(self, folder: Path, base: str, stamp: object) -> None:
        self._folder, self._base, self._stamp = folder, base, stamp

    def load(self, key: Any) -> Any:
        """The data saved with this key and stamp; None if there is none.

        Raises:
            ValueError: the file is damaged.
        """
        file = self._file(key)
        if not file.is_file():
            return None
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            raise ValueError(f"{file} is damaged")
        stamp, saved_key, data = pickle.loads(content[_DIGEST:])
        return data if (stamp, saved_key) == (self._stamp, key) else None

    def save(self, key: Any, data: Any) -> None:
        """Write the file of this signature, replacing an earlier one.

        Raises:
            OSError: the folder is not writable.
        """
        content = dumps((self._stamp, key, data))
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
