"""Tests of padding: on either side, it changes neither the state nor the logits of real tokens."""

from __future__ import annotations

from typing import Any

import pytest

from evenfall.testing.recurrent_base import RecurrentBase


def pad(rows: list[Any], side: str, value: int = 0) -> tuple[Any, Any]:
    """Pad rows of token ids; returns ids and attention mask, both (batch, time)."""
    import torch

    time = max(len(row) for row in rows)
    ids = torch.full((len(rows), time), value)
    mask = torch.zeros(len(rows), time, dtype=torch.long)
    for index, row in enumerate(rows):
        place = slice(time - len(row), time) if side == "left" else slice(0, len(row))
        ids[index, place], mask[index, place] = row, 1
    return ids, mask


class PaddingTests(RecurrentBase):
    """Tests of the attention mask."""

    @pytest.mark.parametrize("side", ["left", "right"])
    @pytest.mark.parametrize("value", [0, 1])
    def test_padded_equals_unpadded(self, side: str, value: int) -> None:
        """The logits of real tokens do not depend on the padding or its values."""
        model = self.make_model()
        rows = [self.ids(model, 1, time, seed=time)[0] for time in (5, 12, 9)]
        ids, mask = pad(rows, side, value)
        got = self.logits(model, ids, attention_mask=mask)
        for index, row in enumerate(rows):
            self.assert_close(got[index, mask[index] == 1], self.logits(model, row[None])[0])

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padded_batch_continues(self, side: str) -> None:
        """The state after a padded call equals the state after the real tokens alone."""
        import torch

        model = self.make_model()
        rows = [self.ids(model, 1, time, seed=time)[0] for time in (4, 11)]
        tail = self.ids(model, 2, 3, seed=99)
        ids, mask = pad(rows, side)
        with torch.no_grad():
            cache = model(ids, attention_mask=mask, use_cache=True).past_key_values
        mask = torch.cat([mask, torch.ones_like(tail)], dim=1)
        got = self.logits(model, tail, attention_mask=mask, past_key_values=cache)
        for index, row in enumerate(rows):
            alone = self.logits(model, torch.cat([row, tail[index]])[None])[0, -3:]
            self.assert_close(got[index], alone)

    def test_full_mask_equals_none(self) -> None:
        """A mask of ones has no effect."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        got = self.logits(model, ids, attention_mask=torch.ones_like(ids))
        self.assert_close(got, self.logits(model, ids))

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padded_loss_and_gradient(self, side: str) -> None:
        """Padding with the label -100 changes neither the loss nor the embedding's gradient. The
        first token has this label, too: on the left, padding would predict it."""
        import torch

        model = self.make_model()
        row = self.ids(model, 1, 9)[0]
        padded, padded_mask = pad([row, self.ids(model, 1, 12)[0]], side)
        padded, padded_mask = padded[:1], padded_mask[:1]
        labels = torch.where(padded_mask == 1, padded, -100)
        labels[0, int(padded_mask[0].argmax())] = -100
        weight = model.get_input_embeddings().weight

        want = model(row[None], labels=row[None]).loss
        (want_gradient,) = torch.autograd.grad(want, weight)
        got = model(padded, attention_mask=padded_mask, labels=labels).loss
        (got_gradient,) = torch.autograd.grad(got, weight)
        self.assert_close(got, want)
        self.assert_close(got_gradient, want_gradient)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_classifier_ignores_padding(self, side: str) -> None:
        """A padded batch gives the classes of each sequence alone."""
        import torch

        model = self.classifier()
        rows = [self.ids(model, 1, time, seed=time)[0] for time in (5, 12, 9)]
        ids, mask = pad(rows, side)
        got = self.logits(model, ids, attention_mask=mask)
        alone = torch.cat([self.logits(model, row[None]) for row in rows])
        self.assert_close(got, alone)
        assert not torch.allclose(alone[0], alone[1], atol=1e-7)
