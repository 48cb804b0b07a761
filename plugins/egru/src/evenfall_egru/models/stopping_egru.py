"""Stop strings of generate() for tokenizers of whole words."""

from __future__ import annotations

from typing import Any

_PROBE = "abcdef"  # the text that transformers' StopStringCriteria puts before each token


class ProbedTokenizer:
    """A tokenizer that knows transformers' probe as a word, and is otherwise the given one.

    To learn the text of each token, StopStringCriteria decodes it after a probe. A tokenizer of
    whole words reads the probe as its unknown word, which does not decode to it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return {"input_ids": [_PROBE]} if text == _PROBE else self._tokenizer(text, *args, **kwargs)

    def _convert_id_to_token(self, index: Any) -> Any:
        return index if index == _PROBE else self._tokenizer._convert_id_to_token(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of tokens, the first of which may be the probe."""
        if tokens[:1] != [_PROBE]:
            return str(self._tokenizer.convert_tokens_to_string(tokens))
        return _PROBE + str(self._tokenizer.convert_tokens_to_string(tokens[1:]))


def probed(tokenizer: Any) -> Any:
    """The tokenizer, or a ProbedTokenizer if its text of the probe is another one."""
    if tokenizer is None:
        return None
    tokens = [tokenizer._convert_id_to_token(i) for i in _ids(tokenizer)]
    is_known = _PROBE in tokenizer.convert_tokens_to_string(tokens)
    return tokenizer if is_known else ProbedTokenizer(tokenizer)


def _ids(tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    return ids


__all__ = ["ProbedTokenizer", "probed"]
