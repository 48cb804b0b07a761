"""Tests of generate(): the cache changes the speed, never the result."""

from __future__ import annotations

from typing import Any

import pytest

from evenfall.testing.recurrent_base import RecurrentBase
from evenfall.testing.recurrent_padding import pad

_NEW = 8

MODES: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 0},
    "beam": {"do_sample": False, "num_beams": 3},
    "several": {"do_sample": True, "top_k": 5, "num_return_sequences": 2},
}


class GenerationTests(RecurrentBase):
    """Tests of `generate`."""

    def generate(self, model: Any, ids: Any = None, **options: Any) -> Any:
        """Eight new tokens from a fixed seed; greedy unless `options` say otherwise."""
        import torch

        torch.manual_seed(0)
        length = {"max_new_tokens": _NEW, "min_new_tokens": _NEW, "pad_token_id": 0}
        return model.generate(ids, **{**length, "do_sample": False, **options})

    @pytest.mark.parametrize("mode", list(MODES))
    def test_generates_the_same_with_and_without_cache(self, mode: str) -> None:
        """Greedy, sampled and beam search."""
        import torch

        model = self.make_model()
        ids = self.ids(model, time=6)
        with_cache = self.generate(model, ids, use_cache=True, **MODES[mode])
        without = self.generate(model, ids, use_cache=False, **MODES[mode])
        assert with_cache.shape[1] == ids.shape[1] + _NEW
        assert torch.equal(with_cache, without)

    def test_generated_logits_are_those_of_the_full_forward(self) -> None:
        """The logits of each generated token, not only the token."""
        import torch

        model = self.make_model()
        ids = self.ids(model, time=6)
        out = self.generate(model, ids, return_dict_in_generate=True, output_logits=True)
        full = self.logits(model, out.sequences[:, :-1])[:, ids.shape[1] - 1 :]
        self.assert_close(torch.stack(out.logits, dim=1), full)

    @pytest.mark.parametrize("size", [1, 4, 64])
    def test_prefill_in_chunks(self, size: int) -> None:
        """`prefill_chunk_size` does not change the result."""
        import torch

        model = self.make_model()
        ids = self.ids(model, time=11)
        chunked = self.generate(model, ids, prefill_chunk_size=size)
        assert torch.equal(chunked, self.generate(model, ids))

    @pytest.mark.parametrize("mode", ["greedy", "beam"])
    def test_padded_batch_generates_as_each_alone(self, mode: str) -> None:
        """Prompts of different lengths, padded on the left."""
        import torch

        model = self.make_model()
        rows = [self.ids(model, 1, time, seed=time)[0] for time in (3, 10, 6)]
        ids, mask = pad(rows, "left")
        batch = self.generate(model, ids, attention_mask=mask, **MODES[mode])
        for index, row in enumerate(rows):
            alone = self.generate(model, row[None], **MODES[mode])
            assert torch.equal(batch[index, -_NEW:], alone[0, -_NEW:])

    def test_generates_from_embeddings(self) -> None:
        """A prompt as `inputs_embeds` gives the same new tokens as `input_ids`."""
        import torch

        model = self.make_model()
        ids = self.ids(model, time=6)
        embedded = model.get_input_embeddings()(ids)
        got = self.generate(model, inputs_embeds=embedded)
        assert torch.equal(got, self.generate(model, ids)[:, ids.shape[1] :])

    def test_generation_continues_from_a_cache(self) -> None:
        """A conversation: generate, then continue from the returned cache."""
        import torch

        model = self.make_model()
        ids = self.ids(model, time=6)
        first = self.generate(model, ids, return_dict_in_generate=True)
        turn = torch.cat([first.sequences, self.ids(model, time=3, seed=5)], dim=1)
        cache = first.past_key_values
        assert torch.equal(
            self.generate(model, turn, past_key_values=cache), self.generate(model, turn)
        )
