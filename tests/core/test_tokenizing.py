"""The errors of tokenizers, which are not ValueErrors, become ones that say what happened."""

from __future__ import annotations

import pytest

from evenfall.tokenizing import encoding


class Panic(BaseException):
    """As tokenizers raises where its Rust code panics."""


@pytest.mark.parametrize("error", [Exception("WordLevel error:\n no id"), Panic("index 9")])
def test_errors_of_a_tokenizer_are_one(error: BaseException) -> None:
    message = r"cannot encode the text: (WordLevel error: no id|index)"
    with pytest.raises(ValueError, match=message), encoding():
        raise error


def test_an_interruption_passes() -> None:
    with pytest.raises(KeyboardInterrupt), encoding():
        raise KeyboardInterrupt
