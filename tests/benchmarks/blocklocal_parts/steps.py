"""Models in blocks, and functions that run one training step of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from evenfall_blocklocal import BlockLocal

CASES = (("backprop", 1), ("bll", 4), ("bll", 8), ("local-ce", 4))
"""Rules and numbers of blocks."""
SCRIPT = Path(__file__).parents[1] / "blocklocal.py"
"""Run again as a child, and as a rank."""
LAYERS, WIDTH, WORDS, TOKENS = 12, 384, 10_000, 256


def make(name: str, rule: str, blocks: int, samples: int | None, quick: bool) -> BlockLocal:
    """The model in blocks; timm's models, or a language model of 12 layers."""
    torch.manual_seed(0)
    if name == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        width = 32 if quick else WIDTH
        config = GPT2Config(
            vocab_size=WORDS, n_embd=width, n_layer=LAYERS, n_head=4, n_positions=TOKENS,
            bos_token_id=0, eos_token_id=0, tie_word_embeddings=False, use_cache=False,
        )  # fmt: skip
        inputs: Any = {"input_ids": torch.randint(WORDS, (2, 8)), "use_cache": False}
        model: Any = GPT2LMHeadModel(config)
    else:
        import timm

        model, inputs = timm.create_model(name, num_classes=1000), torch.randn(2, 3, 224, 224)
    return BlockLocal(model, blocks, rule, balance="activations", inputs=inputs, samples=samples)


def make_step(local: Any, name: str, batch: int) -> Callable[[], None]:
    """A function that runs one training step of a BlockLocal, compiled or not, and forgets its
    gradients."""
    if name == "gpt2":
        ids = torch.randint(WORDS, (batch, TOKENS))
        call: Any = lambda: local(input_ids=ids, labels=ids, use_cache=False)  # noqa: E731
    else:
        images, target = torch.randn(batch, 3, 224, 224), torch.randint(1000, (batch,))
        call = lambda: local(images, target=target)  # noqa: E731

    def step() -> None:
        call().loss.backward()
        local.zero_grad()

    return step
