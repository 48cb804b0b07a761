"""Continue a text with the language model of an image, as greedy `generate` of transformers does.

It needs the image and `tokenizers`; no torch, no transformers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenfall.checks import check_integer
from evenfall.errors import shorten
from evenfall.tokenizing import encoding

from ..image import Image
from .emulator import Emulator
from .result import Run


@dataclass(frozen=True)
class Continuation:
    """A text and what continued it.

    Attributes:
        text: the prompt and its continuation.
        prompt_ids, new_ids: their tokens.
        events: by population, mean events per token.
        operations: mean synaptic operations per token.
        tokens_per_second: of the emulation on this machine, prompt included.
    """

    text: str
    prompt_ids: tuple[int, ...]
    new_ids: tuple[int, ...]
    events: dict[str, float]
    operations: float
    tokens_per_second: float


class TextEmulator:
    """The language model of an image, with its tokenizer.

    Args:
        emulator: of an image with tokens as its input and logits of every step as its output.

    Raises:
        ValueError: the image has no tokenizer, another input, or another output.
    """

    def __init__(self, emulator: Emulator) -> None:
        image = emulator.image
        contents = list(emulator.host.inputs.values())
        outputs = image.manifest["host"]["outputs"]
        if image.tokenizer is None or contents != ["tokens"]:
            raise ValueError(
                f"image {image.folder} is not a language model: it has "
                f"{'a' if image.tokenizer else 'no'} tokenizer and inputs of {contents}"
            )
        if len(outputs) != 1 or outputs[0]["steps"] != "all":
            raise ValueError(f"image {image.folder} does not give logits at each step")
        self.emulator, self._output = emulator, outputs[0]["name"]
        self._tokenizer = read_tokenizer(image)
        self.end_tokens = tuple(image.manifest["model"].get("end_tokens", ()))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text.

        Raises:
            ValueError: there are none, or the tokenizer cannot encode it.
        """
        return encode(self._tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def logits(self, ids: Sequence[int], *, pipelined: bool = True) -> tuple[np.ndarray, Run]:
        """Compute some tokens, after those before.

        Returns:
            (T, V) logits, and the run.
        """
        run = self.emulator.run(np.asarray(ids, np.int64), pipelined=pipelined)
        return run.outputs[self._output], run

    def continue_text(
        self,
        prompt: str,
        max_new_tokens: int = 20,
        *,
        past_end: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Continuation:
        """Continue a prompt with the likeliest token at each step.

        The prompt is computed pipelined. Then each token takes as many ticks as the network has
        levels, and the host chooses the next one from the logits.

        Args:
            prompt: start of the text, at least one token.
            max_new_tokens: tokens to add.
            past_end: continue past the model's end tokens, after which `generate` stops.
            show: called with each piece of text, the prompt first.

        Raises:
            ValueError: an empty prompt, or `max_new_tokens` below 1.
        """
        check_integer("max_new_tokens", max_new_tokens, 1)
        ids = self.encode(prompt)
        self.emulator.reset()
        started = time.perf_counter()
        logits, run = self.logits(ids)
        runs, new, text = [run], list[int](), ""
        while True:
            new.append(int(logits[-1].argmax()))
            before, text = text, self.decode([*ids, *new])
            if not prompt.startswith(" "):  # a tokenizer may put a space before each word
                text = text.removeprefix(" ")
            if show is not None:
                show(text[len(before) :])
            is_end = new[-1] in self.end_tokens and not past_end
            if is_end or len(new) == max_new_tokens:
                break
            logits, run = self.logits(new[-1:], pipelined=False)
            runs.append(run)
        seconds, count = time.perf_counter() - started, len(ids) + len(new) - 1
        events = {
            name: sum(float(run.events[name].sum()) for run in runs) / count
            for name in runs[0].events
        }
        operations = sum(float(run.operations.sum()) for run in runs) / count
        return Continuation(text, tuple(ids), tuple(new), events, operations, count / seconds)


def read_tokenizer(image: Image) -> Any:
    """The tokenizer of an image that has one.

    Raises:
        ValueError: its file is damaged.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(image.tokenizer))
    except Exception as error:  # tokenizers raises a bare Exception
        raise ValueError(f"image {image.folder}: tokenizer.json cannot be read: {error}") from None


def encode(tokenizer: Any, text: str, what: str = "prompt") -> list[int]:
    """The tokens of a text.

    Raises:
        ValueError: there are none, or the tokenizer cannot encode it; the message names `what`.
    """
    with encoding():
        ids = list(tokenizer.encode(text).ids)
    if not ids:
        raise ValueError(f"{what} must have at least one token, got {shorten(text[:80])}")
    return ids
