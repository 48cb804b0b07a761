"""Tests of the state: in pieces, reset, copied or reordered, it gives the same logits."""

from __future__ import annotations

import copy

import pytest

from evenfall.testing.recurrent_base import RecurrentBase


class StateTests(RecurrentBase):
    """Tests of the cache that passes from call to call."""

    def test_past_matters(self) -> None:
        """The first token changes the last logits, and so does a missing cache. Without this, a
        model without memory would pass the other tests."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        other = ids.clone()
        other[:, 0] = (ids[:, 0] + 1) % int(ids.max() + 1)
        full = self.logits(model, ids)
        assert not torch.allclose(self.logits(model, other)[:, -1], full[:, -1], atol=1e-7, rtol=0)
        assert not torch.allclose(self.logits(model, ids[:, 7:]), full[:, 7:], atol=1e-6, rtol=0)

    @pytest.mark.parametrize("size", [1, 2, 7])
    def test_pieces_equal_full_forward(self, size: int) -> None:
        """One, two or seven tokens in a call, with cache, give the logits of one call."""
        model = self.make_model()
        ids = self.ids(model)
        sizes = [size] * (ids.shape[1] // size) + [ids.shape[1] % size] * (ids.shape[1] % size > 0)
        full = self.logits(model, ids, use_cache=False)
        self.assert_close(self.continued(model, ids, sizes), full)

    def test_unequal_pieces_equal_full_forward(self) -> None:
        """A prompt, single tokens, then a chunk, as in a conversation."""
        model = self.make_model()
        ids = self.ids(model)
        full = self.logits(model, ids, use_cache=False)
        self.assert_close(self.continued(model, ids, [8, 1, 1, 5]), full)

    def test_cache_counts_tokens(self) -> None:
        """`get_seq_length` is the number of tokens seen."""
        model = self.make_model()
        ids = self.ids(model)
        cache = model(ids[:, :4], use_cache=True).past_key_values
        assert cache.get_seq_length() == 4
        model(ids[:, 4:9], past_key_values=cache, use_cache=True)
        assert cache.get_seq_length() == 9

    def test_use_cache_false_returns_no_cache(self) -> None:
        """`use_cache=False` returns no cache and does not change the cache in the arguments."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        assert model(ids, use_cache=False).past_key_values is None
        with torch.no_grad():
            cache = model(ids[:, :8], use_cache=True).past_key_values
        want = self.logits(model, ids[:, 8:], past_key_values=copy.deepcopy(cache))
        self.logits(model, ids[:, 8:], past_key_values=cache, use_cache=False)
        self.assert_close(self.logits(model, ids[:, 8:], past_key_values=cache), want)

    def test_reset_cache_is_as_new(self) -> None:
        """After `reset` the cache gives the same logits as no cache."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        with torch.no_grad():
            cache = model(ids, use_cache=True).past_key_values
        cache.reset()
        assert cache.get_seq_length() == 0
        got = self.logits(model, ids, past_key_values=cache, use_cache=True)
        self.assert_close(got, self.logits(model, ids))

    def test_reordered_cache_follows_the_beams(self) -> None:
        """`reorder_cache` reorders the histories of the sequences."""
        import torch

        model = self.make_model()
        ids, order = self.ids(model, batch=3), torch.tensor([2, 2, 0])
        with torch.no_grad():
            cache = model(ids[:, :9], use_cache=True).past_key_values
        cache.reorder_cache(order)
        tail = ids[:, 9:]
        got = self.logits(model, tail, past_key_values=cache)
        want = self.logits(model, torch.cat([ids[order, :9], tail], dim=1))[:, 9:]
        self.assert_close(got, want)

    @pytest.mark.parametrize("repeats", [1, 2])
    def test_repeated_and_selected_cache(self, repeats: int) -> None:
        """`batch_repeat_interleave` and `batch_select_indices` act on whole histories."""
        import torch

        model = self.make_model()
        ids = self.ids(model, batch=3)
        with torch.no_grad():
            cache = model(ids[:, :9], use_cache=True).past_key_values
        rows = torch.arange(3).repeat_interleave(repeats)[1:]
        cache.batch_repeat_interleave(repeats)
        cache.batch_select_indices(torch.arange(3 * repeats)[1:])
        got = self.logits(model, ids[rows, 9:], past_key_values=cache)
        self.assert_close(got, self.logits(model, ids[rows])[:, 9:])
