"""What the recurrent batteries share: the model to test, its inputs, and how to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest


class RecurrentBase:
    """The methods to override, and helpers; see `evenfall.testing.recurrent`."""

    vocab_size: ClassVar[int | None] = None
    tolerance: ClassVar[float] = 1e-5
    bf16_tolerance: ClassVar[float] = 0.2
    opted_out: ClassVar[Mapping[str, str]] = {}

    def make_model(self) -> Any:
        """A tiny causal language model of transformers, in eval mode, the same at each call."""
        raise NotImplementedError(f"{type(self).__name__} must define make_model()")

    def make_classifier(self) -> Any:
        """The same for sequence classification, or None if there is no such model."""
        return None

    @pytest.fixture(autouse=True)
    def _skip_opted_out(self, request: pytest.FixtureRequest) -> None:
        reason = self.opted_out.get(request.node.name.partition("[")[0])
        if reason is not None:
            pytest.skip(reason)

    def classifier(self) -> Any:
        """The classifier; skips the test if there is none."""
        model = self.make_classifier()
        if model is None:
            pytest.skip(f"{type(self).__name__} has no classifier")
        return model

    def ids(self, model: Any, batch: int = 2, time: int = 15, seed: int = 0) -> Any:
        """Random token ids, (batch, time)."""
        import torch

        size = self.vocab_size or model.config.get_text_config().vocab_size
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(size, (batch, time), generator=generator)

    def logits(self, model: Any, *args: Any, **inputs: Any) -> Any:
        """The logits of one call without gradients, (batch, time, vocabulary)."""
        import torch

        with torch.no_grad():
            return model(*args, **inputs).logits

    def continued(self, model: Any, ids: Any, sizes: Sequence[int]) -> Any:
        """The logits of `ids`, fed in pieces of these sizes with the cache of the previous one."""
        import torch

        cache, logits = None, []
        for piece in ids.split(list(sizes), dim=1):
            with torch.no_grad():
                out = model(piece, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits.append(out.logits)
        return torch.cat(logits, dim=1)

    def assert_close(self, got: Any, want: Any) -> None:
        """Check that the tensors are equal within `tolerance`."""
        import torch

        torch.testing.assert_close(got, want, rtol=self.tolerance, atol=self.tolerance)


def tied_pair(model: Any) -> tuple[Any, Any]:
    """The weights of the embedding and the output layer; skips the test if they are not tied."""
    if not model.config.get_text_config().tie_word_embeddings:
        pytest.skip("the model does not tie its embeddings")
    return model.get_input_embeddings().weight, model.get_output_embeddings().weight


def gradients(model: Any) -> dict[str, Any]:
    """Name -> gradient of each parameter that requires one."""
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
