"""Machine code on disk: a file for each signature of a function, whole or not at all.

Numba's own files can be truncated, and its numbered ones let two processes that compile at once
write the code of one signature under the number of another. Here a file holds the digest of what
follows, and then everything that must fit: the stamp of the sources and Numba's key. A file is
written aside and renamed, so that a process reads the old code or the new.
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
    """The machine code of one function; has the methods of Numba's IndexDataCacheFile.

    Args:
        folder: where the files lie.
        base: the beginning of their names, one for each function.
        stamp: what the code depends on beside Numba's key; another stamp means other code.
    """

    def __init__(self, folder: Path, base: str, stamp: object) -> None:
        self._folder, self._base, self._stamp = folder, base, stamp

    def load(self, key: Any) -> Any:
        """What was saved with this key and stamp; None where there is no such file.

        Raises:
            ValueError: the file is damaged.
        """
        file = self._file(key)
        if not file.is_file():
            return None
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            raise ValueError(f"{file} is damaged")
        stamp, found, data = pickle.loads(content[_DIGEST:])
        return data if (stamp, found) == (self._stamp, key) else None

    def save(self, key: Any, data: Any) -> None:
        """Write a file, in place of an earlier one of the same signature.

        Raises:
            OSError: the folder cannot be written to.
        """
        content = dumps((self._stamp, key, data))
        with file_aside(self._file(key)) as aside:
            aside.write_bytes(hashlib.sha256(content).digest() + content)

    def flush(self) -> None:
        """Remove the files of this function."""
        for file in self._folder.glob(f"{self._base}.*.nbc"):
            file.unlink(missing_ok=True)

    def _file(self, key: Any) -> Path:
        signature, processor, _ = key  # the rest is digests of the function's own code
        name = hashlib.sha256(repr((signature, processor)).encode()).hexdigest()[:16]
        return self._folder / f"{self._base}.{name}.nbc"
