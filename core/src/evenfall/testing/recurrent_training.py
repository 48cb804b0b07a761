"""Tests of losses and gradients."""

from __future__ import annotations

from typing import Any

import pytest

from evenfall.testing.recurrent_base import RecurrentBase, gradients


class TrainingTests(RecurrentBase):
    """Tests of training mode."""

    def test_every_parameter_has_a_finite_gradient(self) -> None:
        """Each gradient exists, is finite and is not zero everywhere."""
        import torch

        model = self.make_model().train()
        ids = self.ids(model, batch=4, time=20)
        model(ids, labels=ids).loss.backward()
        for name, gradient in gradients(model).items():
            assert gradient is not None, f"{name} has no gradient"
            assert bool(torch.isfinite(gradient).all()), f"{name}: not finite"
            assert bool(gradient.abs().max() > 0), f"{name}: zero everywhere"

    def test_loss_is_the_cross_entropy_of_the_next_token(self) -> None:
        """The model shifts the labels; -100 does not count in the mean."""
        import torch.nn.functional as F

        model = self.make_model()
        ids = self.ids(model)
        labels = ids.clone()
        labels[0, :4] = -100
        loss = model(ids, labels=labels).loss
        logits = self.logits(model, ids)[:, :-1].float()
        want = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        self.assert_close(loss.detach(), want)

    @pytest.mark.parametrize("as_tensor", [True, False])
    def test_num_items_in_batch_scales_the_loss(self, as_tensor: bool) -> None:
        """As in transformers' ForCausalLMLoss: the sum over tokens, divided by that number."""
        import torch
        from transformers.loss.loss_utils import ForCausalLMLoss

        model = self.make_model()
        ids = self.ids(model)
        items = torch.tensor(100) if as_tensor else 100
        got = model(ids, labels=ids, num_items_in_batch=items).loss
        logits = self.logits(model, ids)
        want = ForCausalLMLoss(logits, ids, logits.shape[-1], num_items_in_batch=items)
        self.assert_close(got.detach(), want)

    def test_shifted_labels_are_taken_as_they_are(self) -> None:
        """`shift_labels` are the targets themselves."""
        import torch.nn.functional as F

        model = self.make_model()
        ids = self.ids(model)
        logits = self.logits(model, ids).float()
        targets = logits.argmax(-1)  # the most probable tokens: a shift would change the loss
        loss = model(ids, labels=targets, shift_labels=targets).loss
        want = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        self.assert_close(loss.detach(), want)

    def test_gradient_checkpointing_changes_nothing(self) -> None:
        """Loss and gradients are equal, with and without a state from the previous window."""
        plain, checkpointing = self.make_model().train(), self.make_model().train()
        enable = getattr(checkpointing, "activation_checkpointing_enable", None)  # the newer name
        (enable or checkpointing.gradient_checkpointing_enable)()
        modules = checkpointing.modules()
        assert any(getattr(module, "gradient_checkpointing", False) for module in modules)
        for with_state in (False, True):
            want, got = (
                self._window_gradients(model, with_state) for model in (plain, checkpointing)
            )
            for name, gradient in want.items():
                self.assert_close(got[name], gradient)

    def test_gradient_flows_through_the_cache(self) -> None:
        """Two windows with a cache between them give the gradient of one long window."""
        import torch

        model = self.make_model()
        ids, tail = self.ids(model), self.ids(model, time=4, seed=3)
        weight = model.get_input_embeddings().weight
        whole = model(torch.cat([ids, tail], dim=1)).logits[:, -4:].square().sum()
        (want,) = torch.autograd.grad(whole, weight)
        cache = model(ids, use_cache=True).past_key_values
        pieces = model(tail, past_key_values=cache).logits.square().sum()
        (got,) = torch.autograd.grad(pieces, weight)
        scale = want.abs().max()
        self.assert_close(got / scale, want / scale)

    def _window_gradients(self, model: Any, with_state: bool) -> dict[str, Any]:
        import torch

        ids = self.ids(model)
        model.zero_grad()
        cache = None
        torch.manual_seed(0)
        if with_state:
            with torch.no_grad():
                cache = model(self.ids(model, seed=7), use_cache=True).past_key_values
        loss = model(ids, labels=ids, past_key_values=cache, use_cache=with_state).loss
        loss.backward()
        return {**gradients(model), "loss": loss.detach()}

    def test_classifier_learns(self) -> None:
        """The loss is the cross-entropy of the classes, and a gradient step lowers it."""
        import torch
        import torch.nn.functional as F

        model = self.classifier()
        ids = self.ids(model, batch=4)
        labels = torch.arange(4) % model.config.num_labels
        out = model(ids, labels=labels)
        before = float(out.loss.detach())
        self.assert_close(out.loss, F.cross_entropy(out.logits, labels))
        out.loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-2 * parameter.grad
        assert float(model(ids, labels=labels).loss.detach()) < before
