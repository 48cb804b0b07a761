"""The errors of a tokenizer, as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import shorten_text


@contextmanager
def encoding() -> Iterator[None]:
    """Turn the errors of a tokenizer into one.

    Raises:
        ValueError: it cannot encode the text: it has no id for a word and none for unknown words.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises Exception itself, and panics
        reason = shorten_text(" ".join(str(error).split()), 300)
        raise ValueError(f"the tokenizer cannot encode the text: {reason}") from error
