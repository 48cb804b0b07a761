"""Text of others, made safe to print: names, summaries and error messages of plugins."""

from __future__ import annotations


def printable(text: object) -> str:
    """`str(text)` with an escape such as `\\x1b` for each character that a terminal would obey or
    cannot show: control characters, marks of writing direction, lone surrogates.

    Line ends and tabs stay.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else character.encode("unicode_escape").decode("ascii")
        for character in plain
    )
