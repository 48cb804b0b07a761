"""Word-level and byte-level tokenizers, as transformers' PreTrainedTokenizerFast."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from evenfall.errors import shorten

EOS, UNK = "<eos>", "<unk>"


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """Number the words in order of first occurrence, with <eos> at the end of each line.

    Args:
        texts: the training text; for a checkpoint whose vocabulary includes them, also the
            validation and test texts.

    Raises:
        ValueError: no text, or only whitespace.
    """
    words: dict[str, int] = {}
    for text in texts:
        for line in text.removesuffix("\n").split("\n"):
            for word in (*line.split(), EOS):
                words.setdefault(word, len(words))
    if len(words) < 2:
        raise ValueError("texts must contain at least one word, got none")
    return words


def word_tokenizer(words: dict[str, int]) -> PreTrainedTokenizerFast:
    """Split at whitespace; a line break becomes <eos>, a word not in `words` becomes <unk>.

    Each word is decoded with a space before it, also the first one, so that the text of a part of
    the ids can be appended to the text before it, as pipelines do.

    Raises:
        ValueError: the ids are not 0 .. len(words) - 1, or <eos> is missing.
    """
    if sorted(words.values()) != list(range(len(words))):
        raise ValueError(
            f"words must be numbered 0 to {len(words) - 1} without gaps, got {shorten(words)}"
        )
    if EOS not in words:
        raise ValueError(f"words must contain {EOS!r}, got {shorten(words)}")
    words = words if UNK in words else {**words, UNK: len(words)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNK))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\r?\n"), f" {EOS} ")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex("^"), " "), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNK,
        eos_token=EOS,
        pad_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """256 bytes and <eos>: any text, without training, lossless in both directions."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {symbol: index for index, symbol in enumerate(alphabet)}
    words[EOS] = len(words)
    tokenizer = Tokenizer(models.BPE(words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
