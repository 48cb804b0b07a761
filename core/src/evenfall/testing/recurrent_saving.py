"""Tests of files, copies and resizing: the model stays the same, tied weights stay tied."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from evenfall.testing.recurrent_base import RecurrentBase, tied_pair


class SavingTests(RecurrentBase):
    """Tests of everything that makes a second model from a first one."""

    def test_saved_and_loaded(self, tmp_path: Path) -> None:
        """The same logits, bit by bit, the same tensors and the same configuration."""
        import torch

        model = self.make_model()
        model.save_pretrained(tmp_path)
        assert list(tmp_path.glob("*.safetensors"))
        assert not list(tmp_path.glob("*.bin"))
        loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert loaded.config.to_diff_dict() == model.config.to_diff_dict()
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name
        ids = self.ids(model)
        assert torch.equal(self.logits(loaded.eval(), ids), self.logits(model, ids))

    def test_loaded_weights_are_tied(self, tmp_path: Path) -> None:
        """Embedding and output layer share one storage after loading, too."""
        model = self.make_model()
        tied_pair(model)
        model.save_pretrained(tmp_path)
        self._assert_tied(type(model).from_pretrained(tmp_path))

    def test_auto_class_loads_it(self, tmp_path: Path) -> None:
        """AutoModelForCausalLM finds the model by its configuration."""
        import torch
        from transformers import AutoModelForCausalLM

        model = self.make_model()
        model.save_pretrained(tmp_path)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        assert type(loaded) is type(model)
        ids = self.ids(model)
        assert torch.equal(self.logits(loaded, ids), self.logits(model, ids))

    def test_meta_device_then_load(self) -> None:
        """A model on the meta device, then loaded, has all parameters and buffers."""
        import torch

        model = self.make_model()
        with torch.device("meta"):
            empty = type(model)(copy.deepcopy(model.config))
        assert all(p.is_meta for p in empty.parameters())
        empty.load_state_dict(model.state_dict(), assign=True)
        empty.tie_weights()
        assert not any(t.is_meta for t in (*empty.parameters(), *empty.buffers()))
        ids = self.ids(model)
        assert torch.equal(self.logits(empty.eval(), ids), self.logits(model, ids))

    def test_tied_weights_share_storage(self) -> None:
        """The embedding and the output layer are one tensor."""
        model = self.make_model()
        self._assert_tied(model)

    def test_deepcopy_is_equal_and_apart(self) -> None:
        """A copy computes the same, ties its own weights and shares nothing with the original."""
        import torch

        model = self.make_model()
        ids = self.ids(model)
        before = self.logits(model, ids)
        twin = copy.deepcopy(model)
        assert torch.equal(self.logits(twin, ids), before)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.add_(0.5)
        assert not torch.equal(self.logits(twin, ids), before)
        assert torch.equal(self.logits(model, ids), before)
        if model.config.get_text_config().tie_word_embeddings:
            self._assert_tied(twin)

    def test_changed_weights_are_seen_by_decoding(self) -> None:
        """Decoding uses new weights at once: nothing derived from old ones stays in a cache."""
        import torch

        model = self.make_model()
        ids = self.ids(model, batch=1)
        self.continued(model, ids, [1] * ids.shape[1])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.7)
        steps = self.continued(model, ids, [1] * ids.shape[1])
        self.assert_close(steps, self.logits(model, ids))

    def test_resized_vocabulary(self) -> None:
        """New tokens are added to embedding, output layer and configuration; the logits of old
        tokens do not change."""
        model = self.make_model()
        ids = self.ids(model)
        before, old = self.logits(model, ids), model.get_input_embeddings().weight.shape[0]
        model.resize_token_embeddings(old + 5, mean_resizing=False)
        after = self.logits(model, ids)
        assert after.shape[-1] == old + 5 == model.config.get_text_config().vocab_size
        self.assert_close(after[..., :old], before)
        self.assert_close(self.continued(model, ids[:1], [1] * ids.shape[1]), after[:1])
        if model.config.get_text_config().tie_word_embeddings:
            self._assert_tied(model)

    def _assert_tied(self, model: Any) -> None:
        inputs, outputs = tied_pair(model)
        assert inputs.data_ptr() == outputs.data_ptr()
        assert inputs.shape == outputs.shape
