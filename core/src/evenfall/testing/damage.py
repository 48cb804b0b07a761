"""Damaged files for the tests of readers: a reader reads them, or raises a ValueError that names
them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any


def fuzz_cases(usual: int) -> int:
    """How many cases a test tries: EVENFALL_FUZZ where it is set, else the usual number."""
    return int(os.environ.get("EVENFALL_FUZZ") or usual)


def damage(content: bytes, chance: random.Random) -> bytes:
    """The content with up to four random changes: bytes replaced, removed, added, or a number made
    huge; one in eight is cut off as well."""
    found = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(4):
            case 0:
                found[at : at + 1] = chance.randbytes(1)
            case 1:
                del found[at : at + chance.randint(1, 20)]
            case 2:
                found[at:at] = chance.randbytes(chance.randint(1, 8))
            case _:
                found[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(found[: chance.randrange(len(found) + 1)] if chance.random() < 1 / 8 else found)


def damage_text(content: str, chance: random.Random) -> str:
    """The text with up to three random changes of whole values: numbers become huge or words, and
    quotes, brackets and words move."""
    values = ("99999999999999999999", "-1", "1e999", "null", "true", '"a"', "[]", "{}", "", "[[")
    words = ("{", "}", "[", "]", '"', ":", ",", "\n", "0", "\x00", "\ud800")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(content) + 1)
        end = at
        while end < len(content) and content[end].isalnum():
            end += 1
        content = content[:at] + chance.choice(values if end > at else words) + content[end:]
    return content


def check_reader(
    read: Callable[[Path], Any],
    content: bytes | str,
    folder: Path,
    name: str,
    cases: int,
    seed: int = 0,
) -> int:
    """Call a reader with damaged files.

    Args:
        read: called with a path, and reads the undamaged file.
        content: of the undamaged file; of a text, values are changed too.
        folder: where to write.
        name: of the file; it may have folders.
        cases: their number.
        seed: of the changes.

    Returns:
        How many files were refused.

    Raises:
        AssertionError: a reader raises another error than a ValueError, or one that does not name
            the folder of the file.
    """
    chance, refused = random.Random(seed), 0
    for case in range(cases):
        place = folder / f"case-{case}"  # a file that is written again would wait for the disk
        path = place / name
        path.parent.mkdir(parents=True)
        if isinstance(content, str) and chance.random() < 0.7:
            path.write_text(damage_text(content, chance), "utf-8", "surrogatepass")
        else:
            plain = content.encode() if isinstance(content, str) else content
            path.write_bytes(damage(plain, chance))
        try:
            read(path)
        except ValueError as error:
            if str(place) not in str(error):
                raise AssertionError(f"the message does not name {path}: {error}") from error
            refused += 1
        except Exception as error:
            kind = type(error).__name__
            raise AssertionError(f"reading {path} (case {case}) raises {kind}: {error}") from error
    return refused
