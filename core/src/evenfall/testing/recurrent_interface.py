"""Tests of the arguments that models of transformers share."""

from __future__ import annotations

import pytest

from evenfall.testing.recurrent_base import RecurrentBase


class InterfaceTests(RecurrentBase):
    """Tests of forward's arguments, of dtypes and of torch.compile."""

    @pytest.mark.parametrize("keep", [1, 3])
    def test_logits_to_keep(self, keep: int) -> None:
        """Only the last logits, or those at given positions."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        full = self.logits(model, ids)
        assert full.shape[:2] == ids.shape
        self.assert_close(self.logits(model, ids, logits_to_keep=keep), full[:, -keep:])
        places = torch.tensor([0, 5, keep])
        self.assert_close(self.logits(model, ids, logits_to_keep=places), full[:, places])

    def test_tuple_without_return_dict(self) -> None:
        """`return_dict=False` gives the same values as a tuple, the loss first."""
        model = self.make_model()
        ids = self.ids(model)
        named = model(ids, labels=ids)
        bare = model(ids, labels=ids, return_dict=False)
        assert isinstance(bare, tuple)
        assert len(bare) == len(named.to_tuple())
        self.assert_close(bare[0], named.loss)
        self.assert_close(bare[1], named.logits)

    def test_hidden_states(self) -> None:
        """One more than layers, and None by default; the last one is the output of the base
        model."""
        model = self.make_model()
        ids = self.ids(model)
        assert model(ids).hidden_states is None
        base = model.base_model(ids, output_hidden_states=True)
        assert len(base.hidden_states) == model.config.num_hidden_layers + 1
        assert all(state.shape[:2] == ids.shape for state in base.hidden_states)
        self.assert_close(base.hidden_states[-1], base.last_hidden_state)
        states = model(ids, output_hidden_states=True).hidden_states
        for state, other in zip(states, base.hidden_states, strict=True):
            self.assert_close(state, other)

    def test_embeddings_instead_of_ids(self) -> None:
        """`inputs_embeds` gives the result of `input_ids`; both, or neither, is an error."""
        model = self.make_model()
        ids = self.ids(model)
        embedded = model.get_input_embeddings()(ids)
        self.assert_close(self.logits(model, inputs_embeds=embedded), self.logits(model, ids))
        with pytest.raises(ValueError, match="inputs_embeds"):
            model(input_ids=ids, inputs_embeds=embedded)
        with pytest.raises(ValueError, match="inputs_embeds"):
            model()

    def test_bfloat16(self) -> None:
        """At once and step by step, the logits are close to float32."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        want = self.logits(model, ids)
        model = model.to(torch.bfloat16)
        for got in (self.logits(model, ids), self.continued(model, ids, [1] * ids.shape[1])):
            assert got.dtype == torch.bfloat16
            error = (got.float() - want).abs().mean() / want.std()
            assert float(error) <= self.bf16_tolerance, f"mean error {float(error):.3f} deviations"

    @pytest.mark.slow
    def test_compiled_equals_eager(self) -> None:
        """torch.compile with gradients, without code generation, changes no result."""
        import torch

        model = self.make_model()
        ids = self.ids(model, time=5)
        want = model(ids, labels=ids, use_cache=False)
        weight = model.get_input_embeddings().weight
        (want_gradient,) = torch.autograd.grad(want.loss, weight)
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="aot_eager")
        got = compiled(ids, labels=ids, use_cache=False)
        (got_gradient,) = torch.autograd.grad(got.loss, weight)
        self.assert_close(got.logits, want.logits)
        self.assert_close(got_gradient, want_gradient)
        self.assert_close(self.logits(compiled, ids, use_cache=False), want.logits.detach())
